//go:build heavy

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/tests/system"
)

// load is callers that ask without a pause, some with bus/client and some with NATS alone. Not one request may fail.
type load struct {
	fleet   *fleet
	size    int // accounts
	workers errgroup.Group
	cancel  context.CancelFunc
	served  atomic.Int64
}

func (f *fleet) startLoad(size int) *load {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	l := &load{fleet: f, size: size, cancel: cancel}
	for worker := range 4 {
		cl, nc := f.service(), f.connect()
		for _, ask := range []func(context.Context, int) error{
			func(ctx context.Context, n int) error { return l.askClient(ctx, cl, n) },
			func(ctx context.Context, n int) error { return l.askNATS(ctx, nc, n) },
		} {
			l.workers.Go(func() error {
				for n := worker; ctx.Err() == nil; n++ {
					if err := ask(ctx, n); err != nil && ctx.Err() == nil {
						f.t.Errorf("a request failed: %v", err)
					}
					l.served.Add(1)
				}
				return nil
			})
		}
	}
	f.t.Cleanup(l.stop)
	return l
}

// stop ends the callers. It may be called again.
func (l *load) stop() {
	l.cancel()
	_ = l.workers.Wait() // the functions return no error
}

// askClient asks as a Go service does: mostly for tokens, now and then for more.
func (l *load) askClient(ctx context.Context, cl *client.Client, n int) error {
	sel, begun := selector(n%l.size), time.Now()
	var tok client.Token
	var err error
	switch {
	case n%50 == 0:
		tok, err = cl.Refresh(ctx, sel)
	case n%30 == 0:
		_, err = cl.Grant(ctx, sel)
		return err
	default:
		tok, err = cl.Token(ctx, sel)
	}
	if err == nil && !begun.Before(tok.ExpiresAt) { // it may end on its way
		err = fmt.Errorf("an expired token of %s", tok.Account)
	}
	return err
}

// askNATS asks as a program in another language does.
func (l *load) askNATS(ctx context.Context, nc *nats.Conn, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	body, err := json.Marshal(map[string]string{"client": clientName, "account": account(n % l.size)})
	if err != nil {
		return err
	}
	endpoint := "token.get"
	if n%40 == 0 {
		endpoint = "token.refresh"
	}
	m, err := nc.RequestWithContext(ctx, "esign.api.default."+endpoint, body)
	if err != nil {
		return fmt.Errorf("%s of %s: %w", endpoint, account(n%l.size), err)
	}
	if code := m.Header.Get("Nats-Service-Error-Code"); code != "" {
		return fmt.Errorf("%s of %s: %s", endpoint, account(n%l.size), m.Data)
	}
	return nil
}

// TestRollingUpgradeFailsNoRequest restarts the replicas one after the other under load, each with the next release, which
// writes another record format; and then one of them with the old release again. All the while some replica is a format
// behind the records.
func TestRollingUpgradeFailsNoRequest(t *testing.T) {
	t.Parallel()
	const size = 20
	v := openVendor(t, 12*time.Second, 20*time.Millisecond, nil)
	f := startFleet(t, v)
	cl := f.service()
	for n := range size {
		if err := f.bring(cl, n, time.Now().Add(12*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	l := f.startLoad(size)
	f.goOn(size)
	for _, step := range []struct {
		replica int
		program string
	}{{0, system.NextRelease}, {1, system.NextRelease}, {2, system.NextRelease}, {0, "esignd"}, {0, system.NextRelease}} {
		d := f.daemons[step.replica]
		d.Stop()
		d.Program = step.program
		d.Start()
		f.goOn(size)
	}
	l.stop()
	if again := v.again(); len(again) != 0 {
		t.Errorf("refresh tokens were presented again: %v", again)
	}
	for n := range size {
		begun := time.Now()
		tok := system.Must(cl.Token(t.Context(), selector(n)))(t)
		live, err := v.live(tok.AccessToken.Reveal())
		if err != nil || !live && time.Since(begun) < tok.ExpiresIn || len(tok.Warnings) != 0 {
			t.Errorf("%s: the vendor takes the token: %t, %v; warnings %v", tok.Account, live, err, tok.Warnings)
		}
	}
	t.Logf("5 restarts, %d requests, none failed; %d refreshes", l.served.Load(), v.answeredRefreshes())
}

// goOn waits until as many refreshes as there are accounts were made by replicas as they now are.
func (f *fleet) goOn(size int) {
	f.t.Helper()
	before := f.vendor.answeredRefreshes()
	system.Await(f.t, time.Minute, "the grants are refreshed", func() bool { return f.vendor.answeredRefreshes() >= before+size })
}
