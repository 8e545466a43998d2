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
)

// TestKilledPluginComesBack ends each plugin with SIGKILL while callers ask. Live tokens go on being served without an
// error, and the plugin is back, and refreshes, within five seconds.
func TestKilledPluginComesBack(t *testing.T) {
	t.Parallel()
	const backWithin = 5 * time.Second
	clients := world{lifetime: 2 * time.Minute}.mains(t, "lazy")
	d := startDaemon(t, options{clients: clients})
	cl := d.dial()
	for _, r := range clients {
		connect(t, cl, r.name, "kept@example.com")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var asking errgroup.Group
	for _, r := range clients {
		asking.Go(func() error { return askOn(ctx, d.dial(), r) })
	}
	for _, r := range clients {
		pid := d.plugins()[r.vendor]
		if pid == 0 {
			t.Fatalf("no plugin of %s runs", r.vendor)
		}
		sel := client.Selector{Client: r.name, Account: "kept@example.com"}
		link := must(cl.Authorize(t.Context(), client.AuthorizeRequest{Client: r.name, Account: "kept@example.com"}))(t)
		before := must(cl.Token(t.Context(), sel))(t)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		await(t, backWithin, "the plugin of "+r.vendor+" is back", func() bool {
			now := d.plugins()[r.vendor]
			return now != 0 && now != pid && newBrowser(t).open(link.ConnectURL).status == http.StatusSeeOther
		})
		t.Logf("the plugin of %s was back after %s", r.vendor, time.Since(killed).Round(time.Millisecond))
		after := refreshed(t, cl, sel)
		if after.Generation != before.Generation+1 || callAPI(t, after) != http.StatusOK {
			t.Errorf("%s: refreshed to generation %d after %d; the vendor's API answers %d", r.vendor, after.Generation, before.Generation, callAPI(t, after))
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
	await(t, 5*time.Second, "a refresh is not of a second ago", func() bool {
		tok = must(cl.Refresh(t.Context(), sel))(t)
		return !slices.Contains(tok.Warnings, core.WarnRefreshedRecently)
	})
	return tok
}

// askOn asks for a token until ctx ends, and returns what is not a token.
func askOn(ctx context.Context, cl *client.Client, r registration) error {
	for {
		_, err := cl.Token(ctx, client.Selector{Client: r.name, Account: "kept@example.com"})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return errors.Join(errors.New(r.name), err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(2 * time.Millisecond): // of three callers, a load that leaves the machine to the others
		}
	}
}
