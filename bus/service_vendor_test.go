package bus

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
)

// acme is an adapter whose vendor is a function.
type acme struct {
	mu    sync.Mutex
	calls map[core.GrantType]int
	// token, where it is set, answers in the place of the vendor that always issues.
	token func(context.Context, core.TokenRequest) (core.TokenResponse, error)
}

func (a *acme) Metadata(context.Context) (core.Metadata, error) {
	return core.Metadata{
		Vendor: "acme", AccessLifetime: time.Hour, RotatesRefreshTokens: true, RevokesTokens: true,
		GrantTypes: []core.GrantType{core.AuthorizationCode, core.ClientCredentials, core.RefreshToken},
	}, nil
}

func (a *acme) AuthorizationURL(_ context.Context, r core.AuthorizationRequest) (string, error) {
	return "https://acme.example/authorize?" + url.Values{"state": {r.State}}.Encode(), nil
}

func (a *acme) Callback(_ context.Context, r core.CallbackRequest) (core.CallbackResult, error) {
	if denied := r.Params.Get("error"); denied != "" {
		return core.CallbackResult{Denied: denied}, nil
	}
	return core.CallbackResult{Code: core.NewSecret(r.Params.Get("code"))}, nil
}

func (a *acme) Token(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
	a.mu.Lock()
	if a.calls == nil {
		a.calls = map[core.GrantType]int{}
	}
	a.calls[r.GrantType]++
	n, answer := a.calls[r.GrantType], a.token
	a.mu.Unlock()
	if answer != nil {
		return answer(ctx, r)
	}
	return core.TokenResponse{
		AccessToken: core.NewSecret(fmt.Sprintf("access-%s-%d", r.GrantType, n)), TokenType: "Bearer", ExpiresIn: time.Hour,
		RefreshToken: core.NewSecret(fmt.Sprintf("refresh-%s-%d", r.GrantType, n)), Scope: []string{"read", "write"},
	}, nil
}

func (a *acme) Revoke(context.Context, core.RevocationRequest) error { return nil }

// VerifyAccount knows one account.
func (a *acme) VerifyAccount(_ context.Context, r core.AccountRequest) (core.AccountLookup, error) {
	if r.EmailAddress != "known@acme.example" {
		return core.AccountLookup{}, nil
	}
	return core.AccountLookup{Exists: true, AccountID: "acme-1"}, nil
}

// CreateAccount makes an account that awaits its confirmation.
func (a *acme) CreateAccount(_ context.Context, r core.AccountRequest) (core.CreatedAccount, error) {
	return core.CreatedAccount{AccountID: "id-of-" + r.EmailAddress, Tokens: core.TokenResponse{
		AccessToken: core.NewSecret("access-created"), RefreshToken: core.NewSecret("refresh-created"), ExpiresIn: time.Hour,
	}}, nil
}

// ReadEvent takes the body for the id of an account that was confirmed.
func (a *acme) ReadEvent(_ context.Context, r core.EventRequest) (core.VendorEvent, error) {
	return core.VendorEvent{Type: core.VendorEventAccountConfirmed, AccountID: string(r.Body)}, nil
}

func (a *acme) answer(f func(context.Context, core.TokenRequest) (core.TokenResponse, error)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.token = f
}

func (a *acme) refuse(e core.VendorError) {
	a.answer(func(context.Context, core.TokenRequest) (core.TokenResponse, error) { return core.TokenResponse{}, &e })
}

func (a *acme) count(t core.GrantType) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls[t]
}

// hold makes the vendor wait until release is called, and tells of each call on entered.
func (a *acme) hold() (entered <-chan struct{}, release func()) {
	in, gate := make(chan struct{}, 100), make(chan struct{})
	a.answer(func(ctx context.Context, _ core.TokenRequest) (core.TokenResponse, error) {
		in <- struct{}{}
		select {
		case <-gate:
		case <-ctx.Done():
			return core.TokenResponse{}, ctx.Err()
		}
		return core.TokenResponse{AccessToken: core.NewSecret("held"), TokenType: "Bearer", ExpiresIn: time.Hour,
			RefreshToken: core.NewSecret("held-refresh")}, nil
	})
	return in, sync.OnceFunc(func() { close(gate) })
}

// daemon is a Bus with a Manager and a Service on it.
type daemon struct {
	*Bus
	manager *core.Manager
	service *Service
	vendor  *acme
}

func clients() []core.Client {
	credentials := core.Credentials{ClientID: "id", ClientSecret: core.NewSecret("s3cret")}
	return []core.Client{
		{Name: "main", Vendor: "acme", Tenants: []string{"default", "other"}, Credentials: credentials,
			RedirectURIs: []string{"https://app.example/callback"}},
		{Name: "app", Vendor: "acme", Tenants: []string{"default"}, Credentials: credentials, GrantType: core.ClientCredentials},
		{Name: "app2", Vendor: "acme", Tenants: []string{"default"}, Credentials: credentials, GrantType: core.ClientCredentials},
		{Name: "theirs", Vendor: "acme", Tenants: []string{"other"}, Credentials: credentials},
	}
}

func startDaemon(t testing.TB, b *Bus, change func(*ServiceConfig)) *daemon {
	t.Helper()
	d := &daemon{Bus: b, vendor: &acme{}}
	var err error
	d.manager, err = core.New(core.Config{
		Clients: clients(), Adapters: core.AdapterMap{"acme": d.vendor}, Store: b.Store(), Publisher: b.Publisher(),
		Timers: b.Timers(), Spool: b.Spool(), PublicURL: "http://127.0.0.1:8080", Owner: b.Owner, Logger: quiet(),
		Refreshed: b.Audit().Refreshed,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.manager.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeIn(t, 10*time.Second, d.manager.Close) })
	cfg := ServiceConfig{Conn: b.Conn, Manager: d.manager, Logger: quiet(), TracerProvider: noop.NewTracerProvider(), Audit: b.Audit()}
	if change != nil {
		change(&cfg)
	}
	if d.service, err = NewService(cfg); err != nil {
		t.Fatal(err)
	}
	if err := d.service.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeIn(t, time.Minute, d.service.Close) })
	return d
}

func closeIn(t testing.TB, d time.Duration, fn func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	if err := fn(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// caller connects over TCP as a service of the tenant.
func (d *daemon) caller(t *testing.T, tenant string) (*client.Client, *nats.Conn) {
	t.Helper()
	nc := dialOutside(t, d.Bus)
	c, err := client.New(client.Config{Conn: nc, Tenant: tenant, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return c, nc
}

// seed imports a grant with a live token.
func (d *daemon) seed(t testing.TB, tenant, account string) core.GrantInfo {
	t.Helper()
	g, err := d.manager.Import(testContext(t), core.ImportRequest{
		Tenant: tenant, Client: "main", Account: account, RefreshToken: core.NewSecret("imported-" + account),
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}
