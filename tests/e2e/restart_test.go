package e2e

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/esignd/esignd/bus/client"
)

// TestGrantsOutliveRestarts stops the daemon in order, and then ends it with SIGKILL. Each time the next one has all
// grants as they were, asks no vendor for them, and refreshes by itself when their time comes.
func TestGrantsOutliveRestarts(t *testing.T) {
	t.Parallel()
	clients := world{lifetime: 9 * time.Second}.mains(t, "")
	d := startDaemon(t, options{clients: clients})
	for _, r := range clients {
		connect(t, d.dial(), r.name, "stays@example.com")
	}
	for _, end := range []struct {
		name string
		by   func(*daemon)
	}{{"SIGTERM", (*daemon).stop}, {"SIGKILL", (*daemon).kill}} {
		restart(t, d, clients, end.name, end.by)
	}
}

func restart(t *testing.T, d *daemon, clients []registration, how string, end func(*daemon)) {
	t.Helper()
	plugins := d.plugins()
	if vendors := slices.Sorted(maps.Keys(plugins)); len(vendors) != len(clients) {
		t.Fatalf("plugins run of %v", vendors)
	}
	before := stays(t, d, clients)
	asked := requests(clients)
	end(d)
	// With the daemon in order its plugins have ended before it; without, they notice at once.
	patience := 3 * time.Second
	if how == "SIGTERM" {
		patience = 0
	}
	await(t, patience, how+" leaves no plugin behind", func() bool { return len(alive(plugins)) == 0 })

	d.start()
	after := stays(t, d, clients)
	for name, tok := range before {
		// A timer that came due around the end has refreshed; then the generation tells.
		if now := after[name]; now.Generation == tok.Generation && !now.AccessToken.Equal(tok.AccessToken) {
			t.Errorf("%s: %s has another token of generation %d", how, name, now.Generation)
		} else if now.Generation < tok.Generation {
			t.Errorf("%s: %s fell from generation %d to %d", how, name, tok.Generation, now.Generation)
		}
	}
	if sockets := must(filepath.Glob(filepath.Join(d.dataDir, "plugins", "*")))(t); len(sockets) > len(clients) {
		t.Errorf("%s: the data_dir holds the sockets of plugins that are gone: %v", how, sockets)
	}
	// Timers go on meanwhile, so it is looked at until nothing is on its way.
	issued, now := 0, 0
	await(t, 5*time.Second, "after "+how+" each request to a vendor has brought a token", func() bool {
		now = requests(clients)
		issued = 0
		for name, tok := range stays(t, d, clients) {
			issued += int(tok.Generation - before[name].Generation)
		}
		return now == asked+issued && now == requests(clients)
	})
	if issued > 0 {
		t.Logf("%s: %d refreshes came due during the restart", how, issued)
	}
	asked = requests(clients)
	// Nobody asks for a token here: only a timer can be the reason.
	await(t, 15*time.Second, "after "+how+" each grant is refreshed by its timer", func() bool { return requests(clients) >= asked+len(clients)-issued })
}

// stays asks for the token of each client's grant.
func stays(t *testing.T, d *daemon, clients []registration) map[string]client.Token {
	t.Helper()
	cl := d.dial()
	tokens := map[string]client.Token{}
	for _, r := range clients {
		tokens[r.name] = must(cl.Token(t.Context(), client.Selector{Client: r.name, Account: "stays@example.com"}))(t)
	}
	return tokens
}

// requests counts the requests to the token endpoints.
func requests(clients []registration) int {
	n := 0
	for _, r := range clients {
		for _, count := range r.box.Stats().TokenRequests {
			n += count
		}
	}
	return n
}
