package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
)

// demoVendor is a vendor that issues a token to whoever asks.
type demoVendor struct{}

func (demoVendor) Metadata(context.Context) (core.Metadata, error) {
	return core.Metadata{Vendor: "demo", GrantTypes: []core.GrantType{core.ClientCredentials}, AccessLifetime: time.Hour}, nil
}

func (demoVendor) AuthorizationURL(context.Context, core.AuthorizationRequest) (string, error) {
	return "", errors.ErrUnsupported
}

func (demoVendor) Callback(context.Context, core.CallbackRequest) (core.CallbackResult, error) {
	return core.CallbackResult{}, errors.ErrUnsupported
}

func (demoVendor) Token(context.Context, core.TokenRequest) (core.TokenResponse, error) {
	return core.TokenResponse{AccessToken: core.NewSecret("demo-token"), TokenType: "Bearer", ExpiresIn: time.Hour}, nil
}

func (demoVendor) Revoke(context.Context, core.RevocationRequest) error { return errors.ErrUnsupported }

// demo starts a daemon in this process and returns its address. A service connects to a daemon that is there already.
func demo() (url string, stop func()) {
	ctx := context.Background()
	dir := must(os.MkdirTemp("", "esignd"))
	b := must(bus.Open(ctx, bus.Config{DataDir: dir, Listen: "127.0.0.1:0", Auth: bus.Auth{None: true}, Logger: quiet()}))
	m := must(core.New(core.Config{
		Adapters: core.AdapterMap{"demo": demoVendor{}}, Store: b.Store(), Publisher: b.Publisher(), Timers: b.Timers(),
		Clients: []core.Client{{Name: "app", Vendor: "demo", GrantType: core.ClientCredentials, Tenants: []string{"default"}}},
		Logger:  quiet(),
	}))
	s := must(bus.NewService(bus.ServiceConfig{Conn: b.Conn, Manager: m, Logger: quiet()}))
	if err := errors.Join(m.Start(ctx), s.Start(ctx)); err != nil {
		panic(err)
	}
	return b.ClientURL(), func() {
		if err := errors.Join(s.Close(ctx), m.Close(ctx), b.Close(ctx), os.RemoveAll(dir)); err != nil {
			panic(err)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A service asks for a token whenever it needs one.
func ExampleClient_Token() {
	url, stop := demo()
	defer stop()
	nc := must(nats.Connect(url))
	defer nc.Close()

	esign := must(client.New(client.Config{Conn: nc, Tenant: "default"}))
	token, err := esign.Token(context.Background(), client.Selector{Client: "app"})
	var e *client.Error
	switch {
	case err == nil:
		fmt.Println(token.AccessToken.Reveal(), token.Generation)
	case errors.Is(err, client.ReauthorizationRequired) && errors.As(err, &e):
		fmt.Println("send the account's owner to", e.ConnectURL)
	case errors.Is(err, client.ErrClientSuspended):
		fmt.Println("tell the operator:", err)
	case errors.Is(err, client.TemporarilyUnavailable) && errors.As(err, &e): // ErrRateLimited and ErrVendorUnavailable too
		fmt.Println("try again in", e.RetryAfter)
	default:
		fmt.Println(err)
	}
	fmt.Println(token.AccessToken) // a Secret does not print
	// Output:
	// demo-token 1
	// [redacted]
}

// A service that uses the same tokens many times a second keeps them for some seconds.
func ExampleClient_Cached() {
	url, stop := demo()
	defer stop()
	nc := must(nats.Connect(url))
	defer nc.Close()

	esign, end, err := must(client.New(client.Config{Conn: nc, Tenant: "default"})).Cached(context.Background())
	if err != nil {
		panic(err)
	}
	defer end()
	for range 1000 { // about one of these asks
		token := must(esign.Token(context.Background(), client.Selector{Client: "app"}))
		if token.AccessToken.IsZero() {
			panic("no token")
		}
	}
	fmt.Println("served")
	// Output: served
}

// A service whose grant needs its owner waits for it, and goes on.
func ExampleClient_WaitReady() {
	url, stop := demo()
	defer stop()
	nc := must(nats.Connect(url))
	defer nc.Close()
	esign := must(client.New(client.Config{Conn: nc, Tenant: "default"}))

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	switch err := esign.WaitReady(ctx, client.Selector{Client: "app"}); {
	case err == nil:
		fmt.Println("there is a token")
	case ctx.Err() != nil:
		fmt.Println("not yet")
	default:
		fmt.Println("not by waiting:", err)
	}
	// Output: there is a token
}

// An http.Client that puts a live token on each request, and gets a new one when the vendor answers 401.
func ExampleClient_Transport() {
	url, stop := demo()
	defer stop()
	nc := must(nats.Connect(url))
	defer nc.Close()
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println("the API saw", r.Header.Get("Authorization"))
	}))
	defer api.Close()

	esign := must(client.New(client.Config{Conn: nc, Tenant: "default"}))
	browser := &http.Client{Transport: esign.Transport(client.Selector{Client: "app"}, api.Client().Transport)}
	resp, err := browser.Get(api.URL)
	if err != nil {
		panic(err)
	}
	defer func() { _ = resp.Body.Close() }()
	fmt.Println(resp.Status)
	// Output:
	// the API saw Bearer demo-token
	// 200 OK
}

// Libraries that take an oauth2.TokenSource.
func ExampleClient_TokenSource() {
	url, stop := demo()
	defer stop()
	nc := must(nats.Connect(url))
	defer nc.Close()

	esign := must(client.New(client.Config{Conn: nc, Tenant: "default"}))
	source := esign.TokenSource(context.Background(), client.Selector{Client: "app"}, client.MinTTL(5*time.Minute))
	token := must(source.Token())
	fmt.Println(token.Type(), token.Valid())
	// Output: Bearer true
}

// A service hears what happens to its tenant's tokens, and goes on where it ended when it is started again.
func ExampleClient_Watch() {
	url, stop := demo()
	defer stop()
	nc := must(nats.Connect(url))
	defer nc.Close()
	esign := must(client.New(client.Config{Conn: nc, Tenant: "default"}))
	_ = must(esign.Token(context.Background(), client.Selector{Client: "app"}))

	enough := errors.New("enough")
	err := esign.Watch(context.Background(), client.WatchConfig{
		Types:   []client.EventType{client.TokenIssued, client.TokenRevoked},
		Durable: "billing",
		Since:   time.Now().Add(-time.Hour),
	}, func(e client.Event) error {
		fmt.Println(e.Type, e.Client, e.Reason)
		return enough // a service returns nil, and hears the next
	})
	fmt.Println(errors.Is(err, enough))
	// Output:
	// token.issued app client_credentials
	// true
}
