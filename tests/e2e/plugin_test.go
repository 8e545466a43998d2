package e2e

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/system"
)

// TestKilledPluginComesBack ends each plugin with SIGKILL while callers ask. Live tokens go on being served without an
// error, and the plugin is back, and refreshes, within five seconds, or on a busy machine within as long as the daemon took to
// start a few times over.
func TestKilledPluginComesBack(t *testing.T) {
	t.Parallel()
	clients := system.World{Lifetime: time.Hour}.Mains(t, "lazy")
	begun := time.Now()
	d := startDaemon(t, system.Options{Clients: clients})
	backWithin := max(5*time.Second, 5*time.Since(begun))
	cl := d.Dial()
	for _, r := range clients {
		connect(t, cl, r.Name, "kept@example.com")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var asking errgroup.Group
	for _, r := range clients {
		asking.Go(func() error { return askOn(ctx, d.Dial(), r) })
	}
	for _, r := range clients {
		pid := d.Plugins()[r.Vendor]
		if pid == 0 {
			t.Fatalf("no plugin of %s runs", r.Vendor)
		}
		sel := client.Selector{Client: r.Name, Account: "kept@example.com"}
		link := system.Must(cl.Authorize(t.Context(), client.AuthorizeRequest{Client: r.Name, Account: "kept@example.com"}))(t)
		before := system.Must(cl.Token(t.Context(), sel))(t)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		system.Await(t, backWithin, "the plugin of "+r.Vendor+" is back", func() bool {
			now := d.Plugins()[r.Vendor]
			return now != 0 && now != pid && newBrowser(t).open(link.ConnectURL).status == http.StatusSeeOther
		})
		t.Logf("the plugin of %s was back after %s", r.Vendor, time.Since(killed).Round(time.Millisecond))
		after := refreshed(t, cl, sel)
		if after.Generation != before.Generation+1 || system.CallAPI(t, after) != http.StatusOK {
			t.Errorf("%s: refreshed to generation %d after %d; the vendor's API answers %d", r.Vendor, after.Generation, before.Generation, system.CallAPI(t, after))
		}
	}
	cancel()
	if err := asking.Wait(); err != nil {
		t.Errorf("a caller whose token lives got %v", err)
	}
}

// refreshed refreshes now. Within a second of another refresh the answer is the token of that.
func refreshed(t *testing.T, cl *client.Client, sel client.Selector) (tok client.Token) {
	t.Helper()
	system.Await(t, time.Minute, "a refresh is not of a second ago", func() bool {
		tok = system.Must(cl.Refresh(t.Context(), sel))(t)
		return !slices.Contains(tok.Warnings, core.WarnRefreshedRecently)
	})
	return tok
}

// askOn asks for a token until ctx ends, and returns what is not a token.
func askOn(ctx context.Context, cl *client.Client, r system.Registration) error {
	for {
		_, err := cl.Token(ctx, client.Selector{Client: r.Name, Account: "kept@example.com"})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return errors.Join(errors.New(r.Name), err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(2 * time.Millisecond): // of three callers, a load that leaves the machine to the others
		}
	}
}
