package bus

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

func TestReplicasShareOneStore(t *testing.T) {
	t.Parallel()
	e := startExternal(t, nil)
	cfg := externalConfig(t, e.ClientURL())
	a, b := openBus(t, cfg), openOther(t, cfg)
	if a.Owner() == b.Owner() {
		t.Error("two data_dirs have one owner id")
	}
	w := startWatch(t, b.Store())
	w.until(t, "synced", isSynced)
	put(t, a.Store(), core.Record{Key: "grant.a", Public: []byte(`{}`), Secret: []byte("token")})
	seen := w.until(t, "grant.a", isKey("grant.a"))
	if u := seen[len(seen)-1]; string(u.Record.Secret) != "token" || u.Err != nil {
		t.Errorf("the other replica reads %+v", u)
	}
}

func TestReplicaWithAnotherKeysetIsRefused(t *testing.T) {
	t.Parallel()
	e := startExternal(t, nil)
	a := openBus(t, externalConfig(t, e.ClientURL()))
	put(t, a.Store(), core.Record{Key: "grant.a", Public: []byte(`{}`), Secret: []byte("token")})
	lost := externalConfig(t, e.ClientURL())
	if _, err := Open(testContext(t), lost); err == nil || !strings.Contains(err.Error(), "there is no keyset") {
		t.Errorf("without the keyset: %v", err)
	}
	if _, err := os.Stat(lost.Keys.Keyset); err == nil {
		t.Error("a keyset was made over records that it does not open")
	}
	elsewhere := startExternal(t, nil)
	other := externalConfig(t, elsewhere.ClientURL())
	closeBus(t, openBus(t, other))
	other.URL = e.ClientURL()
	if _, err := Open(testContext(t), other); err == nil || !strings.Contains(err.Error(), "not the one") {
		t.Errorf("with another keyset: %v", err)
	}
}

func TestExternalServerThatWillNotDoIsRefused(t *testing.T) {
	t.Parallel()
	without := startExternal(t, func(o *server.Options) { o.JetStream = false })
	if _, err := Open(testContext(t), externalConfig(t, without.ClientURL())); err == nil || !strings.Contains(err.Error(), "JetStream") {
		t.Errorf("JetStream off: %v", err)
	}
	if _, err := Open(testContext(t), externalConfig(t, "nats://user:hunter2@127.0.0.1:1")); err == nil ||
		!strings.Contains(err.Error(), "nats.url") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("no server: %v, want an error about nats.url without the password", err)
	}
	barred := startExternal(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{"x"}}, Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}}}}}
	})
	url := strings.Replace(barred.ClientURL(), "nats://", "nats://u:p@", 1)
	ctx := testContext(t)
	if _, err := Open(ctx, externalConfig(t, url)); err == nil || !strings.Contains(err.Error(), "permission") {
		t.Errorf("a user without permissions: %v", err)
	}
}

func TestOldServerIsRefused(t *testing.T) {
	t.Parallel()
	e := startExternal(t, func(o *server.Options) { o.JetStream = false })
	nc, err := nats.Connect(e.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	// What nats-server 2.11 answers, which has no schedules.
	_, err = nc.Subscribe("$JS.API.INFO", func(m *nats.Msg) {
		_ = m.Respond([]byte(`{"type":"io.nats.jetstream.api.v1.account_info_response","api":{"level":1}}`))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(testContext(t), externalConfig(t, e.ClientURL())); err == nil || !strings.Contains(err.Error(), "2.14") {
		t.Errorf("an old server: %v, want an error that names the version needed", err)
	}
}

func TestStreamsAreBroughtUpToDateAndThoseOfOthersLeft(t *testing.T) {
	t.Parallel()
	e := startExternal(t, nil)
	cfg := externalConfig(t, e.ClientURL())
	closeBus(t, openBus(t, cfg))
	nc, err := nats.Connect(e.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	changed := eventConfig(wire.DefaultPrefix, 1)
	changed.MaxAge, changed.Duplicates, changed.MaxBytes = time.Hour, time.Minute, 1<<30
	if _, err := js.UpdateStream(ctx, changed); err != nil {
		t.Fatal(err)
	}
	direct := recordConfig(1)
	direct.AllowDirect, direct.Duplicates = true, 2*time.Minute
	if _, err := js.UpdateStream(ctx, direct); err != nil {
		t.Fatal(err)
	}
	b := openBus(t, cfg)
	ses, err := b.opened()
	if err != nil {
		t.Fatal(err)
	}
	got := ses.events.CachedInfo().Config
	if got.MaxAge != eventAge || got.Duplicates != duplicateWindow || got.MaxBytes != 1<<30 {
		t.Errorf("events: max age %v, duplicates %v, max bytes %d", got.MaxAge, got.Duplicates, got.MaxBytes)
	}
	records := ses.records.CachedInfo().Config
	if records.AllowDirect {
		t.Error("records may be read from a replica that lags")
	}
	if records.Duplicates != noDuplicates {
		t.Errorf("the server looks for records that came twice within %s", records.Duplicates)
	}
	other := externalConfig(t, e.ClientURL())
	other.Keys, other.Prefix = cfg.Keys, "other"
	if _, err := Open(ctx, other); err == nil || !strings.Contains(err.Error(), "nats.prefix") {
		t.Errorf("another prefix on the same streams: %v", err)
	}
}

func TestRecordsAreAKeyValueBucketToNATSTools(t *testing.T) {
	t.Parallel()
	e := startExternal(t, nil)
	b := openBus(t, externalConfig(t, e.ClientURL()))
	revision := put(t, b.Store(), core.Record{Key: "grant.a", Public: []byte(`{}`), Secret: []byte("token")})
	ses, err := b.opened()
	if err != nil {
		t.Fatal(err)
	}
	kv, err := ses.js.KeyValue(testContext(t), bucket)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := kv.Get(testContext(t), "grant.a")
	if err != nil || entry.Revision() != revision {
		t.Fatalf("read by a NATS tool: %v", err)
	}
	if err := kv.Delete(testContext(t), "grant.a"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Store().Get(testContext(t), "grant.a"); !errors.Is(err, core.ErrNoRecord) {
		t.Errorf("after a NATS tool removed it: %v", err)
	}
	put(t, b.Store(), core.Record{Key: "grant.a", Public: []byte(`{}`)})
}
