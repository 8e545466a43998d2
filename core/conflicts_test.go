package core_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

// laterSpool gives back what it keeps as if it had been sent later than now: the machine's clock was set back.
type laterSpool struct{ core.Spool }

func (s laterSpool) All() ([]core.Record, error) {
	rs, err := s.Spool.All()
	for i := range rs {
		var m map[string]any
		if jerr := json.Unmarshal(rs[i].Public, &m); jerr != nil {
			return nil, jerr
		}
		m["sent"] = time.Now().Add(10 * time.Hour)
		rs[i].Public, _ = json.Marshal(m)
	}
	return rs, err
}

func TestReplayedTokenIsNotYoungerThanNewWhateverTheMachinesClockSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &flakyStore{Store: core.NewMemoryStore()}
		w := newWorld(t, func(c *core.Config) { c.Store = store; c.Spool = laterSpool{c.Spool} })
		defer w.close()
		w.imported()
		time.Sleep(5 * time.Second)
		w.vendor.set(func(v *vendor) {
			v.after = func(context.Context, core.TokenRequest) error {
				store.set(func(s *flakyStore) { s.broken = true })
				return nil
			}
		})
		_, _ = w.m.Refresh(t.Context(), w.sel())
		store.set(func(s *flakyStore) { s.broken = false })
		time.Sleep(time.Minute)
		if tok := w.token(); tok.ExpiresIn > time.Hour {
			t.Errorf("a token that lives an hour is said to live %s", tok.ExpiresIn)
		}
	})
}

func TestScopeOfAnAuthorizationIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		req := core.AuthorizeRequest{Tenant: tenant, Client: main, Account: "alice@example.com", RedirectURI: "https://svc.example/cb", Scopes: []string{"first"}}
		a, err := w.m.Authorize(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		req.Scopes = []string{"second"}
		if _, err := w.m.Authorize(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		info, err := w.m.Exchange(t.Context(), core.ExchangeRequest{Tenant: tenant, Params: answerTo(t, a.AuthorizationURL, "code")})
		if err != nil || !slices.Equal(info.Scope, []string{"first"}) {
			t.Errorf("scope %v, %v; want what that person was asked for", info.Scope, err)
		}
	})
}

// Two events of one type were published and could not be cleared for longer than the publisher remembers.
func TestDebtsAreNotPaidOutOfOrderAfterTheDedupWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &flakyStore{Store: core.NewMemoryStore()}
		p := &refusingPublisher{}
		w := newWorld(t, lazy, func(c *core.Config) { c.Store = store; p.Publisher = c.Publisher; c.Publisher = p })
		defer w.close()
		p.down.Store(true)
		w.imported()
		time.Sleep(2 * time.Second)
		if _, err := w.m.Refresh(t.Context(), w.sel()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		store.set(func(s *flakyStore) { s.broken = true })
		p.down.Store(false)
		time.Sleep(15 * time.Minute)
		store.set(func(s *flakyStore) { s.broken = false })
		time.Sleep(2 * time.Minute)
		var gens []uint64
		w.events.mu.Lock()
		for _, e := range w.events.all {
			gens = append(gens, e.Generation)
		}
		w.events.mu.Unlock()
		if !slices.IsSorted(gens) {
			t.Errorf("generations in the order of publication: %v", gens)
		}
	})
}

// A replica with new credentials succeeds: a replica that still has the old ones stays bound by their suspension.
func TestSuccessWithOtherCredentialsDoesNotFreeTheRefusedOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lazy)
		defer w.close()
		w.imported()
		time.Sleep(5 * time.Second)
		var old atomic.Int32
		w.vendor.set(func(v *vendor) {
			v.before = func(_ context.Context, r core.TokenRequest) error {
				if r.Client.ClientSecret.Reveal() == "new" {
					return nil
				}
				old.Add(1)
				return &core.VendorError{Outcome: core.Refused, Code: core.CodeInvalidClient, Status: 401}
			}
		})
		_, _ = w.m.Refresh(t.Context(), w.sel())
		synctest.Wait()
		before := w.cfg.Clients
		w.cfg.Clients = slices.Clone(w.cfg.Clients)
		w.cfg.Clients[0].ClientSecret = core.NewSecret("new")
		rolled := w.another()
		w.cfg.Clients = before
		time.Sleep(time.Second)
		if tok, err := rolled.Refresh(t.Context(), w.sel()); err != nil || tok.Generation != 2 {
			t.Fatalf("generation %d, %v", tok.Generation, err)
		}
		time.Sleep(2 * time.Second)
		_, _ = w.m.Refresh(t.Context(), w.sel())
		synctest.Wait()
		suspended := 0
		for _, e := range w.events.types() {
			if strings.HasPrefix(e, "client.suspended") {
				suspended++
			}
		}
		if old.Load() != 1 || suspended != 1 {
			t.Errorf("the refused credentials were sent %d times and suspended %d times within seconds; want once", old.Load(), suspended)
		}
	})
}

// An import whose outcome is unknown is not presented again by the caller's retry without a word of warning.
func TestImportOfUnknownOutcomeSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		req := core.ImportRequest{Tenant: tenant, Client: main, Account: "alice@example.com", RefreshToken: w.vendor.seed("seed")}
		var once sync.Once
		w.vendor.set(func(v *vendor) {
			v.after = func(context.Context, core.TokenRequest) (err error) {
				once.Do(func() { err = &core.VendorError{Outcome: core.Unknown, Code: core.CodeTimeout} })
				return err
			}
		})
		_, err := w.m.Import(t.Context(), req)
		e := core.AsError(err)
		if e.Code == core.TemporarilyUnavailable && e.Reason != core.ReasonOutcomeUnknown {
			t.Errorf("%v (reason %s): tells the caller to present a refresh token again that may be spent", e, e.Reason)
		}
	})
}

// The outcome of an exchange waits in the spool of a replica that is down; the person connects again elsewhere. The
// replay of the older consent must not take the place of the newer one.
func TestReplayedConsentDoesNotReplaceANewerOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &flakyStore{Store: core.NewMemoryStore()}
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
		want := w.token().AccessToken
		w.close()
		w.cfg.Spool = first
		w.m = w.start()
		defer w.close()
		time.Sleep(time.Minute)
		if tok := w.token(); !tok.AccessToken.Equal(want) {
			t.Errorf("generation %d is of the older consent", tok.Generation)
		}
	})
}

// A revocation waits for the vendor; the same refresh token is imported again. What ends the old tokens at the vendor
// must not end the new consent, which holds the same one.
func TestOvertakenRevocationDoesNotEndTheRefreshTokenThatWasImportedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vendorIs(func(v *vendor) { v.meta.RotatesRefreshTokens = false }))
		defer w.close()
		req := core.ImportRequest{Tenant: tenant, Client: main, Account: "alice@example.com", RefreshToken: w.vendor.seed("seed"),
			AccessToken: core.NewSecret("given"), ExpiresAt: time.Now().Add(time.Hour)}
		if _, err := w.m.Import(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		w.vendor.set(func(v *vendor) {
			v.onRevoke = func() error { return &core.VendorError{Outcome: core.Unknown, Code: core.CodeTimeout} }
		})
		if _, err := w.m.Revoke(t.Context(), w.sel(), "by mistake"); err != nil {
			t.Fatal(err)
		}
		w.vendor.set(func(v *vendor) { v.onRevoke = nil })
		if _, err := w.m.Import(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		time.Sleep(70 * time.Minute)
		if tok, err := w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL); err != nil {
			t.Errorf("generation %d, %v", tok.Generation, err)
		}
	})
}

// Retry-After of an hour, noted by a replica whose clock is a few milliseconds ahead, binds the other one too.
func TestLongestRetryAfterBindsAReplicaWhoseClockIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := core.NewMemoryStore()
		ahead := &steppedStore{Store: inner}
		ahead.by.Store(int64(20 * time.Millisecond))
		w := newWorld(t, lazy, func(c *core.Config) { c.Store = ahead })
		defer w.close()
		w.cfg.Store = inner
		other := w.another()
		w.imported()
		time.Sleep(5 * time.Second)
		w.vendor.set(func(v *vendor) {
			v.before = func(context.Context, core.TokenRequest) error {
				return &core.VendorError{Outcome: core.Refused, Code: core.CodeRateLimited, Status: 429, RetryAfter: time.Hour}
			}
		})
		_, _ = w.m.Refresh(t.Context(), w.sel())
		synctest.Wait()
		before := w.vendor.refreshes()
		_, _ = other.Refresh(t.Context(), w.sel())
		if n := w.vendor.refreshes() - before; n != 0 {
			t.Errorf("%d calls within the wait that the vendor asked for", n)
		}
	})
}
