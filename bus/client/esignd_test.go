package client_test

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/creds"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// vendor issues tokens for an hour, or fails as it is told to.
type vendor struct {
	mu   sync.Mutex
	fail error
}

func (v *vendor) failWith(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fail = err
}

func (*vendor) Metadata(context.Context) (core.Metadata, error) {
	return core.Metadata{
		Vendor: "demo", AccessLifetime: time.Hour,
		GrantTypes: []core.GrantType{core.ClientCredentials, core.AuthorizationCode, core.RefreshToken},
	}, nil
}

func (*vendor) AuthorizationURL(_ context.Context, r core.AuthorizationRequest) (string, error) {
	return "https://vendor.example/authorize?state=" + r.State, nil
}

func (*vendor) Callback(context.Context, core.CallbackRequest) (core.CallbackResult, error) {
	return core.CallbackResult{}, errors.ErrUnsupported
}

func (v *vendor) Token(_ context.Context, r core.TokenRequest) (core.TokenResponse, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fail != nil {
		return core.TokenResponse{}, v.fail
	}
	return core.TokenResponse{AccessToken: core.NewSecret("demo-token"), RefreshToken: r.RefreshToken, TokenType: "Bearer", ExpiresIn: time.Hour}, nil
}

func (*vendor) Revoke(context.Context, core.RevocationRequest) error { return errors.ErrUnsupported }

// esignd is the daemon's engine and its embedded NATS server in this process, which can be stopped and started again.
type esignd struct {
	dir     string
	listen  string
	auth    bus.Auth
	quota   bus.Quota
	secret  string // of the clients, at the vendor
	vendor  vendor
	bus     *bus.Bus
	manager *core.Manager
	service *bus.Service
}

func (e *esignd) start(ctx context.Context) (err error) {
	e.bus, err = bus.Open(ctx, bus.Config{DataDir: e.dir, Listen: cmp.Or(e.listen, "127.0.0.1:0"), Auth: e.auth, Logger: quiet()})
	if err != nil {
		return err
	}
	app := core.Client{Name: "app", Vendor: "demo", GrantType: core.ClientCredentials, Tenants: []string{"default"}}
	app.ClientSecret = core.NewSecret(e.secret)
	main := app
	main.Name, main.GrantType = "main", core.AuthorizationCode
	e.manager, err = core.New(core.Config{
		Adapters: core.AdapterMap{"demo": &e.vendor}, Store: e.bus.Store(), Publisher: e.bus.Publisher(), Timers: e.bus.Timers(),
		PublicURL: "https://esignd.example", Clients: []core.Client{app, main}, Logger: quiet(),
	})
	if err != nil {
		return err
	}
	e.service, err = bus.NewService(bus.ServiceConfig{Conn: e.bus.Conn, Manager: e.manager, Quota: e.quota, Logger: quiet()})
	if err != nil {
		return err
	}
	return errors.Join(e.manager.Start(ctx), e.service.Start(ctx))
}

func (e *esignd) stop(ctx context.Context) error {
	return errors.Join(e.service.Close(ctx), e.manager.Close(ctx), e.bus.Close(ctx))
}

// startEsignd starts one that every program of this machine may use, but for what change says.
func startEsignd(t *testing.T, change func(*esignd)) *esignd {
	t.Helper()
	e := &esignd{dir: t.TempDir(), auth: bus.Auth{None: true}}
	if change != nil {
		change(e)
	}
	e.begin(t)
	t.Cleanup(func() { e.end(t) })
	return e
}

func (e *esignd) begin(t *testing.T) {
	t.Helper()
	if err := e.start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	e.listen = e.bus.ClientURL()[len("nats://"):] // the same after a restart
}

func (e *esignd) end(t *testing.T) {
	t.Helper()
	if err := e.stop(testContext(t)); err != nil {
		t.Error(err)
	}
}

// client returns a Client that is connected as a service may be: under auth none, or by its credentials.
func (e *esignd) client(t *testing.T, opts ...nats.Option) *client.Client {
	t.Helper()
	nc, err := nats.Connect(e.bus.ClientURL(), append(opts, nats.Timeout(time.Minute), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return newClient(t, nc)
}

// listed makes a service of the tenant default, for the daemon's nats.auth, and what it connects with.
func listed(t *testing.T, name string, role wire.Role) (bus.Caller, []nats.Option) {
	t.Helper()
	proof, err := creds.New(filepath.Join(t.TempDir(), name), "default", name)
	if err != nil {
		t.Fatal(err)
	}
	return bus.Caller{Name: name, Tenant: "default", Role: role, NKeys: []string{proof.NKey}}, proof.Options()
}

// underEachAuth runs a test where every program may ask, and where a listed caller asks.
func underEachAuth(t *testing.T, test func(t *testing.T, e *esignd, opts []nats.Option)) {
	t.Helper()
	caller, opts := listed(t, "billing", wire.Caller)
	for name, as := range map[string]struct {
		auth bus.Auth
		opts []nats.Option
	}{"auth none": {auth: bus.Auth{None: true}}, "auth services": {bus.Auth{Callers: []bus.Caller{caller}}, opts}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, startEsignd(t, func(e *esignd) { e.auth = as.auth }), as.opts)
		})
	}
}

// connect brings the consent of an account, as its owner does.
func (e *esignd) connect(t *testing.T, account, refreshToken string) core.GrantInfo {
	t.Helper()
	g, err := e.manager.Import(testContext(t), core.ImportRequest{Tenant: "default", Client: "main", Account: account,
		RefreshToken: core.NewSecret(refreshToken), Replace: true})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// watched reports whether the events have that consumer.
func (e *esignd) watched(t *testing.T, consumer string) bool {
	t.Helper()
	js, err := jetstream.New(e.bus.Conn())
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.Consumer(testContext(t), wire.EventStream, consumer)
	return err == nil
}
