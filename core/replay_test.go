package core_test

import (
	"context"
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
