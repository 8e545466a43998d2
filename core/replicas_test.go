package core_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
)

// another starts another replica over the same store, timers, publisher and vendor, with a data folder of its own.
func (w *world) another() *core.Manager {
	w.t.Helper()
	w.replicas++
	folder := fmt.Sprint("other folder ", w.replicas)
	cfg := w.cfg
	cfg.Owner = func() string { return folder }
	cfg.Spool = core.NewMemorySpool()
	m, err := core.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := m.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			w.t.Error(err)
		}
	})
	return m
}

func TestReplicasRefreshAnExpiredTokenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lazy)
		other := w.another()
		defer w.close()
		w.imported()
		time.Sleep(2 * time.Hour)
		w.vendor.set(func(v *vendor) {
			v.before = func(context.Context, core.TokenRequest) error { time.Sleep(3 * time.Second); return nil }
		})
		before := w.vendor.refreshes()
		var callers sync.WaitGroup
		for i := range 40 {
			m := w.m
			if i%2 == 0 {
				m = other
			}
			callers.Go(func() {
				if tok, err := m.Token(t.Context(), w.sel(), core.DefaultMinTTL); err != nil || tok.Generation != 2 {
					t.Errorf("generation %d, %v", tok.Generation, err)
				}
			})
		}
		callers.Wait()
		if n := w.vendor.refreshes() - before; n != 1 || w.vendor.presentedTwice() != 0 {
			t.Errorf("%d refreshes and %d second presentations, want 1 and 0", n, w.vendor.presentedTwice())
		}
	})
}

// The call of the stalled replica takes longer than its claim: the vendor acted, and the answer is held back.
func TestClaimOfAStalledReplicaIsSettledAndItsTokenSetIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lazy)
		other := w.another()
		defer w.close()
		w.imported()
		time.Sleep(30 * time.Minute)
		stalled := make(chan struct{})
		w.vendor.set(func(v *vendor) {
			v.after = func(context.Context, core.TokenRequest) error { <-stalled; return nil }
		})
		var calls sync.WaitGroup
		calls.Go(func() {
			if tok, err := w.m.Refresh(t.Context(), w.sel()); err != nil || tok.Generation != 2 {
				t.Errorf("the stalled replica: generation %d, %v", tok.Generation, err)
			}
		})
		synctest.Wait()
		time.Sleep(20 * time.Second) // longer than the claim: the timer at its end finds it dead
		synctest.Wait()
		tok, err := other.Token(t.Context(), w.sel(), core.DefaultMinTTL)
		if err != nil || tok.Generation != 1 || !slices.Contains(tok.Warnings, core.WarnOutcomeUnknown) {
			t.Errorf("the other replica: generation %d, warnings %v, %v; want the live token with outcome_unknown", tok.Generation, tok.Warnings, err)
		}
		close(stalled)
		calls.Wait()
		synctest.Wait()
		tok, err = other.Token(t.Context(), w.sel(), core.DefaultMinTTL)
		if err != nil || tok.Generation != 2 || len(tok.Warnings) != 0 {
			t.Errorf("after the late commit: generation %d, warnings %v, %v; want 2 and none", tok.Generation, tok.Warnings, err)
		}
		if w.vendor.presentedTwice() != 0 {
			t.Error("a rotated refresh token was presented again")
		}
		if got := w.events.types(); !slices.Contains(got, "token.issued recovered") {
			t.Errorf("events %v, want token.issued recovered", got)
		}
	})
}

func TestLateTokenSetOfARevokedGrantIsEndedAtTheVendor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.imported()
		time.Sleep(5 * time.Second)
		hold := make(chan struct{})
		w.vendor.set(func(v *vendor) {
			v.after = func(context.Context, core.TokenRequest) error { <-hold; return nil }
		})
		var calls sync.WaitGroup
		calls.Go(func() {
			if _, err := w.m.Refresh(t.Context(), w.sel()); !errors.Is(err, core.ReauthorizationRequired) {
				t.Errorf("the refresh that lost to the revocation: %v", err)
			}
		})
		synctest.Wait()
		if _, err := w.m.Revoke(t.Context(), w.sel(), "race"); err != nil {
			t.Fatal(err)
		}
		close(hold)
		calls.Wait()
		synctest.Wait()
		w.vendor.set(func(v *vendor) {
			if len(v.refresh) != 0 {
				t.Errorf("%d refresh tokens live on at the vendor after the revocation", len(v.refresh))
			}
		})
		info, err := w.m.Grant(t.Context(), w.sel())
		if err != nil || info.State != core.Revoked {
			t.Errorf("state %s, %v; a commit never re-activates a revoked grant", info.State, err)
		}
	})
}

// flakyStore fails writes while broken is set.
type flakyStore struct {
	core.Store
	mu     sync.Mutex
	broken bool
	// lostAck makes the next write happen and its answer be lost.
	lostAck bool
}

var errBroken = errors.New("the store does not answer")

func (s *flakyStore) Put(ctx context.Context, r core.Record) (uint64, error) {
	s.mu.Lock()
	broken, lost := s.broken, s.lostAck
	s.lostAck = false
	s.mu.Unlock()
	if broken {
		return 0, errBroken
	}
	rev, err := s.Store.Put(ctx, r)
	if lost && err == nil {
		return 0, errBroken
	}
	return rev, err
}

func (s *flakyStore) set(change func(*flakyStore)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func TestTokenSetThatCannotBeCommittedSurvivesInTheSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &flakyStore{Store: core.NewMemoryStore()}
		w := newWorld(t, func(c *core.Config) { c.Store = store })
		w.imported()
		time.Sleep(5 * time.Second)
		w.vendor.set(func(v *vendor) {
			v.after = func(context.Context, core.TokenRequest) error {
				store.set(func(s *flakyStore) { s.broken = true })
				return nil
			}
		})
		if tok, err := w.m.Refresh(t.Context(), w.sel()); err != nil || tok.Generation != 1 || len(tok.Warnings) == 0 {
			t.Errorf("generation %d, warnings %v, %v; nobody gets the new token before its commit", tok.Generation, tok.Warnings, err)
		}
		w.close()
		kept, err := w.cfg.Spool.All()
		if err != nil || len(kept) != 1 {
			t.Fatalf("%d outcomes in the spool, %v; want 1", len(kept), err)
		}
		store.set(func(s *flakyStore) { s.broken = false })
		w.vendor.set(func(v *vendor) { v.after = nil })
		w.m = w.start()
		defer w.close()
		if tok := w.token(); tok.Generation != 2 {
			t.Errorf("generation %d after the restart, want 2", tok.Generation)
		}
		if w.vendor.presentedTwice() != 0 {
			t.Error("a rotated refresh token was presented again")
		}
	})
}

func TestLostAcknowledgementOfTheCommitIsNotACommitTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &flakyStore{Store: core.NewMemoryStore()}
		w := newWorld(t, func(c *core.Config) { c.Store = store })
		defer w.close()
		w.imported()
		time.Sleep(5 * time.Second)
		w.vendor.set(func(v *vendor) {
			v.after = func(context.Context, core.TokenRequest) error {
				store.set(func(s *flakyStore) { s.lostAck = true })
				return nil
			}
		})
		tok, err := w.m.Refresh(t.Context(), w.sel())
		if err != nil || tok.Generation != 2 {
			t.Errorf("generation %d, %v; want 2", tok.Generation, err)
		}
		synctest.Wait()
		want := []string{"token.issued imported", "token.issued refreshed"}
		if diff := cmp.Diff(want, w.events.types()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestVendorIsNotCalledWhileTheStoreCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &flakyStore{Store: core.NewMemoryStore()}
		w := newWorld(t, func(c *core.Config) { c.Store = store })
		defer w.close()
		w.imported()
		before := w.vendor.refreshes()
		store.set(func(s *flakyStore) { s.broken = true })
		time.Sleep(5 * time.Second)
		if _, err := w.m.Report(t.Context(), w.sel(), 1); !errors.Is(err, core.TemporarilyUnavailable) {
			t.Errorf("got %v, want temporarily_unavailable", err)
		}
		if n := w.vendor.refreshes() - before; n != 0 {
			t.Errorf("%d calls to the vendor without a claim", n)
		}
		store.set(func(s *flakyStore) { s.broken = false })
		time.Sleep(time.Minute)
		if tok, err := w.m.Report(t.Context(), w.sel(), 1); err != nil || tok.Generation != 2 {
			t.Errorf("after the store is back: generation %d, %v", tok.Generation, err)
		}
	})
}

// crashInCall leaves a claim in the store whose owner is gone: its process died in the call.
func (w *world) crashInCall(acted bool) {
	w.t.Helper()
	started, hang := make(chan struct{}), make(chan struct{})
	stop := func(context.Context, core.TokenRequest) error {
		close(started)
		<-hang
		return errors.New("nobody hears this")
	}
	w.vendor.set(func(v *vendor) {
		if acted {
			v.after = stop
		} else {
			v.before = stop
		}
	})
	go func() { _, _ = w.m.Refresh(w.t.Context(), w.sel()) }()
	<-started
	// What the dead process knew is frozen: a copy of its store is what the next one finds.
	w.cfg.Store = copyStore(w.t, w.cfg.Store)
	w.cfg.Timers = core.NewMemoryTimers()
	w.vendor.set(func(v *vendor) { v.before, v.after = nil, nil })
	close(hang)
	w.close()
}

// copyStore returns a store that holds what s holds now.
func copyStore(t *testing.T, s core.Store) core.Store {
	t.Helper()
	fresh := core.NewMemoryStore()
	ctx, cancel := context.WithCancel(context.Background())
	_ = s.Watch(ctx, func(u core.Update) {
		if u.Synced {
			cancel()
		}
		if u.Record.Key == "" || ctx.Err() != nil {
			return
		}
		r := u.Record
		r.Revision = 0
		if _, err := fresh.Put(context.Background(), r); err != nil {
			t.Error(err)
		}
	})
	return fresh
}

func TestRestartAfterACrashInTheCall(t *testing.T) {
	for _, c := range []struct {
		name            string
		rotates, acted  bool
		warning         bool // while the token lives
		tokenAtTheEnd   bool
		secondPresented int
	}{
		{"rotating, the vendor had not acted", true, false, true, true, 0},
		{"rotating, the vendor had acted", true, true, true, false, 1},
		{"not rotating, the vendor had not acted", false, false, false, true, 0},
		{"not rotating, the vendor had acted", false, true, false, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, lazy, vendorIs(func(v *vendor) { v.meta.RotatesRefreshTokens = c.rotates }))
				w.imported()
				time.Sleep(10 * time.Minute)
				w.crashInCall(c.acted)
				w.m = w.start()
				defer w.close()
				time.Sleep(time.Second) // the claim of the dead process is settled at the start, by its timer
				synctest.Wait()
				tok := w.token()
				if tok.Generation != 1 || slices.Contains(tok.Warnings, core.WarnOutcomeUnknown) != c.warning {
					t.Errorf("after the restart: generation %d, warnings %v", tok.Generation, tok.Warnings)
				}
				time.Sleep(55 * time.Minute)
				synctest.Wait()
				_, err := w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL)
				if (err == nil) != c.tokenAtTheEnd {
					t.Errorf("at the end: %v", err)
				}
				if n := w.vendor.presentedTwice(); n != c.secondPresented {
					t.Errorf("%d second presentations, want %d", n, c.secondPresented)
				}
				if !c.tokenAtTheEnd && !slices.Contains(w.events.types(), "grant.reauthorization_required outcome_unknown") {
					t.Errorf("events %v: a grant ended in silence", w.events.types())
				}
			})
		})
	}
}

// fullDisk is a spool that takes nothing.
type fullDisk struct{ core.Spool }

func (fullDisk) Put(core.Record) error { return errors.New("no space left on device") }

func TestTokenSetThatNeitherStoreNorSpoolTakesIsKeptWhileTheProcessLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &flakyStore{Store: core.NewMemoryStore()}
		w := newWorld(t, func(c *core.Config) { c.Store, c.Spool = store, fullDisk{core.NewMemorySpool()} })
		defer w.close()
		w.imported()
		time.Sleep(5 * time.Second)
		w.vendor.set(func(v *vendor) {
			v.after = func(context.Context, core.TokenRequest) error {
				store.set(func(s *flakyStore) { s.broken = true })
				return nil
			}
		})
		if tok, err := w.m.Refresh(t.Context(), w.sel()); err != nil || tok.Generation != 1 {
			t.Errorf("generation %d, %v", tok.Generation, err)
		}
		time.Sleep(5 * time.Minute)
		store.set(func(s *flakyStore) { s.broken = false })
		w.vendor.set(func(v *vendor) { v.after = nil })
		time.Sleep(time.Minute)
		if tok := w.token(); tok.Generation != 2 || w.vendor.presentedTwice() != 0 {
			t.Errorf("generation %d, %d second presentations; want 2 and none", tok.Generation, w.vendor.presentedTwice())
		}
	})
}
