package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

// flakyReads is a flakyStore whose reads fail too.
type flakyReads struct {
	*flakyStore
	dark atomic.Bool
}

func (s *flakyReads) Get(ctx context.Context, key string) (core.Record, error) {
	if s.dark.Load() {
		return core.Record{}, errBroken
	}
	return s.flakyStore.Get(ctx, key)
}

func (s *flakyReads) Put(ctx context.Context, r core.Record) (uint64, error) {
	if s.dark.Load() {
		return 0, errBroken
	}
	return s.flakyStore.Put(ctx, r)
}

// A is stalled in its call, B settles A's claim and makes the last try with the old refresh token. A's token set
// comes and is committed; then the vendor refuses B.
func TestRefusedLastTryDoesNotEndAGrantThatALateTokenSetRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lazy)
		other := w.another()
		defer w.close()
		w.imported()
		time.Sleep(30 * time.Minute)
		holdA, holdB := make(chan struct{}), make(chan struct{})
		var calls atomic.Int32
		w.vendor.set(func(v *vendor) {
			v.after = func(context.Context, core.TokenRequest) error { <-holdA; return nil }
			v.before = func(context.Context, core.TokenRequest) error {
				if calls.Add(1) == 2 {
					<-holdB
				}
				return nil
			}
		})
		var wait sync.WaitGroup
		wait.Go(func() { _, _ = w.m.Refresh(t.Context(), w.sel()) })
		synctest.Wait()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		wait.Go(func() { _, _ = other.Report(t.Context(), w.sel(), 1) }) // the last try
		synctest.Wait()
		if calls.Load() != 2 {
			t.Fatalf("%d calls, want A's and B's", calls.Load())
		}
		close(holdA)
		synctest.Wait()
		if info, err := w.m.Grant(t.Context(), w.sel()); err != nil || info.Generation != 2 {
			t.Fatalf("A's late commit: %+v %v", info, err)
		}
		close(holdB)
		wait.Wait()
		synctest.Wait()
		info, err := w.m.Grant(t.Context(), w.sel())
		if err != nil || info.State != core.Active {
			t.Errorf("state %s (%s), %v; the stored refresh token is not the one that was refused", info.State, info.Reason, err)
		}
	})
}

// As above, but B dies in its last try: settling its claim must not touch the token set that came meanwhile.
func TestDeadLastTryDoesNotEndAGrantThatALateTokenSetRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lazy)
		other := w.another()
		defer w.close()
		w.imported()
		time.Sleep(30 * time.Minute)
		holdA, holdB := make(chan struct{}), make(chan struct{})
		var calls atomic.Int32
		w.vendor.set(func(v *vendor) {
			v.after = func(context.Context, core.TokenRequest) error { <-holdA; return nil }
			v.before = func(context.Context, core.TokenRequest) error {
				if calls.Add(1) == 2 {
					<-holdB
				}
				return nil
			}
		})
		var wait sync.WaitGroup
		wait.Go(func() { _, _ = w.m.Refresh(t.Context(), w.sel()) })
		synctest.Wait()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		wait.Go(func() { _, _ = other.Report(t.Context(), w.sel(), 1) })
		synctest.Wait()
		close(holdA)
		time.Sleep(40 * time.Second) // B hangs for longer than its claim
		synctest.Wait()
		info, err := w.m.Grant(t.Context(), w.sel())
		if err != nil || info.State != core.Active || slices.Contains(info.Warnings, core.WarnOutcomeUnknown) {
			t.Errorf("state %s (%s) warnings %v, %v; generation 2 was never presented", info.State, info.Reason, info.Warnings, err)
		}
		close(holdB)
		wait.Wait()
	})
}

// The commit of an import is written and its acknowledgement lost; the store stays away for longer than a commit
// waits. Another replica refreshes. The replay must not write the old refresh token over the rotated one.
func TestReplayedConsentWhoseAckWasLostDoesNotOverwriteARotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := core.NewMemoryStore()
		store := &flakyReads{flakyStore: &flakyStore{Store: inner}}
		w := newWorld(t, lazy, func(c *core.Config) { c.Store = store })
		defer func() { w.close() }()
		cfg := w.cfg
		cfg.Store, cfg.Spool, cfg.Owner = inner, core.NewMemorySpool(), func() string { return "other folder" }
		other, err := core.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = other.Close(context.Background()) }()
		synctest.Wait()
		// Writes, loses the ack, and is dark from then on.
		store.Store = goesDark{inner, store}
		_, err = w.m.Import(t.Context(), core.ImportRequest{Tenant: tenant, Client: main, Account: "alice@example.com",
			RefreshToken: w.vendor.seed("seed"), AccessToken: core.NewSecret("given"), ExpiresAt: time.Now().Add(time.Hour)})
		if err == nil {
			t.Fatal("the import was answered without a commit")
		}
		w.close()
		time.Sleep(2 * time.Second)
		if tok, err := other.Refresh(t.Context(), w.sel()); err != nil || tok.Generation != 2 {
			t.Fatalf("the other replica: %d %v", tok.Generation, err)
		}
		store.Store = inner
		store.dark.Store(false)
		w.m = w.start()
		time.Sleep(time.Minute)
		tok, err := other.Refresh(t.Context(), w.sel())
		if n := w.vendor.presentedTwice(); err != nil || n != 0 {
			t.Errorf("generation %d, %v, %d spent refresh tokens presented; want 0", tok.Generation, err, n)
		}
	})
}

// goesDark writes once, and then its owner is dark.
type goesDark struct {
	core.Store
	owner *flakyReads
}

func (s goesDark) Put(ctx context.Context, r core.Record) (uint64, error) {
	_, _ = s.Store.Put(ctx, r)
	s.owner.dark.Store(true)
	return 0, errBroken
}

// The outcome of an exchange waits in the spool of a replica that is down; meanwhile the person connects again and the
// grant is revoked. The replay must not revive it.
func TestReplayedConsentDoesNotReviveARevokedGrant(t *testing.T) {
	for name, forget := range map[string]bool{"revoked": false, "forgotten": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := core.NewMemoryStore()
				store := &flakyStore{Store: inner}
				w := newWorld(t, func(c *core.Config) { c.Store = store })
				visit := w.visit(w.authorize().ConnectURL)
				w.vendor.set(func(v *vendor) {
					v.after = func(context.Context, core.TokenRequest) error {
						store.set(func(s *flakyStore) { s.broken = true })
						return nil
					}
				})
				answer := core.CallbackAnswer{Client: main, Cookie: visit.Cookie, Params: answerTo(t, visit.RedirectURL, "code")}
				if r, err := w.m.Callback(t.Context(), answer); err != nil || r.Status == "connected" {
					t.Fatalf("%+v %v", r, err)
				}
				w.close()
				store.set(func(s *flakyStore) { s.broken = false })
				w.vendor.set(func(v *vendor) { v.after = nil })
				first := w.cfg.Spool
				w.cfg.Spool = core.NewMemorySpool()
				w.m = w.start()
				w.imported()
				end := w.m.Forget
				if !forget {
					end = func(ctx context.Context, s core.Selector) (core.GrantInfo, error) { return w.m.Revoke(ctx, s, "") }
				}
				if _, err := end(t.Context(), w.sel()); err != nil {
					t.Fatal(err)
				}
				w.close()
				w.cfg.Spool = first
				w.m = w.start()
				defer w.close()
				time.Sleep(time.Minute)
				tok, err := w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL)
				if err == nil {
					t.Errorf("forget=%v: a token of generation %d of a grant that was ended", forget, tok.Generation)
				}
			})
		})
	}
}

func TestForgetDuringTheExchangeIsNotUndoneByIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		visit := w.visit(w.authorize().ConnectURL)
		hold := make(chan struct{})
		w.vendor.set(func(v *vendor) { v.after = func(context.Context, core.TokenRequest) error { <-hold; return nil } })
		var wait sync.WaitGroup
		wait.Go(func() {
			_, _ = w.m.Callback(t.Context(), core.CallbackAnswer{Client: main, Cookie: visit.Cookie, Params: answerTo(t, visit.RedirectURL, "code")})
		})
		synctest.Wait()
		if _, err := w.m.Forget(t.Context(), w.sel()); err != nil {
			t.Fatal(err)
		}
		close(hold)
		wait.Wait()
		synctest.Wait()
		if info, err := w.m.Grant(t.Context(), w.sel()); err == nil {
			t.Errorf("state %s after forget: a commit never revives", info.State)
		}
		w.vendor.set(func(v *vendor) {
			if len(v.refresh) != 0 {
				t.Errorf("%d refresh tokens live on at the vendor", len(v.refresh))
			}
		})
	})
}

func TestLateTokenSetOfAForgottenGrantIsEndedAtTheVendor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.imported()
		time.Sleep(5 * time.Second)
		hold := make(chan struct{})
		w.vendor.set(func(v *vendor) { v.after = func(context.Context, core.TokenRequest) error { <-hold; return nil } })
		var wait sync.WaitGroup
		wait.Go(func() { _, _ = w.m.Refresh(t.Context(), w.sel()) })
		synctest.Wait()
		if _, err := w.m.Forget(t.Context(), w.sel()); err != nil {
			t.Fatal(err)
		}
		close(hold)
		wait.Wait()
		synctest.Wait()
		w.vendor.set(func(v *vendor) {
			if len(v.refresh) != 0 {
				t.Errorf("%d refresh tokens of a forgotten grant live on at the vendor", len(v.refresh))
			}
		})
	})
}

func TestConcurrentAndRepeatedImportsPresentTheRefreshTokenOnce(t *testing.T) {
	req := func(w *world, s core.Secret) core.ImportRequest {
		return core.ImportRequest{Tenant: tenant, Client: main, Account: "alice@example.com", RefreshToken: s, Replace: true}
	}
	t.Run("at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			defer w.close()
			seed := w.vendor.seed("seed")
			w.vendor.set(func(v *vendor) {
				v.before = func(context.Context, core.TokenRequest) error { time.Sleep(time.Second); return nil }
			})
			var wait sync.WaitGroup
			for range 2 {
				wait.Go(func() {
					if _, err := w.m.Import(t.Context(), req(w, seed)); err != nil {
						t.Errorf("import: %v", err)
					}
				})
			}
			wait.Wait()
			if n := w.vendor.presentedTwice(); n != 0 {
				t.Errorf("%d second presentations", n)
			}
		})
	})
	t.Run("at two replicas", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			other := *w
			other.cfg.Owner = func() string { return "another folder" }
			other.m = other.start()
			defer w.close()
			defer other.close()
			seed := w.vendor.seed("seed")
			w.vendor.set(func(v *vendor) {
				v.before = func(context.Context, core.TokenRequest) error { time.Sleep(3 * time.Second); return nil }
			})
			var wait sync.WaitGroup
			for _, m := range []*core.Manager{w.m, other.m} {
				wait.Go(func() {
					if info, err := m.Import(t.Context(), req(w, seed)); err != nil || info.Generation != 1 {
						t.Errorf("generation %d, %v", info.Generation, err)
					}
				})
			}
			wait.Wait()
			if n := w.vendor.presentedTwice(); n != 0 {
				t.Errorf("%d second presentations", n)
			}
		})
	})
	t.Run("after one whose replica is gone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			defer w.close()
			claim := core.Record{Key: "import." + core.GrantID(tenant, main, "alice@example.com"), Public: []byte("{}")}
			if _, err := w.cfg.Store.Put(t.Context(), claim); err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			if _, err := w.m.Import(t.Context(), req(w, w.vendor.seed("seed"))); err != nil {
				t.Errorf("import: %v", err)
			}
			if took := time.Since(begun); took < 15*time.Second || took > 17*time.Second {
				t.Errorf("the dead claim was waited for %s", took)
			}
			if _, err := w.cfg.Store.Get(t.Context(), claim.Key); !errors.Is(err, core.ErrNoRecord) {
				t.Errorf("the claim stays: %v", err)
			}
		})
	})
	t.Run("one after the other", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			defer w.close()
			seed := w.vendor.seed("seed")
			for range 2 { // the caller did not get the first answer
				if info, err := w.m.Import(t.Context(), req(w, seed)); err != nil || info.Generation != 1 {
					t.Errorf("generation %d, %v; the same refresh token is a no-op", info.Generation, err)
				}
			}
			if n := w.vendor.presentedTwice(); n != 0 {
				t.Errorf("%d second presentations", n)
			}
		})
	})
}

// The vendor declares that it does not rotate and does; the import is the first answer that shows it.
func TestImportThatRotatesMakesTheClientRotating(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lazy, vendorIs(func(v *vendor) { v.meta.RotatesRefreshTokens = false }))
		defer w.close()
		if _, err := w.m.Token(t.Context(), core.Selector{Tenant: tenant, Client: robot}, core.DefaultMinTTL); err != nil {
			t.Fatal(err) // the metadata is known from here on
		}
		w.vendor.set(func(v *vendor) { v.meta.RotatesRefreshTokens = true })
		w.imported()
		time.Sleep(5 * time.Second)
		w.vendor.set(func(v *vendor) {
			v.after = func(context.Context, core.TokenRequest) error {
				return &core.VendorError{Outcome: core.Unknown, Code: core.CodeTimeout}
			}
		})
		_, _ = w.m.Refresh(t.Context(), w.sel())
		w.vendor.set(func(v *vendor) { v.after = nil })
		time.Sleep(time.Minute)
		_, _ = w.m.Refresh(t.Context(), w.sel())
		if n := w.vendor.presentedTwice(); n != 0 {
			t.Errorf("%d second presentations while the token lives", n)
		}
	})
}

// The claim of the last try is written and its acknowledgement lost: the vendor is not called, and the grant lives.
func TestLostAckOfAClaimIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &flakyStore{Store: lagging{core.NewMemoryStore(), 100 * time.Millisecond}}
		w := newWorld(t, lazy, func(c *core.Config) { c.Store = store })
		defer w.close()
		w.imported()
		time.Sleep(5 * time.Second)
		calls := w.vendor.refreshes()
		store.set(func(s *flakyStore) { s.lostAck = true })
		_, _ = w.m.Refresh(t.Context(), w.sel())
		time.Sleep(time.Minute)
		synctest.Wait()
		tok := w.token()
		if n := w.vendor.refreshes() - calls; n != 0 {
			t.Fatalf("%d calls without an acknowledged claim", n)
		}
		if slices.Contains(tok.Warnings, core.WarnOutcomeUnknown) {
			t.Errorf("warnings %v although the vendor was not called", tok.Warnings)
		}
	})
}

// lagging is a store whose watch tells everything late, idle words and records alike.
type lagging struct {
	core.Store
	by time.Duration
}

func (s lagging) Watch(ctx context.Context, fn func(core.Update)) error {
	type late struct {
		at time.Time
		u  core.Update
	}
	queue := make(chan late, 10000)
	var wait sync.WaitGroup
	defer wait.Wait()
	defer close(queue)
	wait.Go(func() {
		for l := range queue {
			time.Sleep(time.Until(l.at))
			if ctx.Err() == nil {
				fn(l.u)
			}
		}
	})
	return s.Store.Watch(ctx, func(u core.Update) { queue <- late{time.Now().Add(s.by), u} })
}

// A backlog is delivered without a pause, each record ten seconds late: only a word that says "this was all" makes the
// cache fresh.
func TestBacklogOfTheWatchDoesNotCountAsFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := core.NewMemoryStore()
		store := &backlog{MemoryStore: inner}
		w := newWorld(t, lazy)
		w.close()
		w.cfg.Store = inner
		w.m = w.start()
		defer w.close()
		cfg := w.cfg
		cfg.Store, cfg.Spool, cfg.Owner = store, core.NewMemorySpool(), func() string { return "other folder" }
		late, err := core.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := late.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = late.Close(context.Background()) }()
		w.imported()
		time.Sleep(5 * time.Second)
		if _, ok := late.CachedToken(w.sel(), 0); !ok {
			t.Fatal("not in the cache")
		}
		store.late.Store(true)
		stop := make(chan struct{})
		var wait sync.WaitGroup
		wait.Go(func() { // other records are written all the time
			rev := uint64(0)
			for {
				select {
				case <-stop:
					return
				case <-time.After(200 * time.Millisecond):
				}
				rev, _ = inner.Put(context.Background(), core.Record{Key: "other.x", Public: []byte("{}"), Revision: rev})
			}
		})
		time.Sleep(15 * time.Second)
		if _, err := w.m.Revoke(t.Context(), w.sel(), ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if _, ok := late.CachedToken(w.sel(), 0); ok {
			t.Error("a revoked token is served three seconds after the revocation")
		}
		close(stop)
		wait.Wait()
	})
}

// backlog is a store whose watch, once late, tells records ten seconds late and has no idle word.
type backlog struct {
	*core.MemoryStore
	late atomic.Bool
}

func (s *backlog) Watch(ctx context.Context, fn func(core.Update)) error {
	var mu sync.Mutex
	var wait sync.WaitGroup
	defer wait.Wait()
	return s.MemoryStore.Watch(ctx, func(u core.Update) {
		if !s.late.Load() {
			mu.Lock()
			defer mu.Unlock()
			fn(u)
			return
		}
		if u.Record.Key == "" {
			return // the leader is ahead: there is no such word
		}
		u.Live = false
		wait.Go(func() {
			select {
			case <-time.After(10 * time.Second):
			case <-ctx.Done():
				return
			}
			mu.Lock()
			defer mu.Unlock()
			fn(u)
		})
		// What was written before goes on arriving without a pause.
		mu.Lock()
		defer mu.Unlock()
		fn(core.Update{Record: core.Record{Key: "other.y", Revision: 1}})
	})
}

// A record that cannot be read any more is not served from memory as it was before.
func TestUnreadableRecordIsNotServedFromTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		info := w.imported()
		synctest.Wait()
		rec, err := w.cfg.Store.Get(t.Context(), "grant."+info.Grant)
		if err != nil {
			t.Fatal(err)
		}
		var newer map[string]any
		if err := json.Unmarshal(rec.Public, &newer); err != nil {
			t.Fatal(err)
		}
		newer["format"], newer["state"] = 2, "revoked" // a newer replica wrote it
		rec.Public, _ = json.Marshal(newer)
		if _, err := w.cfg.Store.Put(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if tok, err := w.m.Token(t.Context(), w.sel(), 0); err == nil {
			t.Errorf("generation %d is served after the record was changed", tok.Generation)
		}
	})
}

// After a crash with an outcome in the spool and a store that cannot be written at the start, the refresh token that
// was rotated away is not presented: the new one is here.
func TestSpooledRotationIsCommittedBeforeItsClaimIsSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &flakyStore{Store: core.NewMemoryStore()}
		spool := &countedSpool{Spool: core.NewMemorySpool()}
		w := newWorld(t, lazy, func(c *core.Config) { c.Store, c.Spool = store, spool })
		w.imported()
		time.Sleep(2 * time.Hour)
		w.vendor.set(func(v *vendor) {
			v.after = func(context.Context, core.TokenRequest) error {
				store.set(func(s *flakyStore) { s.broken = true })
				return nil
			}
		})
		_, _ = w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL)
		w.close()
		w.vendor.set(func(v *vendor) { v.after = nil })
		w.m = w.start() // the replay at the start fails
		defer w.close()
		for n := spool.reads.Load(); spool.reads.Load() < n+6; {
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(2500 * time.Millisecond) // that replay failed too, and the next is seconds away
		store.set(func(s *flakyStore) { s.broken = false })
		time.Sleep(time.Minute)
		tok, err := w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL)
		if n := w.vendor.presentedTwice(); n != 0 {
			t.Errorf("the spent refresh token was presented %d times although its successor is in the spool (generation %d, %v)", n, tok.Generation, err)
		}
	})
}

type countedSpool struct {
	core.Spool
	reads atomic.Int32
}

func (s *countedSpool) All() ([]core.Record, error) {
	s.reads.Add(1)
	return s.Spool.All()
}

func TestDamagedFingerprintKeyDoesNotStopTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.imported()
		w.close()
		w.cfg.Store = damaged{w.cfg.Store}
		m, err := core.New(w.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Start(t.Context()); err != nil {
			t.Fatalf("start: %v", err)
		}
		_ = m.Close(context.Background())
	})
}

type damaged struct{ core.Store }

func (s damaged) Get(ctx context.Context, key string) (core.Record, error) {
	if key == "key.fingerprint" {
		return core.Record{}, core.ErrDamaged
	}
	return s.Store.Get(ctx, key)
}
