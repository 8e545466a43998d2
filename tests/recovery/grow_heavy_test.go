//go:build heavy

package recovery

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/system"
)

// accounts are the people who have connected in these tests, for each client.
var accounts = []string{"ann@example.com", "bob@example.com", "revoked@example.com"}

// oneNode starts a daemon with the embedded server and connects accounts. It returns its grants as they are.
func oneNode(t *testing.T, clients []system.Registration) (*system.Daemon, map[string]client.Grant) {
	t.Helper()
	d := system.StartDaemon(t, system.Options{Binaries: binaries, Clients: clients})
	cl := d.Dial()
	for _, r := range clients {
		for _, account := range accounts {
			connect(t, cl, r.Name, account)
		}
		refresh(t, cl, r.Name, "bob@example.com", 2)
		system.Must(cl.Revoke(t.Context(), sel(r.Name, "revoked@example.com"), "left"))(t)
	}
	return d, grants(t, cl, clients)
}

func grants(t *testing.T, cl *client.Client, clients []system.Registration) map[string]client.Grant {
	t.Helper()
	all := map[string]client.Grant{}
	for _, r := range clients {
		for _, account := range accounts {
			all[r.Name+" "+account] = system.Must(cl.Grant(t.Context(), sel(r.Name, account)))(t)
		}
	}
	return all
}

// cluster starts three NATS servers and returns their address for daemons, and one for leaf nodes.
func cluster(t *testing.T, keyset string) (system.External, string) {
	t.Helper()
	servers := system.StartCluster(t, binaries, 3, "leafnodes {listen: \"127.0.0.1:-1\"}\n")
	resp := system.Must(system.Plain.Get("http://" + servers[1].Monitor + "/varz"))(t)
	defer func() { _ = resp.Body.Close() }()
	var v struct {
		Leaf struct {
			Port json.Number `json:"port"`
		} `json:"leaf"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
		t.Fatal(err)
	}
	return system.External{URL: system.URLs(servers), Replicas: 3, Keyset: keyset}, "nats://127.0.0.1:" + v.Leaf.Port.String()
}

// serve starts three daemons on a cluster, and checks that each serves the grants, and that a refresh by one is known to
// all. generation is what each grant's generation has grown by in the move.
func serve(t *testing.T, clients []system.Registration, server system.External, was map[string]client.Grant, grown uint64) []*system.Daemon {
	t.Helper()
	var daemons []*system.Daemon
	for range 3 {
		daemons = append(daemons, system.StartDaemon(t, system.Options{Binaries: binaries, Clients: clients, NATS: &server}))
	}
	cl := daemons[0].Dial() // any of the three answers
	for name, g := range grants(t, cl, clients) {
		want := was[name]
		if want.State == core.Active {
			want.Generation += grown
		}
		if g.State != want.State || g.Reason != want.Reason || g.Generation != want.Generation {
			t.Errorf("%s is %s (%s), generation %d; want %s (%s), %d", name, g.State, g.Reason, g.Generation, want.State, want.Reason, want.Generation)
		}
	}
	return daemons
}

// One esignd grows into three on a cluster by a leaf node and mirrors: grants, revisions and events go along, and no
// refresh token is presented twice.
func TestOneNodeGrowsIntoAClusterByALeafNode(t *testing.T) {
	t.Parallel()
	clients := system.World{Lifetime: 5 * time.Minute}.Mains(t, "lazy")
	d, was := oneNode(t, clients)
	keyset := filepath.Join(t.TempDir(), "keyset.json")
	give(t, d, keyset)
	server, leaf := cluster(t, keyset)
	next := system.NewDaemon(t, system.Options{Binaries: binaries, Clients: clients, NATS: &server})
	if out, ok := esignd(t, next, "grow", "--config", d.Config, "--to", next.Config, "--leaf", leaf); ok || !strings.Contains(out, "is to be stopped") {
		t.Fatalf("while it runs: %s", out)
	}
	d.Stop()
	shown(t, "grow", run(t, next, "grow", "--config", d.Config, "--to", next.Config, "--leaf", leaf))

	if out, ok := esignd(t, d, "serve", "--config", d.Config); ok || !strings.Contains(out, "were moved to a NATS server") {
		t.Errorf("the old daemon starts again: %s", out)
	}
	daemons := serve(t, clients, server, was, 0)
	cl := daemons[0].Dial()
	for _, r := range clients {
		before := was[r.Name+" ann@example.com"].Generation
		for range 2 {
			tok := refresh(t, cl, r.Name, "ann@example.com", before+1)
			before++
			if status := system.CallAPI(t, tok); status != 200 {
				t.Errorf("%s: the vendor answers %d to a token of generation %d", r.Name, status, tok.Generation)
			}
		}
	}
	if n := reused(clients); n != 0 {
		t.Errorf("%d spent refresh tokens were presented", n)
	}
	// What was told before the move is there for subscribers, in order.
	var seen []core.Event
	done := errors.New("done")
	err := cl.Watch(t.Context(), client.WatchConfig{Since: time.Now().Add(-time.Hour)}, func(e client.Event) error {
		seen = append(seen, core.Event{Type: e.Type, Generation: e.Generation})
		if e.Type == client.TokenIssued && e.Client == "global" && e.Account == "ann@example.com" && e.Generation == 3 {
			return done
		}
		return nil
	})
	if !errors.Is(err, done) || len(seen) < len(clients)*(len(accounts)+2) {
		t.Errorf("%d events are there, %v", len(seen), err)
	}
}

// The other way: a backup is restored into the cluster.
func TestOneNodeGrowsIntoAClusterByABackup(t *testing.T) {
	t.Parallel()
	clients := system.World{Lifetime: 5 * time.Minute}.Mains(t, "lazy")
	d, was := oneNode(t, clients)
	keyset := filepath.Join(t.TempDir(), "keyset.json")
	give(t, d, keyset)
	d.Stop()
	backup := backUp(t, d)
	server, _ := cluster(t, keyset)
	next := system.NewDaemon(t, system.Options{Binaries: binaries, Clients: clients, NATS: &server})
	out := run(t, next, "restore", "--config", next.Config, backup)
	if !strings.Contains(out, "restored  6        with outcome_unknown") {
		t.Errorf("restored:\n%s", out)
	}
	daemons := serve(t, clients, server, was, 1)
	cl := daemons[0].Dial()
	for _, r := range clients {
		// Nothing was refreshed in between, so that the one more try is good at every vendor.
		g := was[r.Name+" bob@example.com"]
		tok, err := cl.Report(t.Context(), sel(r.Name, "bob@example.com"), g.Generation+1)
		if err != nil || tok.Generation != g.Generation+2 || len(tok.Warnings) != 0 || system.CallAPI(t, tok) != 200 {
			t.Errorf("%s: generation %d, warnings %v, %v", r.Name, tok.Generation, tok.Warnings, err)
		}
	}
	if n := reused(clients); n != 0 {
		t.Errorf("%d spent refresh tokens were presented", n)
	}
}

// A store of an esignd on its own has a mark, without which no esignd opens it: it may be a cluster's.
func TestStoreWithoutItsMarkIsRefused(t *testing.T) {
	t.Parallel()
	clients := system.World{Lifetime: 5 * time.Minute}.Mains(t, "lazy")[2:]
	d := system.StartDaemon(t, system.Options{Binaries: binaries, Clients: clients})
	d.Stop()
	mark := filepath.Join(d.DataDir, "nats", "STANDALONE")
	text := system.Must(os.ReadFile(mark))(t)
	if err := os.Remove(mark); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"serve", "--config", d.Config}, {"backup", "--config", d.Config, "--out", filepath.Join(t.TempDir(), "b")}} {
		if out, ok := esignd(t, d, args...); ok || !strings.Contains(out, "they may belong to a NATS cluster") {
			t.Errorf("esignd %s: %s", args[0], out)
		}
	}
	if err := os.WriteFile(mark, text, 0o600); err != nil {
		t.Fatal(err)
	}
	d.Start()
}
