package core_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

// records returns what is in the store of a world, by key.
func (w *world) records() map[string]core.Record {
	w.t.Helper()
	all := map[string]core.Record{}
	unreadable, err := core.Snapshot(w.t.Context(), w.cfg.Store, func(r core.Record) error {
		all[r.Key] = r
		return nil
	})
	if err != nil || len(unreadable) > 0 {
		w.t.Fatalf("snapshot: %v, unreadable %v", err, unreadable)
	}
	return all
}

// goBack stops the Manager and starts one over a store that holds these records, with all else as it is.
func (w *world) goBack(records map[string]core.Record) {
	w.t.Helper()
	w.close()
	old := core.NewMemoryStore()
	for _, r := range records {
		r.Revision = 0
		if _, err := old.Put(w.t.Context(), r); err != nil {
			w.t.Fatal(err)
		}
	}
	w.cfg.Store, w.cfg.Timers = old, core.NewMemoryTimers()
	w.m = w.start()
	time.Sleep(2 * time.Second) // a write of the last second counts as a refresh that need not be repeated
}

// grant shows the account's grant.
func (w *world) grant() core.GrantInfo {
	w.t.Helper()
	info, err := w.m.Grant(w.t.Context(), w.sel())
	if err != nil {
		w.t.Fatalf("grant: %v", err)
	}
	return info
}

func rotates(yes bool) func(*core.Config) {
	return vendorIs(func(v *vendor) { v.meta.RotatesRefreshTokens = yes })
}

// A store that went back in time holds a refresh token that was spent since. It is presented once, when the access token
// is about to end, and where the vendor does not rotate that works.
func TestGrantWhoseRecordWentBackGetsOneMoreTry(t *testing.T) {
	for name, rotating := range map[string]bool{"rotating": true, "not rotating": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, lazy, rotates(rotating))
				defer func() { w.close() }()
				w.imported()
				time.Sleep(10 * time.Minute)
				old := w.records()
				if tok, err := w.m.Refresh(t.Context(), w.sel()); err != nil || tok.Generation != 2 {
					t.Fatalf("generation %d, %v", tok.Generation, err)
				}
				synctest.Wait()
				calls := w.vendor.refreshes()
				w.goBack(old)
				tok, err := w.m.Refresh(t.Context(), w.sel())
				if err != nil || tok.Generation != 3 || !slices.Contains(tok.Warnings, core.WarnOutcomeUnknown) {
					t.Fatalf("generation %d, warnings %v, %v; want 3 with outcome_unknown", tok.Generation, tok.Warnings, err)
				}
				if n := w.vendor.refreshes() - calls; n != 0 {
					t.Errorf("the vendor was called %d times while a live token was left", n)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if n := w.vendor.refreshes() - calls; n != 1 {
					t.Errorf("the vendor was called %d times, want once", n)
				}
				info, seen := w.grant(), w.events.types()
				switch {
				case rotating && (info.State != core.NeedsReauthorization || info.Reason != core.ReasonOutcomeUnknown || seen[len(seen)-1] != "grant.reauthorization_required outcome_unknown"):
					t.Errorf("the grant is %s (%s); events %v", info.State, info.Reason, seen)
				case !rotating && (info.State != core.Active || info.Generation != 4 || len(info.Warnings) != 0):
					t.Errorf("the grant is %s, generation %d, warnings %v", info.State, info.Generation, info.Warnings)
				}
			})
		})
	}
}

// What ended a token set was told; a record from before it does not bring the grant back.
func TestGrantWhoseRecordIsOlderThanItsEndIsNotUsed(t *testing.T) {
	for name, end := range map[string]func(*world) error{
		"revoked": func(w *world) error {
			_, err := w.m.Revoke(w.t.Context(), w.sel(), "left")
			return err
		},
		"refused": func(w *world) error {
			w.vendor.set(func(v *vendor) { clear(v.refresh) })
			_, err := w.m.Refresh(w.t.Context(), w.sel())
			if errors.Is(err, core.ReauthorizationRequired) {
				return nil
			}
			return errors.Join(errors.New("the vendor did not refuse"), err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, lazy, rotates(true))
				defer func() { w.close() }()
				w.imported()
				time.Sleep(10 * time.Minute)
				old := w.records()
				if err := end(w); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				want, calls := w.grant(), w.vendor.refreshes()
				told := len(w.events.types())
				w.goBack(old)
				if _, err := w.m.Refresh(t.Context(), w.sel()); !errors.Is(err, core.ReauthorizationRequired) {
					t.Errorf("the answer is %v, want reauthorization_required", err)
				}
				if got := w.grant(); got.State != want.State || got.Reason != want.Reason {
					t.Errorf("the grant is %s (%s), want %s (%s)", got.State, got.Reason, want.State, want.Reason)
				}
				if n := w.vendor.refreshes() - calls; n != 0 {
					t.Errorf("the refresh token was presented %d times", n)
				}
				if all := w.events.types(); len(all) != told {
					t.Errorf("told again: %v", all[told:])
				}
			})
		})
	}
}

// lookingPublisher counts the looks at the last event of any type.
type lookingPublisher struct {
	*core.MemoryPublisher
	mu    sync.Mutex
	looks int
	fails bool
}

func (p *lookingPublisher) Last(ctx context.Context, e core.Event) (core.Event, error) {
	if e.Type == "" {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.looks++
		if p.fails {
			return core.Event{}, errors.New("no answer")
		}
	}
	return p.MemoryPublisher.Last(ctx, e)
}

func (p *lookingPublisher) set(change func(*lookingPublisher)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func TestGrantIsComparedWithItsEventsOnceInAProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &lookingPublisher{MemoryPublisher: core.NewMemoryPublisher()}
		w := newWorld(t, func(c *core.Config) { c.Publisher = p })
		defer w.close()
		w.imported()
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		if g := w.token().Generation; g < 8 {
			t.Fatalf("generation %d after ten hours", g)
		}
		if p.looks != 1 {
			t.Errorf("%d looks at the last event, want one", p.looks)
		}
	})
}

// While it cannot be told whether the record is an old one, the refresh token is not presented.
func TestRefreshTokenIsNotPresentedBeforeTheLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &lookingPublisher{MemoryPublisher: core.NewMemoryPublisher(), fails: true}
		w := newWorld(t, func(c *core.Config) { c.Publisher = p })
		defer w.close()
		if _, err := w.m.Import(t.Context(), core.ImportRequest{Tenant: tenant, Client: main, Account: "alice@example.com",
			RefreshToken: w.vendor.seed("seed"), AccessToken: core.NewSecret("given"), ExpiresAt: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		calls := w.vendor.refreshes()
		time.Sleep(2 * time.Hour)
		if _, err := w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL); !errors.Is(err, core.TemporarilyUnavailable) {
			t.Errorf("the answer is %v, want temporarily_unavailable", err)
		}
		if n := w.vendor.refreshes() - calls; n != 0 {
			t.Errorf("the refresh token was presented %d times", n)
		}
		p.set(func(p *lookingPublisher) { p.fails = false })
		if tok := w.token(); tok.Generation != 2 {
			t.Errorf("generation %d, want 2", tok.Generation)
		}
	})
}
