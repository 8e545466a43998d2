package bus

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/esignd/esignd/core"
)

// startHub starts an external server with a user, and returns its addresses for clients and for leaf nodes.
func startHub(t *testing.T) (url, leaf string) {
	t.Helper()
	e := startExternal(t, func(o *server.Options) {
		o.ServerName = "hub"
		o.Users = []*server.User{{Username: "esignd", Password: "change-me"}}
		o.LeafNode.Host, o.LeafNode.Port = "127.0.0.1", server.RANDOM_PORT
	})
	v, err := e.Varz(nil)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(e.ClientURL(), "//", "//esignd:change-me@", 1), fmt.Sprintf("nats://esignd:change-me@127.0.0.1:%d", v.LeafNode.Port)
}

// stocked returns the configuration of a Bus with the embedded server that was filled and stopped, and its records.
func stocked(t *testing.T) (Config, map[string]core.Record) {
	t.Helper()
	cfg := embeddedConfig(t.TempDir())
	cfg.Keys = Keys{Keyset: filepath.Join(t.TempDir(), "shared.json"), Wrap: core.NewSecret(testWrap)}
	b := openBus(t, cfg)
	stock(t, b, 50)
	r, err := b.Store().Get(testContext(t), "grant.g_7")
	if err != nil {
		t.Fatal(err)
	}
	put(t, b.Store(), r) // revisions with gaps
	if err := b.Store().Delete(testContext(t), "import.g_0", revisionOf(t, b, "import.g_0")); err != nil {
		t.Fatal(err)
	}
	if err := b.Publisher().Publish(testContext(t), testEvent("e1")); err != nil {
		t.Fatal(err)
	}
	all := allRecords(t, b)
	closeBus(t, b)
	return cfg, all
}

func revisionOf(t *testing.T, b *Bus, key string) uint64 {
	t.Helper()
	r, err := b.Store().Get(testContext(t), key)
	if err != nil {
		t.Fatal(err)
	}
	return r.Revision
}

func allRecords(t *testing.T, b *Bus) map[string]core.Record {
	t.Helper()
	all := map[string]core.Record{}
	if _, err := core.Snapshot(testContext(t), b.Store(), func(r core.Record) error {
		all[r.Key] = r
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func grow(t *testing.T, from, to Config, leaf string) ([]string, error) {
	t.Helper()
	var steps []string
	// A mirror that does not get through at once is tried again by its server after ten seconds and more.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	err := Growth{From: from, To: to, Leaf: leaf, Tell: func(s string) { steps = append(steps, s) }}.Run(ctx)
	return steps, err
}

func TestGrowthMovesRecordsAndEventsWithTheirRevisions(t *testing.T) {
	from, records := stocked(t)
	hub, leaf := startHub(t)
	to := externalConfig(t, hub)
	to.Keys = from.Keys
	if steps, err := grow(t, from, to, leaf); err != nil {
		t.Fatalf("%v; %v", err, steps)
	}
	b := openBus(t, to)
	if diff := cmp.Diff(records, allRecords(t, b)); diff != "" {
		t.Errorf("records were changed: %s", diff)
	}
	if e, err := b.Publisher().Last(testContext(t), testEvent("")); err != nil || e.ID != "e1" {
		t.Errorf("the last event is %q, %v", e.ID, err)
	}
	r := records["grant.g_3"]
	next := put(t, b.Store(), r)
	if next <= records["grant.g_7"].Revision {
		t.Errorf("revision %d after %d", next, records["grant.g_7"].Revision)
	}
	if _, err := b.Store().Put(testContext(t), r); err == nil {
		t.Error("a write over an old revision went through")
	}
	if _, err := Open(testContext(t), from); err == nil || !strings.Contains(err.Error(), "were moved") {
		t.Errorf("the embedded store is served again: %v", err)
	}
	closeBus(t, b)
	steps, err := grow(t, from, to, leaf)
	if err != nil || len(steps) == 0 || !strings.Contains(steps[0], "was moved before") {
		t.Errorf("once more: %v, %v", steps, err)
	}
}

// What had a time to live has it in the new place.
func TestGrowthMovesTimesToLive(t *testing.T) {
	from := embeddedConfig(t.TempDir())
	from.Keys = Keys{Keyset: filepath.Join(t.TempDir(), "shared.json"), Wrap: core.NewSecret(testWrap)}
	b := openBus(t, from)
	put(t, b.Store(), core.Record{Key: "ticket.g_1", Public: []byte(`{}`), TTL: 4 * time.Second})
	put(t, b.Store(), core.Record{Key: "key.fingerprint", Public: []byte(`{}`)})
	closeBus(t, b)
	hub, leaf := startHub(t)
	to := externalConfig(t, hub)
	to.Keys = from.Keys
	if _, err := grow(t, from, to, leaf); err != nil {
		t.Fatal(err)
	}
	b = openBus(t, to)
	eventually(t, "the ticket ends", func() bool {
		_, err := b.Store().Get(testContext(t), "ticket.g_1")
		return err != nil
	})
}

func TestGrowthGoesOnWhereItWasBrokenOff(t *testing.T) {
	from, records := stocked(t)
	hub, leaf := startHub(t)
	to := externalConfig(t, hub)
	to.Keys = from.Keys
	// It dies when the store was given up and nothing is promoted.
	g := &grower{Growth: Growth{From: from, To: to, Leaf: leaf, Tell: func(string) {}}}
	func() {
		ctx := testContext(t)
		if err := g.check(ctx); err != nil {
			t.Fatal(err)
		}
		var err error
		if g.dir, err = openDataDir(g.From.DataDir); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = g.dir.close() }()
		g.domain = "esignd-" + g.dir.owner[:8]
		if g.nc, g.js, err = connect(to.URL, connOptions("test", quiet())); err != nil {
			t.Fatal(err)
		}
		defer g.nc.Close()
		if err := g.mirror(ctx, moving{want: recordConfig(1), account: stateAccount}); err != nil {
			t.Fatal(err)
		}
		if err := g.dir.giveUp(); err != nil {
			t.Fatal(err)
		}
	}()
	if steps, err := grow(t, from, to, leaf); err != nil {
		t.Fatalf("%v; %v", err, steps)
	}
	if diff := cmp.Diff(records, allRecords(t, openBus(t, to))); diff != "" {
		t.Errorf("records were changed: %s", diff)
	}
}

func TestGrowthRefusesWhatWouldLoseOrMix(t *testing.T) {
	from, _ := stocked(t)
	hub, leaf := startHub(t)
	to := externalConfig(t, hub)
	to.Keys = from.Keys
	refused := func(name, want string, from, to Config, leaf string) {
		t.Helper()
		if _, err := grow(t, from, to, leaf); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	refused("to an embedded one", "to one with nats.url", from, from, leaf)
	refused("an address that is none", "is not a URL", from, to, "7422")
	nothing := from
	nothing.DataDir = filepath.Join(t.TempDir(), "none")
	refused("nothing", "there is nothing to move", nothing, to, leaf)
	unused := from
	unused.DataDir = t.TempDir()
	refused("another folder", "holds no store", unused, to, leaf)
	prefix := to
	prefix.Prefix = "other"
	refused("another prefix", "nats.prefix", from, prefix, leaf)

	foreign := externalConfig(t, startExternal(t, nil).ClientURL())
	closeBus(t, openBus(t, foreign)) // makes a keyset
	foreign.URL = to.URL
	refused("another keyset", "is not the one that the records are sealed with", from, foreign, leaf)

	waiting := filepath.Join(from.DataDir, spoolFolder)
	if err := os.MkdirAll(waiting, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(waiting, "g_1.a"+spoolSuffix)
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("an outcome waits", "1 outcomes wait in", from, to, leaf)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}

	b := openBus(t, from)
	refused("a running one", "is to be stopped", from, to, leaf)
	closeBus(t, b)
	closeBus(t, openBus(t, to)) // there is an esignd already
	refused("a server that is used", "has a stream KV_ESIGN already", from, to, leaf)
	openBus(t, from) // after all refusals it starts as before
}
