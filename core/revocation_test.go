package core_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

// nthPut fails every write from the nth on, while it is armed.
type nthPut struct {
	core.Store
	left atomic.Int32 // writes that still succeed; negative: all do
}

func (s *nthPut) Put(ctx context.Context, r core.Record) (uint64, error) {
	if n := s.left.Load(); n == 0 {
		return 0, errBroken
	} else if n > 0 && strings.HasPrefix(r.Key, "grant.") {
		s.left.Add(-1)
	}
	return s.Store.Put(ctx, r)
}

func newNthPut() *nthPut {
	s := &nthPut{Store: core.NewMemoryStore()}
	s.left.Store(-1)
	return s
}

func TestForgetIsFinishedAfterACrashBeforeTheTombstone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newNthPut()
		w := newWorld(t, func(c *core.Config) { c.Store = store })
		w.imported()
		store.left.Store(2) // revoked, and settled with the vendor
		if _, err := w.m.Forget(t.Context(), w.sel()); err == nil {
			t.Fatal("forgotten without a tombstone")
		}
		w.close()
		store.left.Store(-1)
		w.m = w.start()
		defer w.close()
		time.Sleep(24 * time.Hour)
		if info, err := w.m.Grant(t.Context(), w.sel()); !errors.Is(err, core.NotFound) {
			t.Errorf("a day after the restart: %s of %s, %v; want not_found", info.State, info.Account, err)
		}
	})
}

func TestRevocationThatANewConsentOvertakesIsToldAllTheSame(t *testing.T) {
	for name, comesBack := range map[string]time.Duration{"the vendor is back": 0, "the vendor comes back later": time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.close()
				w.imported()
				w.vendor.set(func(v *vendor) {
					v.onRevoke = func() error { return &core.VendorError{Outcome: core.Unknown, Code: core.CodeTimeout} }
				})
				if _, err := w.m.Revoke(t.Context(), w.sel(), "leaked"); err != nil {
					t.Fatal(err)
				}
				if comesBack == 0 {
					w.vendor.set(func(v *vendor) { v.onRevoke = nil })
				}
				if _, err := w.m.Import(t.Context(), core.ImportRequest{Tenant: tenant, Client: main, Account: "alice@example.com", RefreshToken: w.vendor.seed("again")}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(comesBack)
				w.vendor.set(func(v *vendor) { v.onRevoke = nil })
				time.Sleep(20 * time.Minute)
				if got := w.events.types(); !slices.Contains(got, "token.revoked leaked") {
					t.Errorf("events %v: token.revoked is never told", got)
				}
				w.vendor.set(func(v *vendor) {
					if len(v.refresh) != 1 {
						t.Errorf("%d refresh tokens live at the vendor, want the new consent's alone", len(v.refresh))
					}
				})
			})
		})
	}
}

// The revocation of a client_credentials grant stops half way; the next ask issues. The revocation is still told, and
// the grant is refreshed ahead.
func TestClientCredentialsAskedAfterHalfARevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newNthPut()
		w := newWorld(t, func(c *core.Config) { c.Store = store })
		defer w.close()
		sel := core.Selector{Tenant: tenant, Client: robot}
		if _, err := w.m.Token(t.Context(), sel, core.DefaultMinTTL); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		store.left.Store(1)
		_, _ = w.m.Revoke(t.Context(), sel, "half")
		store.left.Store(-1)
		if _, err := w.m.Token(t.Context(), sel, core.DefaultMinTTL); err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Minute)
		tok, err := w.m.Token(t.Context(), sel, 0)
		if err != nil || tok.Generation != 3 {
			t.Errorf("generation %d, %v; want 3: refreshed ahead", tok.Generation, err)
		}
		if got := w.events.types(); !slices.Contains(got, "token.revoked half") {
			t.Errorf("events %v: token.revoked is never told", got)
		}
	})
}

func TestForgottenClientCredentialsGrantIssuesAtTheNextAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		sel := core.Selector{Tenant: tenant, Client: robot}
		if _, err := w.m.Token(t.Context(), sel, core.DefaultMinTTL); err != nil {
			t.Fatal(err)
		}
		if _, err := w.m.Forget(t.Context(), sel); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if tok, err := w.m.Token(t.Context(), sel, core.DefaultMinTTL); err != nil || tok.Generation != 2 {
			t.Errorf("generation %d, %v; want 2", tok.Generation, err)
		}
	})
}

func TestRevokeAnswersTheSameAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.imported()
		for range 2 {
			info, err := w.m.Revoke(t.Context(), w.sel(), "")
			if err != nil || !*info.VendorRevoked {
				t.Errorf("vendor_revoked %v, %v; want true both times", *info.VendorRevoked, err)
			}
		}
	})
}
