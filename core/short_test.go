package core_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

func TestTokenThatIsAboutToEndIsNotAskedForOverAndOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.imported()
		time.Sleep(10 * time.Second)
		w.vendor.set(func(v *vendor) { v.lifetime = 500 * time.Millisecond })
		if _, err := w.m.Refresh(t.Context(), w.sel()); !errors.Is(err, core.TemporarilyUnavailable) {
			t.Fatalf("got %v", err)
		}
		before := w.vendor.refreshes()
		for range 20 {
			_, err := w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL)
			if e := core.AsError(err); e.Code != core.TemporarilyUnavailable || e.RetryAfter < time.Second {
				t.Fatalf("got %v, again after %s", err, e.RetryAfter)
			}
			time.Sleep(20 * time.Millisecond)
		}
		if n := w.vendor.refreshes() - before; n != 0 {
			t.Errorf("the vendor was asked %d times within its wait", n)
		}
		before = w.vendor.refreshes()
		time.Sleep(time.Hour)
		if n := w.vendor.refreshes() - before; n < 5 || n > 60 {
			t.Errorf("the vendor was asked %d times in an hour", n)
		}
		w.vendor.set(func(v *vendor) { v.lifetime = time.Hour })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		w.token()
		if info, err := w.m.Grant(t.Context(), w.sel()); err != nil || info.Attempts != 0 || w.vendor.presentedTwice() != 0 {
			t.Errorf("%+v, %v, %d presented twice", info, err, w.vendor.presentedTwice())
		}
	})
}

func TestSharedTokenInItsLastSecondIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.vendor.set(func(v *vendor) { v.lifetime = 900 * time.Millisecond })
		sel := core.Selector{Tenant: tenant, Client: robot}
		for range 5 {
			if _, err := w.m.Token(t.Context(), sel, core.DefaultMinTTL); !errors.Is(err, core.TemporarilyUnavailable) {
				t.Fatalf("got %v", err)
			}
		}
		w.vendor.set(func(v *vendor) { v.lifetime = time.Hour })
		time.Sleep(10 * time.Second)
		if tok, err := w.m.Token(t.Context(), sel, core.DefaultMinTTL); err != nil || tok.Generation != 2 {
			t.Errorf("generation %d, %v", tok.Generation, err)
		}
	})
}

func TestWaitThatTheVendorAsksForIsBoundedForCallersToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lazy)
		defer w.close()
		w.imported()
		time.Sleep(2 * time.Hour)
		w.vendor.set(func(v *vendor) {
			v.before = func(context.Context, core.TokenRequest) error {
				return &core.VendorError{Outcome: core.Refused, Code: core.CodeRateLimited, Status: 429, RetryAfter: 24 * time.Hour}
			}
		})
		_, err := w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL)
		if e := core.AsError(err); e.RetryAfter > time.Hour+time.Minute || e.RetryAfter < time.Hour-time.Minute {
			t.Errorf("again after %s, %v", e.RetryAfter, err)
		}
	})
}

func TestRefreshTokenThatDiedOfDisuseIsToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, overWeeks, lazy, vendorIs(func(v *vendor) { v.meta.RefreshIdleLifetime = 30 * time.Hour }))
		defer w.close()
		w.imported()
		w.vendor.set(func(v *vendor) {
			v.before = func(context.Context, core.TokenRequest) error {
				return &core.VendorError{Outcome: core.NotSent, Code: core.CodeNetwork}
			}
		})
		time.Sleep(31 * time.Hour)
		w.vendor.set(func(v *vendor) { v.before = nil; clear(v.refresh) })
		time.Sleep(time.Hour)
		synctest.Wait()
		info, err := w.m.Grant(t.Context(), w.sel())
		if err != nil || info.State != core.NeedsReauthorization || info.Reason != core.ReasonRefreshExpired {
			t.Errorf("%s, %s, %v", info.State, info.Reason, err)
		}
		if !slices.Contains(w.events.types(), "grant.reauthorization_required refresh_expired") {
			t.Error(w.events.types())
		}
	})
}
