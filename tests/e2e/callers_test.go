package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/tests/system"
)

// use gets a token and uses it at the vendor's API, where it is live as long as it says. On a machine that is so slow that
// it ended on its way, another one is used.
func use(t testing.TB, cl *client.Client, sel client.Selector) client.Token {
	t.Helper()
	for {
		asked := time.Now()
		tok := system.Must(cl.Token(t.Context(), sel))(t)
		got := time.Now()
		status := system.CallAPI(t, tok)
		if status == http.StatusOK {
			return tok
		}
		if took := time.Since(asked); took < tok.ExpiresIn {
			t.Fatalf("%s: %s after generation %d was asked for, and %s after it came, the vendor's API answers %d", sel.Client, took, tok.Generation, time.Since(got), status)
		}
	}
}

// importLive brings a grant whose token esignd takes to be live for an hour, whatever the vendor's sandbox gives.
func importLive(t testing.TB, cl *client.Client, sel client.Selector) {
	t.Helper()
	system.Must(cl.Import(t.Context(), client.ImportRequest{
		Client: sel.Client, Account: sel.Account, RefreshToken: client.NewSecret("refresh-token-of-" + sel.Account),
		AccessToken: client.NewSecret("access-token-of-" + sel.Account), ExpiresAt: time.Now().Add(time.Hour),
	}))(t)
}

// awaitExpired waits until the vendor refuses the token.
func awaitExpired(t testing.TB, tok client.Token) {
	t.Helper()
	system.Await(t, time.Minute, tok.Vendor+" refuses the old access token", func() bool { return system.CallAPI(t, tok) == http.StatusUnauthorized })
}

// recorder hears every event of the tenant from JetStream, from the first there is.
type recorder struct {
	mu     sync.Mutex // guards events
	events []client.Event
}

// record starts a recorder, which ends with the test.
func record(t testing.TB, cl *client.Client) *recorder {
	r := &recorder{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		since := time.Now().Add(-time.Hour)
		for {
			err := cl.Watch(ctx, client.WatchConfig{Since: since}, r.heard)
			if !errors.Is(err, context.DeadlineExceeded) { // where the server is too busy to begin with it, it is asked again
				done <- err
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("watch: %v", err)
		}
	})
	return r
}

func (r *recorder) heard(e client.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	return nil
}

// of returns the events of a grant, in order.
func (r *recorder) of(grant string) []client.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []client.Event
	for _, e := range r.events {
		if e.Grant == grant {
			list = append(list, e)
		}
	}
	return list
}

// await waits for an event of a grant and returns it.
func (r *recorder) await(t testing.TB, grant string, kind client.EventType, generation uint64) client.Event {
	t.Helper()
	var found client.Event
	within := time.Minute
	for deadline := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		for _, e := range r.of(grant) {
			if found = e; e.Type == kind && e.Generation == generation {
				return found
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s of generation %d of %s within %s; heard: %v", kind, generation, grant, within, r.lines(grant))
		}
	}
}

// lines tells the events of a grant, one string for each.
func (r *recorder) lines(grant string) []string {
	var list []string
	for _, e := range r.of(grant) {
		list = append(list, fmt.Sprintf("%s %d %s", e.Type, e.Generation, e.Reason))
	}
	return list
}
