package core_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
)

// transitions collects what a hook is told.
type transitions struct {
	mu  sync.Mutex
	all []core.Transition
}

func (ts *transitions) tell(_ context.Context, t core.Transition) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.all = append(ts.all, t)
}

func (ts *transitions) hook(c *core.Config) { c.Hooks.Transition = ts.tell }

// of returns those of a grant.
func (ts *transitions) of(grant string) []core.Transition {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(ts.all), func(t core.Transition) bool { return t.Grant != grant })
}

// lines returns all that was told, one a line.
func (ts *transitions) lines() []string {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	var out []string
	for _, t := range ts.all {
		line := fmt.Sprintf("%s -> %s, generation %d, %s %s", t.From, t.To, t.Generation, t.Event, t.Reason)
		if t.Rotated {
			line += ", rotated"
		}
		out = append(out, line)
	}
	return out
}

func TestHookIsToldOfTheLifeOfAGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told transitions
		w := newWorld(t, told.hook)
		defer w.close()
		w.imported()
		time.Sleep(55 * time.Minute) // it is refreshed ahead
		if _, err := w.m.Revoke(t.Context(), w.sel(), "left the company"); err != nil {
			t.Fatal(err)
		}
		w.vendor.set(func(v *vendor) { clear(v.refresh) })
		w.imported()
		w.vendor.set(func(v *vendor) { clear(v.refresh) })
		time.Sleep(55 * time.Minute)
		synctest.Wait()
		if diff := cmp.Diff([]string{
			" -> active, generation 1, token.issued imported, rotated",
			"active -> active, generation 2, token.issued refreshed, rotated",
			"active -> revoked, generation 2,  left the company",
			"revoked -> active, generation 3, token.issued imported, rotated",
			"active -> reauthorization_required, generation 3, grant.reauthorization_required invalid_grant",
		}, told.lines()); diff != "" {
			t.Error(diff)
		}
		for _, tr := range told.all {
			if tr.Grant != core.GrantID(tenant, main, "alice@example.com") || tr.Tenant != tenant || tr.Client != main ||
				tr.Vendor != "acme" || tr.Account != "alice@example.com" || tr.Missed != 0 {
				t.Errorf("got %+v", tr)
			}
			if age := time.Since(tr.Time); age < 0 || age > 2*time.Hour {
				t.Errorf("%s -> %s was written %s ago", tr.From, tr.To, age)
			}
		}
	})
}

func TestHookIsToldOfAGrantThatBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told transitions
		w := newWorld(t, told.hook)
		defer w.close()
		if _, err := w.m.Token(t.Context(), core.Selector{Tenant: tenant, Client: robot}, core.DefaultMinTTL); err != nil {
			t.Fatal(err)
		}
		if _, err := w.m.Authorize(t.Context(), core.AuthorizeRequest{Tenant: tenant, Client: main, Account: "bob@example.com"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if diff := cmp.Diff([]string{
			" -> pending, generation 0,  ",
			"pending -> active, generation 1, token.issued client_credentials",
			" -> pending, generation 0,  ",
		}, told.lines()); diff != "" {
			t.Error(diff)
		}
	})
}

// slowStore acknowledges writes late, so that the watch tells them before their writer knows.
type slowStore struct{ core.Store }

func (s slowStore) Put(ctx context.Context, r core.Record) (uint64, error) {
	rev, err := s.Store.Put(ctx, r)
	time.Sleep(rand.N(50 * time.Millisecond))
	return rev, err
}

func TestHookHearsTheTransitionsOfEachGrantInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told transitions
		w := newWorld(t, told.hook, func(c *core.Config) { c.Store = slowStore{c.Store} })
		const grants, workers, rounds = 4, 6, 8
		account := func(i int) string { return fmt.Sprint("account ", i) }
		var work sync.WaitGroup
		for i := range grants * workers {
			work.Go(func() {
				for round := range rounds {
					w.act(account(i%grants), fmt.Sprint("seed ", i, " ", round))
					time.Sleep(rand.N(2 * time.Second))
				}
			})
		}
		work.Wait()
		last := map[string]core.GrantInfo{}
		for i := range grants {
			info, err := w.m.Grant(t.Context(), core.Selector{Tenant: tenant, Client: main, Account: account(i)})
			if err != nil {
				t.Fatal(err)
			}
			last[info.Grant] = info
		}
		w.close()
		for grant, info := range last {
			checkOrder(t, told.of(grant), info)
		}
	})
}

// act does something to a grant that changes it.
func (w *world) act(account, seed string) {
	ctx, sel := w.t.Context(), core.Selector{Tenant: tenant, Client: main, Account: account}
	var err error
	switch rand.N(4) {
	case 0:
		_, err = w.m.Revoke(ctx, sel, "because")
	case 1:
		_, err = w.m.Refresh(ctx, sel)
	default:
		_, err = w.m.Import(ctx, core.ImportRequest{Tenant: tenant, Client: main, Account: account, RefreshToken: w.vendor.seed(seed), Replace: true})
	}
	var e *core.Error
	if err != nil && (!errors.As(err, &e) || e.Code == core.ServerError) {
		w.t.Error(err)
	}
}

// checkOrder checks that each transition begins where the one before it ended, and that the last is what the grant is.
func checkOrder(t *testing.T, ts []core.Transition, now core.GrantInfo) {
	t.Helper()
	state, generation := core.State(""), uint64(0)
	for i, tr := range ts {
		issued := uint64(0)
		if tr.To == core.Active {
			issued = 1
		}
		if tr.From != state || tr.Generation != generation+issued {
			t.Fatalf("%s: transition %d is %s -> %s of generation %d, after %s of generation %d",
				tr.Account, i, tr.From, tr.To, tr.Generation, state, generation)
		}
		state, generation = tr.To, tr.Generation
	}
	if state != now.State || generation != now.Generation || len(ts) < 8 {
		t.Errorf("%s: %d transitions end at %s of generation %d; the grant is %s, %d", now.Account, len(ts), state, generation, now.State, now.Generation)
	}
}

func TestBlockedHookHoldsUpNothingAndLearnsWhatItMissed(t *testing.T) {
	var told transitions
	free, entered := make(chan struct{}), make(chan struct{}, 1)
	w := newWorld(t, func(c *core.Config) {
		c.Hooks.Transition = func(ctx context.Context, tr core.Transition) {
			select {
			case entered <- struct{}{}:
			default:
			}
			<-free
			told.tell(ctx, tr)
		}
	})
	const room, over = 4096, 100
	for i := range room + over + 1 {
		_, err := w.m.Import(t.Context(), core.ImportRequest{Tenant: tenant, Client: main, Account: "alice@example.com", Replace: true,
			RefreshToken: core.NewSecret(fmt.Sprint("refresh ", i)), AccessToken: core.NewSecret(fmt.Sprint("access ", i))})
		if err != nil {
			t.Fatalf("import %d: %v", i, err)
		}
		if i == 0 {
			<-entered
		}
	}
	close(free)
	w.close()
	ts := told.of(core.GrantID(tenant, main, "alice@example.com"))
	if len(ts) != room+1 || ts[0].Missed != 0 || ts[1].Missed != over || ts[1].Generation != over+2 || ts[2].Missed != 0 {
		t.Fatalf("%d were told, the second of generation %d with %d missed", len(ts), ts[1].Generation, ts[1].Missed)
	}
	if last := ts[len(ts)-1]; last.Generation != room+over+1 {
		t.Errorf("the last was of generation %d", last.Generation)
	}
}

func TestHookThatPanicsIsToldOfTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told transitions
		var log bytes.Buffer
		w := newWorld(t, func(c *core.Config) {
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
			c.Hooks.Transition = func(ctx context.Context, tr core.Transition) {
				told.tell(ctx, tr)
				panic("the password is " + tr.Account)
			}
		})
		w.imported()
		if _, err := w.m.Revoke(t.Context(), w.sel(), "because"); err != nil {
			t.Error(err)
		}
		w.close()
		if n := len(told.lines()); n != 2 {
			t.Errorf("%d transitions were told, want 2", n)
		}
		if out := log.String(); strings.Count(out, "a hook panicked") != 2 || !strings.Contains(out, "hooks_test.go") || strings.Contains(out, "password") {
			t.Errorf("the log:\n%s", out)
		}
	})
}

func TestCloseHasTheHookToldOfEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told transitions
		w := newWorld(t, func(c *core.Config) {
			c.Hooks.Transition = func(ctx context.Context, tr core.Transition) {
				time.Sleep(time.Second)
				told.tell(ctx, tr)
			}
		})
		w.imported()
		if _, err := w.m.Revoke(t.Context(), w.sel(), "because"); err != nil {
			t.Error(err)
		}
		w.close()
		if got := told.lines(); len(got) != 2 {
			t.Errorf("told %q", got)
		}
	})
}

func TestCloseWaitsForAHookNoLongerThanItMay(t *testing.T) {
	for _, c := range []struct {
		name   string
		within time.Duration // of the context of Close
		heeds  bool          // the hook heeds its context
		want   time.Duration
		says   string
	}{
		{"and the hook heeds it", time.Minute, true, 5 * time.Second, "not told of the last 1 transitions"},
		{"and the hook does not", time.Minute, false, 6 * time.Second, "its goroutine is left"},
		{"nor than the caller wants", time.Second, true, time.Second, "a hook was still being told"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				free := make(chan struct{})
				w := newWorld(t, func(cfg *core.Config) {
					cfg.Hooks.Transition = func(ctx context.Context, _ core.Transition) {
						if c.heeds {
							<-ctx.Done()
							return
						}
						<-free
					}
				})
				w.imported()
				if _, err := w.m.Revoke(t.Context(), w.sel(), "because"); err != nil {
					t.Error(err)
				}
				ctx, cancel := context.WithTimeout(context.Background(), c.within)
				defer cancel()
				began := time.Now()
				if err := w.m.Close(ctx); err == nil || !strings.Contains(err.Error(), c.says) || time.Since(began) != c.want {
					t.Errorf("after %s: %v", time.Since(began), err)
				}
				close(free) // the bubble ends when no goroutine is left
			})
		})
	}
}
