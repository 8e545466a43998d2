package core_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

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
