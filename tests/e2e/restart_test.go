package e2e

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/tests/system"
)

// TestGrantsOutliveRestarts stops the daemon in order, and then ends it with SIGKILL. Each time the next one has all
// grants as they were, asks no vendor for them, and refreshes by itself when their time comes.
func TestGrantsOutliveRestarts(t *testing.T) {
	t.Parallel()
	clients := system.World{Lifetime: 9 * time.Second}.Mains(t, "")
	begun := time.Now()
	d := startDaemon(t, system.Options{Clients: clients})
	// With the daemon in order its plugins have ended before it; without, they notice within three seconds, or on a busy machine
	// within as long as the daemon took to start a few times over.
	notice := max(3*time.Second, 5*time.Since(begun))
	for _, r := range clients {
		connect(t, d.Dial(), r.Name, "stays@example.com")
	}
	restart(t, d, clients, "SIGTERM", (*system.Daemon).Stop, 0)
	restart(t, d, clients, "SIGKILL", (*system.Daemon).Kill, notice)
}

func restart(t *testing.T, d *system.Daemon, clients []system.Registration, how string, end func(*system.Daemon), patience time.Duration) {
	t.Helper()
	plugins := d.Plugins()
	if vendors := slices.Sorted(maps.Keys(plugins)); len(vendors) != len(clients) {
		t.Fatalf("plugins run of %v", vendors)
	}
	before, asked := settled(t, d, clients)
	end(d)
	system.Await(t, patience, how+" leaves no plugin behind", func() bool { return len(system.Alive(plugins)) == 0 })

	d.Start()
	after := stays(t, d, clients)
	for name, tok := range before {
		// A timer that came due around the end has refreshed; then the generation tells.
		if now := after[name]; now.Generation == tok.Generation && !now.AccessToken.Equal(tok.AccessToken) {
			t.Errorf("%s: %s has another token of generation %d", how, name, now.Generation)
		} else if now.Generation < tok.Generation {
			t.Errorf("%s: %s fell from generation %d to %d", how, name, tok.Generation, now.Generation)
		}
	}
	if sockets := system.Must(filepath.Glob(filepath.Join(d.DataDir, "plugins", "*")))(t); len(sockets) > len(clients) {
		t.Errorf("%s: the data_dir holds the sockets of plugins that are gone: %v", how, sockets)
	}
	// Timers go on meanwhile, so it is looked at until nothing is on its way.
	issued, now := 0, 0
	system.Await(t, time.Minute, "after "+how+" each request to a vendor has brought a token", func() bool {
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
	system.Await(t, time.Minute, "after "+how+" each grant is refreshed by its timer", func() bool { return requests(clients) >= asked+len(clients)-issued })
}

// settled waits until no refresh is on its way, or is soon: the answer of one could be lost with the daemon, and the grant
// with the answer. It returns the tokens, and how many requests brought them.
func settled(t *testing.T, d *system.Daemon, clients []system.Registration) (tokens map[string]client.Token, asked int) {
	t.Helper()
	system.Await(t, time.Minute, "no refresh is on its way", func() bool {
		tokens, asked = stays(t, d, clients), requests(clients)
		generations := 0
		for _, tok := range tokens {
			if tok.ExpiresIn < 5*time.Second { // the last three are those in which they are refreshed
				return false
			}
			generations += int(tok.Generation)
		}
		return generations == asked
	})
	return tokens, asked
}

// stays asks for the token of each client's grant.
func stays(t *testing.T, d *system.Daemon, clients []system.Registration) map[string]client.Token {
	t.Helper()
	cl := d.Dial()
	tokens := map[string]client.Token{}
	for _, r := range clients {
		tokens[r.Name] = system.Must(cl.Token(t.Context(), client.Selector{Client: r.Name, Account: "stays@example.com"}))(t)
	}
	return tokens
}

// requests counts the requests to the token endpoints.
func requests(clients []system.Registration) int {
	n := 0
	for _, r := range clients {
		for _, count := range r.Box.Stats().TokenRequests {
			n += count
		}
	}
	return n
}
