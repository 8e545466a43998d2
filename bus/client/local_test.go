package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
)

// engine starts an engine that answers over NATS too, and returns both ways to it.
func engine(t *testing.T) map[string]client.API {
	t.Helper()
	b, err := bus.Open(t.Context(), bus.Config{DataDir: t.TempDir(), Listen: "127.0.0.1:0", Auth: bus.Auth{None: true}, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, b.Close) })
	m, err := core.New(core.Config{
		Adapters: core.AdapterMap{"demo": demoVendor{}}, Store: b.Store(), Publisher: b.Publisher(), Timers: b.Timers(), Logger: quiet(),
		Clients: []core.Client{
			{Name: "app", Vendor: "demo", GrantType: core.ClientCredentials, Tenants: []string{"default"}},
			{Name: "elsewhere", Vendor: "demo", GrantType: core.ClientCredentials, Tenants: []string{"another"}},
			{Name: "people", Vendor: "demo", Tenants: []string{"default"}},
		},
		PublicURL: "http://127.0.0.1:8080",
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := bus.NewService(bus.ServiceConfig{Conn: b.Conn, Manager: m, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, m.Close) })
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, s.Close) })
	over, closeConn, err := client.Dial(t.Context(), client.DialConfig{URL: b.ClientURL(), Tenant: "default"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeConn)
	local, err := client.NewLocal(m, "default")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]client.API{"over NATS": over, "in this process": local}
}

func closing(t *testing.T, fn func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := fn(ctx); err != nil {
		t.Error(err)
	}
}

func TestOneProgramAsksOverNATSAndInProcess(t *testing.T) {
	for name, api := range engine(t) {
		t.Run(name, func(t *testing.T) { program(t, api) })
	}
}

// program is code against the interface.
func program(t *testing.T, api client.API) {
	ctx, sel := testContext(t), client.Selector{Client: "app", Tenant: "another"} // that is not its to choose
	heard, stop := hearing(t, api)
	tok, err := api.Token(ctx, sel, client.MinTTL(time.Minute))
	if err != nil || tok.AccessToken.Reveal() != "demo-token" || tok.Tenant != "default" {
		t.Fatalf("token: %+v %v", tok, err)
	}
	reported := report(t, api, sel, tok.Generation)
	for len(heard) == 0 { // it begins to hear when it does
		reported = report(t, api, sel, reported)
	}
	if again, err := api.Refresh(ctx, sel); err != nil || !slices.Contains(again.Warnings, core.WarnRefreshedRecently) {
		t.Errorf("refresh: %+v %v", again, err)
	}
	if source, err := api.TokenSource(ctx, sel).Token(); err != nil || !source.Valid() || source.AccessToken != "demo-token" {
		t.Errorf("the source of tokens: %v", err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(r.Header.Get("Authorization")))
	}))
	defer server.Close()
	resp, err := (&http.Client{Transport: api.Transport(sel, nil)}).Get(server.URL)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", resp, err)
	}
	_ = resp.Body.Close()
	if g, err := api.Revoke(ctx, sel, "because"); err != nil || g.State != core.Revoked || g.VendorRevoked == nil {
		t.Errorf("revoke: %+v %v", g, err)
	}
	for e := range heard {
		if e.Type == client.TokenRevoked && e.Generation == reported {
			break
		}
	}
	stop()
	refusals(t, api)
}

// hearing hears of the app's grant until stop.
func hearing(t *testing.T, api client.API) (<-chan client.Event, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	heard, done := make(chan client.Event, 100), make(chan error, 1)
	go func() {
		defer close(heard)
		done <- api.Watch(ctx, client.WatchConfig{Types: []client.EventType{client.TokenIssued, client.TokenRevoked}}, func(e client.Event) error {
			heard <- e
			return nil
		})
	}()
	return heard, func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("watch: %v", err)
		}
	}
}

// report reports the token dead until another comes, which right after an issue it does not.
func report(t *testing.T, api client.API, sel client.Selector, generation uint64) uint64 {
	t.Helper()
	ctx := testContext(t)
	for {
		tok, err := api.Report(ctx, sel, generation)
		if err != nil {
			t.Fatal(err)
		}
		if tok.Generation > generation {
			return tok.Generation
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// refusals checks that each way refuses alike.
func refusals(t *testing.T, api client.API) {
	t.Helper()
	ctx, app := testContext(t), client.Selector{Client: "app"}
	token := func(sel client.Selector, opts ...client.TokenOption) error {
		_, err := api.Token(ctx, sel, opts...)
		return err
	}
	_, authorize := api.Authorize(ctx, client.AuthorizeRequest{Client: "app", Account: "somebody"})
	_, future := api.Report(ctx, app, 1000)
	_, revoke := api.Revoke(ctx, client.Selector{Grant: "a.b"}, "")
	_, long := api.Revoke(ctx, app, string(make([]byte, 201)))
	for what, c := range map[string]struct {
		err  error
		want core.Code
	}{
		"another tenant's client":      {token(client.Selector{Client: "elsewhere"}), core.NotFound},
		"nothing named":                {token(client.Selector{}), core.InvalidRequest},
		"no id of a grant":             {token(client.Selector{Grant: "a.b"}), core.InvalidRequest},
		"a time that is none":          {token(app, client.MinTTL(-time.Minute)), core.InvalidRequest},
		"nobody's grant":               {token(client.Selector{Client: "people", Account: "nobody"}), core.NotFound},
		"a client without accounts":    {authorize, core.Unsupported},
		"no id of a grant to revoke":   {revoke, core.InvalidRequest},
		"a generation that is not yet": {future, core.InvalidRequest},
		"a long reason":                {long, core.InvalidRequest},
	} {
		var e *client.Error
		if !errors.As(c.err, &e) || e.Code != c.want {
			t.Errorf("%s: got %v, want %s", what, c.err, c.want)
		}
	}
	if err := api.Watch(ctx, client.WatchConfig{Types: []client.EventType{"token.sold"}}, nil); err == nil {
		t.Error("a type of event that there is not was taken")
	}
}

func TestLocalSaysWhatItCannotDo(t *testing.T) {
	if _, err := client.NewLocal(nil, "default"); err == nil {
		t.Error("no Manager was taken")
	}
	m, err := core.New(core.Config{Adapters: core.AdapterMap{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.NewLocal(m, "a b"); err == nil {
		t.Error("a tenant with a space was taken")
	}
	local, err := client.NewLocal(m, "default")
	if err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []client.WatchConfig{{Durable: "me"}, {Since: time.Now()}} {
		if err := local.Watch(t.Context(), cfg, nil); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	// A Watch of a Manager that is closed ends by itself.
	if err := local.Watch(t.Context(), client.WatchConfig{}, nil); !errors.Is(err, client.TemporarilyUnavailable) {
		t.Errorf("got %v", err)
	}
}
