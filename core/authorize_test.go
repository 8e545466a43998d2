package core_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

func (w *world) authorize() core.Authorization {
	w.t.Helper()
	a, err := w.m.Authorize(w.t.Context(), core.AuthorizeRequest{Tenant: tenant, Client: main, Account: "alice@example.com", ReturnTo: "https://app.example/done"})
	if err != nil {
		w.t.Fatalf("authorize: %v", err)
	}
	return a
}

func (w *world) visit(connectURL string) core.Visit {
	w.t.Helper()
	v, err := w.m.Visit(w.t.Context(), ticketOf(w.t, connectURL))
	if err != nil {
		w.t.Fatalf("visit: %v", err)
	}
	return v
}

func TestOneTicketPerGrantIsGivenForTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		first := w.authorize()
		time.Sleep(9 * time.Minute)
		if again := w.authorize(); again.ConnectURL != first.ConnectURL {
			t.Error("another ticket within ten minutes")
		}
		_, err := w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL)
		var e *core.Error
		if !errors.As(err, &e) || e.Reason != "pending" || e.ConnectURL != first.ConnectURL {
			t.Errorf("token of a pending grant: %v, want reauthorization_required with the same connect URL", err)
		}
		time.Sleep(2 * time.Minute)
		if later := w.authorize(); later.ConnectURL == first.ConnectURL {
			t.Error("the same ticket after ten minutes")
		}
		if _, err := w.m.Visit(t.Context(), ticketOf(t, first.ConnectURL)); !errors.Is(err, core.NotFound) {
			t.Errorf("an expired ticket: %v", err)
		}
	})
}

func TestCallbackIsTakenOnceOfAHundredAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		v := w.visit(w.authorize().ConnectURL)
		answer := core.CallbackAnswer{Client: main, Cookie: v.Cookie, Params: answerTo(t, v.RedirectURL, "code")}
		var connected atomic.Int32
		var browsers sync.WaitGroup
		for range 100 {
			browsers.Go(func() {
				if r, err := w.m.Callback(t.Context(), answer); err == nil && r.Status == "connected" {
					connected.Add(1)
				}
			})
		}
		browsers.Wait()
		w.vendor.set(func(v *vendor) {
			if n := v.calls[core.AuthorizationCode]; n != 1 || connected.Load() != 1 {
				t.Errorf("%d exchanges and %d connected, want one of each", n, connected.Load())
			}
		})
	})
}

func TestCallbackIsRefusedInAnotherBrowserAtAnotherClientAndWithAnotherState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *core.Config) {
			second := c.Clients[0]
			second.Name = "acme-second"
			c.Clients = append(c.Clients, second)
		})
		defer w.close()
		v := w.visit(w.authorize().ConnectURL)
		params := answerTo(t, v.RedirectURL, "code")
		for name, a := range map[string]core.CallbackAnswer{
			"no cookie":       {Client: main, Params: params},
			"other cookie":    {Client: main, Params: params, Cookie: core.NewSecret("other")},
			"other client":    {Client: "acme-second", Params: params, Cookie: v.Cookie},
			"forged state":    {Client: main, Params: url.Values{"state": {params.Get("state") + "x"}, "code": {"c"}}, Cookie: v.Cookie},
			"two states":      {Client: main, Params: url.Values{"state": {params.Get("state"), "b"}, "code": {"c"}}, Cookie: v.Cookie},
			"no state at all": {Client: main, Params: url.Values{"code": {"c"}}, Cookie: v.Cookie},
		} {
			if r, err := w.m.Callback(t.Context(), a); err == nil {
				t.Errorf("%s: taken, %+v", name, r)
			}
		}
		if r, err := w.m.Callback(t.Context(), core.CallbackAnswer{Client: main, Params: params, Cookie: v.Cookie}); err != nil || r.Status != "connected" || r.ReturnTo != "https://app.example/done" {
			t.Errorf("the right browser after all that: %+v %v", r, err)
		}
	})
}

func TestStateEndsTenMinutesAfterItsVisit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		link := w.authorize().ConnectURL
		time.Sleep(9 * time.Minute)
		early, late := w.visit(link), w.visit(link)
		own, err := w.m.Authorize(t.Context(), core.AuthorizeRequest{Tenant: tenant, Client: main, Account: "alice@example.com", RedirectURI: "https://svc.example/cb"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10*time.Minute - time.Second)
		denied := answerTo(t, early.RedirectURL, "")
		denied.Set("error", "access_denied") // so that the ticket stays
		r, err := w.m.Callback(t.Context(), core.CallbackAnswer{Client: main, Cookie: early.Cookie, Params: denied})
		if err != nil || r.Status != "access_denied" {
			t.Errorf("just before: %+v %v", r, err)
		}
		time.Sleep(time.Second)
		if r, err := w.m.Callback(t.Context(), core.CallbackAnswer{Client: main, Cookie: late.Cookie, Params: answerTo(t, late.RedirectURL, "code")}); !errors.Is(err, core.InvalidRequest) {
			t.Errorf("ten minutes after its visit: %+v %v", r, err)
		}
		if g, err := w.m.Exchange(t.Context(), core.ExchangeRequest{Tenant: tenant, Params: answerTo(t, own.AuthorizationURL, "code")}); !errors.Is(err, core.InvalidRequest) {
			t.Errorf("ten minutes after the service's request: %+v %v", g, err)
		}
		w.vendor.set(func(v *vendor) {
			if n := v.calls[core.AuthorizationCode]; n != 0 {
				t.Errorf("%d codes were sent to the vendor", n)
			}
		})
	})
}

func TestDenialLeavesAnActiveGrantActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.imported()
		v := w.visit(w.authorize().ConnectURL)
		params := answerTo(t, v.RedirectURL, "")
		params.Set("error", "access_denied")
		r, err := w.m.Callback(t.Context(), core.CallbackAnswer{Client: main, Params: params, Cookie: v.Cookie})
		if err != nil || r.Status != "access_denied" {
			t.Errorf("%+v %v", r, err)
		}
		if tok := w.token(); tok.Generation != 1 {
			t.Errorf("generation %d", tok.Generation)
		}
		if !slices.Contains(w.events.types(), "grant.authorization_failed denied") {
			t.Errorf("events %v", w.events.types())
		}
	})
}

func TestServiceWithItsOwnCallbackExchanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		req := core.AuthorizeRequest{Tenant: tenant, Client: main, Account: "alice@example.com", RedirectURI: "https://svc.example/cb"}
		a, err := w.m.Authorize(t.Context(), req)
		if err != nil || a.AuthorizationURL == "" || a.State == "" {
			t.Fatalf("%+v %v", a, err)
		}
		params := answerTo(t, a.AuthorizationURL, "code")
		if _, err := w.m.Exchange(t.Context(), core.ExchangeRequest{Tenant: "other-tenant", Params: params}); !errors.Is(err, core.InvalidRequest) {
			t.Errorf("another tenant's state: %v", err)
		}
		elsewhere := core.ExchangeRequest{Tenant: tenant, Params: params, RedirectURI: "https://svc.example/other"}
		var e *core.Error
		if _, err := w.m.Exchange(t.Context(), elsewhere); !errors.As(err, &e) || e.Field != "redirect_uri" {
			t.Errorf("an answer that arrived elsewhere: %v", err)
		}
		info, err := w.m.Exchange(t.Context(), core.ExchangeRequest{Tenant: tenant, Params: params})
		if err != nil || info.State != core.Active || info.Generation != 1 {
			t.Errorf("%+v %v", info, err)
		}
		if _, err := w.m.Exchange(t.Context(), core.ExchangeRequest{Tenant: tenant, Params: params}); !errors.Is(err, core.InvalidRequest) {
			t.Errorf("the same answer again: %v", err)
		}
		req.RedirectURI = "https://evil.example/cb"
		if _, err := w.m.Authorize(t.Context(), req); !errors.Is(err, core.InvalidRequest) {
			t.Errorf("a redirect URI that is not configured: %v", err)
		}
	})
}

func TestImportRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		req := core.ImportRequest{Tenant: tenant, Client: main, Account: "alice@example.com", RefreshToken: w.vendor.seed("one"),
			AccessToken: core.NewSecret("given"), ExpiresAt: time.Now().Add(20 * time.Minute)}
		for range 2 { // the second is a no-op
			info, err := w.m.Import(t.Context(), req)
			if err != nil || info.Generation != 1 || w.vendor.refreshes() != 0 {
				t.Fatalf("%+v %v, %d refreshes", info, err, w.vendor.refreshes())
			}
		}
		req.RefreshToken = w.vendor.seed("two")
		if _, err := w.m.Import(t.Context(), req); !errors.Is(err, core.InvalidRequest) {
			t.Errorf("over an active grant: %v", err)
		}
		req.Replace = true
		if info, err := w.m.Import(t.Context(), req); err != nil || info.Generation != 2 {
			t.Errorf("with replace: %+v %v", info, err)
		}
		req.RefreshToken, req.AccessToken, req.ExpiresAt = core.NewSecret("dead"), core.Secret{}, time.Time{}
		if _, err := w.m.Import(t.Context(), req); !errors.Is(err, core.InvalidRequest) {
			t.Errorf("a dead refresh token: %v", err)
		}
		req.RefreshToken, req.APIBaseURL = w.vendor.seed("three"), "https://evil.example"
		if _, err := w.m.Import(t.Context(), req); !errors.Is(err, core.InvalidRequest) {
			t.Errorf("a host that the adapter does not check: %v", err)
		}
		if tok := w.token(); tok.Generation != 2 || tok.AccessToken.Reveal() != "given" {
			t.Errorf("generation %d after refused imports, want the one before", tok.Generation)
		}
	})
}

func TestConsentEndIsAnnouncedAndThenTheGrantEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, overWeeks, vendorIs(func(v *vendor) {
			v.meta.ConsentLifetime, v.lifetime = 35*24*time.Hour, 24*time.Hour
		}))
		defer w.close()
		w.imported()
		time.Sleep(37 * 24 * time.Hour)
		synctest.Wait()
		notices := 0
		for _, e := range w.events.types() {
			if e == "grant.expiring consent_expired" {
				notices++
			}
		}
		if notices != 3 {
			t.Errorf("grant.expiring %d times, want 30, 7 and 1 days ahead", notices)
		}
		_, err := w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL)
		var e *core.Error
		if !errors.As(err, &e) || e.Code != core.ReauthorizationRequired || e.Reason != "consent_expired" {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestLazyClientIsRefreshedOnlyWhenAskedAndToKeepItAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, overWeeks, lazy, vendorIs(func(v *vendor) { v.meta.RefreshIdleLifetime = 60 * time.Hour }))
		defer w.close()
		w.imported()
		time.Sleep(49 * time.Hour)
		if n := w.vendor.refreshes(); n != 1 {
			t.Errorf("%d refreshes in 49 hours, want the import's", n)
		}
		time.Sleep(2 * time.Hour)
		if n := w.vendor.refreshes(); n != 2 {
			t.Errorf("%d refreshes in 51 hours, want one to keep the refresh token alive", n)
		}
		want := []string{"token.issued imported", "token.expiring", "token.issued refreshed", "token.expiring"}
		if got := w.events.types(); !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
	})
}

func TestCloseWaitsForACallThatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.imported()
		time.Sleep(5 * time.Second)
		w.vendor.set(func(v *vendor) {
			v.before = func(context.Context, core.TokenRequest) error { time.Sleep(5 * time.Second); return nil }
		})
		ctx, giveUp := context.WithTimeout(t.Context(), time.Second)
		defer giveUp()
		_, _ = w.m.Refresh(ctx, w.sel())
		w.close()
		w.vendor.set(func(v *vendor) { v.before = nil })
		w.m = w.start()
		defer w.close()
		if tok := w.token(); tok.Generation != 2 {
			t.Errorf("generation %d after the restart, want 2: the call was committed before Close returned", tok.Generation)
		}
	})
}
