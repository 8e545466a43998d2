package core_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
)

// vendor is an authorization server and its adapter in one, with no network between, for tests that run in
// synthetic time. It is strict: a refresh token that was rotated away is refused and counted.
type vendor struct {
	mu       sync.Mutex
	meta     core.Metadata
	lifetime time.Duration
	n        int
	refresh  map[string]bool // live refresh tokens
	spent    int             // presentations of a refresh token that was rotated away
	calls    map[core.GrantType]int
	revokes  int
	// before runs ahead of each token call, outside the lock. An error it returns is the answer; the vendor did not
	// act.
	before func(ctx context.Context, req core.TokenRequest) error
	// after runs when the vendor has acted. An error it returns takes the place of the answer.
	after func(ctx context.Context, req core.TokenRequest) error
	// onRevoke is the answer to a revocation.
	onRevoke func() error
}

func newVendor() *vendor {
	return &vendor{
		lifetime: time.Hour, refresh: map[string]bool{}, calls: map[core.GrantType]int{},
		meta: core.Metadata{
			Vendor: "acme", AccessLifetime: time.Hour, RotatesRefreshTokens: true, RevokesTokens: true, PKCE: true,
			GrantTypes: []core.GrantType{core.AuthorizationCode, core.ClientCredentials, core.RefreshToken},
		},
	}
}

func (v *vendor) Metadata(context.Context) (core.Metadata, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.meta, nil
}

func (v *vendor) AuthorizationURL(_ context.Context, r core.AuthorizationRequest) (string, error) {
	q := url.Values{"state": {r.State}, "redirect_uri": {r.RedirectURI}, "code_challenge": {r.CodeChallenge}}
	return "https://acme.example/authorize?" + q.Encode(), nil
}

func (v *vendor) Callback(_ context.Context, r core.CallbackRequest) (core.CallbackResult, error) {
	if e := r.Params.Get("error"); e != "" {
		return core.CallbackResult{Denied: e}, nil
	}
	return core.CallbackResult{Code: core.NewSecret(r.Params.Get("code"))}, nil
}

func (v *vendor) Token(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
	v.mu.Lock()
	before, after := v.before, v.after
	v.mu.Unlock()
	if before != nil {
		if err := before(ctx, r); err != nil {
			v.count(r)
			return core.TokenResponse{}, err
		}
	}
	resp, err := v.act(r)
	if err == nil && after != nil {
		err = after(ctx, r)
	}
	if err != nil {
		return core.TokenResponse{}, err
	}
	return resp, nil
}

func (v *vendor) count(r core.TokenRequest) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls[r.GrantType]++
}

func (v *vendor) act(r core.TokenRequest) (core.TokenResponse, error) {
	v.count(r)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.n++
	resp := core.TokenResponse{AccessToken: core.NewSecret(fmt.Sprintf("access-%d", v.n)), TokenType: "Bearer", ExpiresIn: v.lifetime}
	switch r.GrantType {
	case core.ClientCredentials:
		return resp, nil
	case core.RefreshToken:
		if !v.refresh[r.RefreshToken.Reveal()] {
			v.spent++
			return core.TokenResponse{}, &core.VendorError{Outcome: core.Refused, Code: core.CodeInvalidGrant, Status: 400}
		}
		if !v.meta.RotatesRefreshTokens {
			return resp, nil
		}
		delete(v.refresh, r.RefreshToken.Reveal())
	}
	resp.RefreshToken = core.NewSecret(fmt.Sprintf("refresh-%d", v.n))
	v.refresh[resp.RefreshToken.Reveal()] = true
	return resp, nil
}

func (v *vendor) Revoke(_ context.Context, r core.RevocationRequest) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.revokes++
	if v.onRevoke != nil {
		if err := v.onRevoke(); err != nil {
			return err
		}
	}
	delete(v.refresh, r.Token.Reveal())
	return nil
}

// seed makes a refresh token live, for imports.
func (v *vendor) seed(token string) core.Secret {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.refresh[token] = true
	return core.NewSecret(token)
}

// set changes the vendor under its lock.
func (v *vendor) set(change func(*vendor)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change(v)
}

func (v *vendor) refreshes() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.calls[core.RefreshToken]
}

func (v *vendor) presentedTwice() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.spent
}

// events collects what was published.
type events struct {
	mu  sync.Mutex
	all []core.Event
}

func (e *events) add(ev core.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
}

// types lists "type reason" in the order of publication.
func (e *events) types() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var ts []string
	for _, ev := range e.all {
		s := string(ev.Type)
		if ev.Reason != "" {
			s += " " + ev.Reason
		}
		ts = append(ts, s)
	}
	return ts
}

// world is a Manager with its surroundings.
type world struct {
	t      *testing.T
	vendor *vendor
	events *events
	cfg    core.Config
	m      *core.Manager

	replicas int // that another has started
}

const (
	tenant = "default"
	main   = "acme-main"
	robot  = "acme-robot"
)

// newWorld starts a Manager over in-memory parts; change may alter its configuration first.
func newWorld(t *testing.T, change ...func(*core.Config)) *world {
	t.Helper()
	w := &world{t: t, vendor: newVendor(), events: &events{}}
	creds := core.Credentials{ClientID: "id", ClientSecret: core.NewSecret("client-secret")}
	w.cfg = core.Config{
		Clients: []core.Client{
			{Name: main, Vendor: "acme", Credentials: creds, Scopes: []string{"sign"}, Tenants: []string{tenant}, RedirectURIs: []string{"https://svc.example/cb"}},
			{Name: robot, Vendor: "acme", Credentials: creds, GrantType: core.ClientCredentials, Tenants: []string{tenant}},
		},
		Adapters: core.AdapterMap{"acme": w.vendor}, Store: core.NewMemoryStore(), Timers: core.NewMemoryTimers(),
		Publisher: core.NewMemoryPublisher(w.events.add), Spool: core.NewMemorySpool(), Owner: func() string { return "folder" },
		Logger: slog.New(slog.DiscardHandler), PublicURL: "http://127.0.0.1:8080", ReturnTo: []string{"https://app.example/done"},
	}
	for _, c := range change {
		c(&w.cfg)
	}
	w.m = w.start()
	return w
}

// vendorIs changes the vendor before the Manager starts, which reads its metadata once.
func vendorIs(change func(*vendor)) func(*core.Config) {
	return func(c *core.Config) { c.Adapters.(core.AdapterMap)["acme"].(*vendor).set(change) }
}

func lazy(c *core.Config) { c.Clients[0].Policy = core.Lazy }

// overWeeks makes the store fit for tests over weeks of synthetic time.
func overWeeks(c *core.Config) { c.Store = core.NewSlowStore(time.Hour) }

func (w *world) start() *core.Manager {
	w.t.Helper()
	m, err := core.New(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	if err := m.Start(ctx); err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (w *world) close() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.m.Close(ctx); err != nil {
		w.t.Error(err)
	}
}

func (w *world) sel() core.Selector {
	return core.Selector{Tenant: tenant, Client: main, Account: "alice@example.com"}
}

// imported imports the account's grant with a live refresh token and gets its first access token.
func (w *world) imported() core.GrantInfo {
	w.t.Helper()
	info, err := w.m.Import(w.t.Context(), core.ImportRequest{Tenant: tenant, Client: main, Account: "alice@example.com", RefreshToken: w.vendor.seed("seed")})
	if err != nil {
		w.t.Fatalf("import: %v", err)
	}
	return info
}

func (w *world) token() core.Token {
	w.t.Helper()
	tok, err := w.m.Token(w.t.Context(), w.sel(), core.DefaultMinTTL)
	if err != nil {
		w.t.Fatalf("token: %v", err)
	}
	return tok
}
