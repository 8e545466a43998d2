package core_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

func TestImportedTokenIsAsOldAsTheVendorSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lazy)
		defer w.close()
		var issued time.Time
		w.vendor.set(func(v *vendor) {
			v.after = func(context.Context, core.TokenRequest) error {
				issued = time.Now()
				time.Sleep(9 * time.Second) // the answer is slow
				return nil
			}
		})
		w.imported()
		time.Sleep(time.Until(issued.Add(time.Hour + time.Second))) // it ended a second ago
		if tok, ok := w.m.CachedToken(t.Context(), w.sel(), 0); ok {
			t.Errorf("generation %d is handed out a second after it expired, with %s to live", tok.Generation, tok.ExpiresIn)
		}
	})
}

// slowAck is a store that acknowledges one claim late.
type slowAck struct {
	core.Store
	once sync.Once
}

func (s *slowAck) Put(ctx context.Context, r core.Record) (uint64, error) {
	rev, err := s.Store.Put(ctx, r)
	if strings.Contains(string(r.Public), `"attempt"`) {
		s.once.Do(func() { time.Sleep(time.Second) })
	}
	return rev, err
}

func TestOvertakenClaimDoesNotPresentTheTokenOfANewConsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := core.NewMemoryStore()
		w := newWorld(t, lazy, func(c *core.Config) { c.Store = &slowAck{Store: inner} })
		defer w.close()
		w.cfg.Store = inner
		other := w.another()
		w.imported()
		time.Sleep(5 * time.Second)
		var calls sync.WaitGroup
		calls.Go(func() { _, _ = w.m.Refresh(t.Context(), w.sel()) }) // claims; the ack takes a second
		time.Sleep(500 * time.Millisecond)
		if _, err := other.Import(t.Context(), core.ImportRequest{Tenant: tenant, Client: main, Account: "alice@example.com",
			RefreshToken: w.vendor.seed("seed2"), AccessToken: core.NewSecret("given"), ExpiresAt: time.Now().Add(time.Hour), Replace: true}); err != nil {
			t.Fatal(err)
		}
		w.vendor.set(func(v *vendor) { // each call takes two seconds
			v.before = func(context.Context, core.TokenRequest) error { time.Sleep(2 * time.Second); return nil }
		})
		time.Sleep(time.Second)
		_, _ = other.Refresh(t.Context(), w.sel())
		calls.Wait()
		if n := w.vendor.presentedTwice(); n != 0 {
			t.Errorf("the refresh token of the new consent was presented twice: %d", n)
		}
	})
}

func TestOvertakenClaimDoesNotCallTheVendorForARevokedGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lazy, func(c *core.Config) { c.Store = &slowAck{Store: c.Store} })
		defer w.close()
		w.imported()
		time.Sleep(5 * time.Second)
		var calls sync.WaitGroup
		calls.Go(func() { _, _ = w.m.Refresh(t.Context(), w.sel()) })
		time.Sleep(500 * time.Millisecond)
		before := w.vendor.refreshes()
		if _, err := w.m.Revoke(t.Context(), w.sel(), ""); err != nil {
			t.Fatal(err)
		}
		calls.Wait()
		if n := w.vendor.refreshes() - before; n != 0 {
			t.Errorf("%d calls with an empty refresh token", n)
		}
	})
}

// The import's refresh token was traded in before the owner's own consent came between.
func TestImportThatIsRefusedAtTheEndLeavesNoTokenBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.vendor.set(func(v *vendor) {
			v.after = func(_ context.Context, r core.TokenRequest) error {
				if r.GrantType != core.RefreshToken {
					return nil
				}
				a, err := w.m.Authorize(t.Context(), core.AuthorizeRequest{Tenant: tenant, Client: main, Account: "alice@example.com", RedirectURI: "https://svc.example/cb"})
				if err == nil {
					_, err = w.m.Exchange(t.Context(), core.ExchangeRequest{Tenant: tenant, Params: url.Values{"state": {a.State}, "code": {"c"}}})
				}
				return err
			}
		})
		_, err := w.m.Import(t.Context(), core.ImportRequest{Tenant: tenant, Client: main, Account: "alice@example.com", RefreshToken: w.vendor.seed("seed")})
		if !errors.Is(err, core.InvalidRequest) {
			t.Fatalf("got %v", err)
		}
		if w.token().Generation != 1 || w.vendor.revokes != 1 || len(w.vendor.refresh) != 1 {
			t.Errorf("generation %d, %d revocations, %d live refresh tokens; want 1 of each", w.token().Generation, w.vendor.revokes, len(w.vendor.refresh))
		}
	})
}

// lateStore is a store whose watch can be held.
type lateStore struct {
	core.Store
	held atomic.Pointer[chan struct{}]
}

func (s *lateStore) hold() (release func()) {
	c := make(chan struct{})
	s.held.Store(&c)
	return func() { close(c) }
}

func (s *lateStore) Watch(ctx context.Context, fn func(core.Update)) error {
	return s.Store.Watch(ctx, func(u core.Update) {
		if c := s.held.Load(); c != nil {
			<-*c
		}
		fn(u)
	})
}

// A replica has not heard yet that a grant which was revoked is active again. What it is asked to revoke must not be left
// active because it is thought to be revoked already.
func TestRevocationOfANewConsentThatWasNotHeardOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := core.NewMemoryStore()
		w := newWorld(t, lazy, func(c *core.Config) { c.Store = inner })
		defer w.close()
		late := &lateStore{Store: inner}
		w.cfg.Store = late
		other := w.another()
		w.imported()
		if _, err := w.m.Revoke(t.Context(), w.sel(), ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		release := late.hold()
		defer release()
		sel := w.sel()
		if _, err := w.m.Import(t.Context(), core.ImportRequest{
			Tenant: sel.Tenant, Client: sel.Client, Account: sel.Account, RefreshToken: core.NewSecret("another"),
			AccessToken: core.NewSecret("another access token"), ExpiresAt: time.Now().Add(time.Hour),
		}); err != nil {
			t.Fatal(err)
		}
		if info, err := other.Revoke(t.Context(), sel, ""); err != nil || info.State != core.Revoked {
			t.Errorf("the revocation: %v, %v", info.State, err)
		}
		synctest.Wait() // until the first hears of it
		if info, err := w.m.Grant(t.Context(), sel); err != nil || info.State != core.Revoked {
			t.Errorf("after a revocation that was answered: %v, %v", info.State, err)
		}
	})
}
