package esignglobal_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/esignglobal"
	"github.com/esignd/esignd/plugins/esignglobal/sandbox"
	"github.com/esignd/esignd/plugins/oauth"
)

const day = 24 * time.Hour

// quietStore is a store whose watch tells nothing, so that a year has few events. The cache is then never fresh.
type quietStore struct{ *core.MemoryStore }

func (quietStore) Watch(ctx context.Context, fn func(core.Update)) error {
	fn(core.Update{Synced: true})
	<-ctx.Done()
	return ctx.Err()
}

// adapterWith is the adapter of a vendor whose consents live as long as those of the sandbox that stands for it.
type adapterWith struct {
	*esignglobal.Adapter
	consent time.Duration
}

func (a adapterWith) Metadata(ctx context.Context) (core.Metadata, error) {
	m, err := a.Adapter.Metadata(ctx)
	if a.consent > 0 {
		m.ConsentLifetime = a.consent
	}
	return m, err
}

// life is a connected grant: Manager, adapter and the vendor's sandbox in one bubble.
type life struct {
	m       *core.Manager
	sandbox *sandbox.Server
	down    atomic.Bool // the vendor answers 503

	mu     sync.Mutex // guards events
	events []string   // of the grant's end: type, reason, and days since the consent
}

var selector = core.Selector{Tenant: "default", Client: "global", Account: "jane@example.com"}

func connected(t *testing.T, policy core.Policy, cfg sandbox.Config) *life {
	t.Helper()
	l, network := &life{}, newPipes()
	l.serve(t, network, cfg)
	id, secret := l.sandbox.Client()
	begin := time.Now()
	var err error
	l.m, err = core.New(core.Config{
		Adapters: core.AdapterMap{"esignglobal": adapterWith{
			esignglobal.New(esignglobal.Config{OAuth: oauth.Config{Dial: network.dial}}), cfg.ConsentLifetime,
		}},
		Clients: []core.Client{{
			Name: selector.Client, Vendor: "esignglobal", Tenants: []string{selector.Tenant}, Scopes: []string{"signature"},
			Policy: policy, RedirectURIs: []string{redirectURI},
			Credentials: core.Credentials{ClientID: id, ClientSecret: core.NewSecret(secret), Settings: map[string]string{
				"account_url": "http://127.0.0.1:1", "api_url": "http://127.0.0.1:1",
			}},
		}},
		Store:     quietStore{core.NewMemoryStore()},
		Publisher: core.NewMemoryPublisher(func(e core.Event) { l.tell(e, time.Since(begin)) }),
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := l.m.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	authorized(t, l.m, network)
	return l
}

// serve answers at network as the sandbox does, by the bubble's clock. The sandbox itself is not started: it would
// listen, and a bubble's time stands still while anything waits for a real network.
func (l *life) serve(t *testing.T, network *pipes, cfg sandbox.Config) {
	t.Helper()
	server := &http.Server{}
	cfg.AutoConsent, cfg.Now = selector.Account, time.Now
	cfg.Middleware = func(h http.Handler) http.Handler {
		server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if l.down.Load() {
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			h.ServeHTTP(w, r)
		})
		return h
	}
	var err error
	if l.sandbox, err = sandbox.New(cfg); err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(network) }) // ends with ErrServerClosed
	t.Cleanup(func() { _ = server.Close(); serving.Wait() })
}

func (l *life) tell(e core.Event, age time.Duration) {
	if e.Type != core.GrantExpiring && e.Type != core.GrantReauthorizationRequired {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, fmt.Sprintf("%s %s, day %d", e.Type, e.Reason, age.Round(time.Hour)/day))
}

func (l *life) told() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

// active fails the test unless the grant is active and its token is served.
func (l *life) active(t *testing.T, when string) core.Token {
	t.Helper()
	g, err := l.m.Grant(t.Context(), selector)
	if err != nil || g.State != core.Active {
		t.Errorf("%s: the grant is %s for %s, %v", when, g.State, g.Reason, err)
	}
	token, err := l.m.Token(t.Context(), selector, core.DefaultMinTTL)
	if err != nil || token.AccessToken.IsZero() {
		t.Errorf("%s: no token: %v", when, err)
	}
	return token
}

// authorized takes the selector's account through the consent page, which asks nobody.
func authorized(t *testing.T, m *core.Manager, network *pipes) {
	t.Helper()
	a, err := m.Authorize(t.Context(), core.AuthorizeRequest{
		Tenant: selector.Tenant, Client: selector.Client, Account: selector.Account, RedirectURI: redirectURI,
	})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.AuthorizationURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Transport{DialContext: network.dial, DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	location, err := res.Location()
	if err != nil {
		t.Fatalf("consent page: %s %v", res.Status, err)
	}
	if _, err := m.Exchange(t.Context(), core.ExchangeRequest{Tenant: selector.Tenant, Params: location.Query()}); err != nil {
		t.Fatal(err)
	}
}

// A consent ends however often it was refreshed. It has 40 of its 365 days here, since each takes its time.
func TestConsentEndsHardAndIsAnnouncedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := connected(t, core.Eager, sandbox.Config{Rotate: true, ConsentLifetime: 40 * day})
		time.Sleep(39*day + 12*time.Hour)
		l.active(t, "half a day before the end")
		time.Sleep(day)
		want := []string{
			"grant.expiring consent_expired, day 10", "grant.expiring consent_expired, day 33",
			"grant.expiring consent_expired, day 39", "grant.reauthorization_required consent_expired, day 40",
		}
		if diff := cmp.Diff(want, l.told()); diff != "" {
			t.Error(diff)
		}
		_, err := l.m.Token(t.Context(), selector, core.DefaultMinTTL)
		var e *core.Error
		if !errors.As(err, &e) || e.Code != core.ReauthorizationRequired || e.Reason != "consent_expired" {
			t.Errorf("after the end: %v", err)
		}
		if stats := l.sandbox.Stats(); stats.RefreshTokensReused != 0 || stats.Issued["refresh_token"] < 40 {
			t.Errorf("%d refreshes in 40 days, %d refresh tokens presented twice", stats.Issued["refresh_token"], stats.RefreshTokensReused)
		}
	})
}

func TestRefreshTokenOf30DaysIsKeptAliveWhereNobodyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := connected(t, core.Lazy, sandbox.Config{Rotate: true})
		time.Sleep(56 * day)
		if n := l.sandbox.Stats().Issued["refresh_token"]; n != 2 {
			t.Errorf("%d refreshes in 56 days, want one each 25", n)
		}
		if token := l.active(t, "after 56 days"); token.Generation != 4 {
			t.Errorf("generation %d", token.Generation)
		}
	})
}

// The vendor is away until the refresh token has died, and then refuses it with a code that proves nothing. The grant
// ends all the same, but not by the first refusal.
func TestRefreshTokenThatDiedInAnOutageEndsTheGrantInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := connected(t, core.Eager, sandbox.Config{RefreshLifetime: 30 * time.Hour})
		l.down.Store(true)
		time.Sleep(31 * time.Hour)
		if got := l.told(); len(got) != 0 {
			t.Errorf("an outage ended the grant: %v", got)
		}
		l.down.Store(false)
		time.Sleep(30 * time.Minute)
		if got := l.told(); len(got) != 0 {
			t.Errorf("ended within half an hour of the first refusal: %v", got)
		}
		time.Sleep(3 * time.Hour)
		if g, err := l.m.Grant(t.Context(), selector); err != nil || g.State != core.NeedsReauthorization {
			t.Errorf("%+v %v", g, err)
		}
	})
}

func TestOneBareFailureNeverDropsAGrant(t *testing.T) {
	for name, fault := range map[string]sandbox.Fault{
		"400 with a code":     {Status: 400, Body: `{"code":"1612","message":"x","data":null}`},
		"400, number":         {Status: 400, Body: `{"code":1612,"message":"x"}`},
		"401, empty":          {Status: 401},
		"403, HTML":           {Status: 403, Body: "<html>"},
		"404":                 {Status: 404},
		"429":                 {Status: 429, Body: `{"code":"429","message":"x","data":null}`},
		"500":                 {Status: 500, Body: `{"code":"1612","message":"x","data":null}`},
		"200 with a code":     {Status: 200, Body: `{"code":"1612","message":"x","data":null}`},
		"200, number":         {Status: 200, Body: `{"code":1612,"message":"x"}`},
		"200 without a token": {Status: 200, Body: `{"code":0,"message":"success","data":{}}`},
		"200, HTML":           {Status: 200, Body: "<html>"},
		"no answer":           {Drop: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := connected(t, core.Eager, sandbox.Config{Rotate: true})
				time.Sleep(time.Minute)
				l.sandbox.FailNext(1, fault)
				_, _ = l.m.Refresh(t.Context(), selector) // what it answers is not the point here
				if n := l.sandbox.Stats().TokenRequests["refresh_token"]; n != 1 {
					t.Fatalf("%d refreshes", n)
				}
				if token := l.active(t, "at once"); token.Generation != 1 {
					t.Errorf("generation %d is served", token.Generation)
				}
				time.Sleep(2 * day)
				if token := l.active(t, "after two days"); token.Generation < 3 || l.sandbox.Stats().RefreshTokensReused != 0 {
					t.Errorf("generation %d", token.Generation)
				}
			})
		})
	}
}
