package connect

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/consent"
	"github.com/esignd/esignd/plugins/generic"
	"github.com/esignd/esignd/plugins/generic/sandbox"
	"github.com/esignd/esignd/tests/system"
	"github.com/esignd/esignd/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	returnTo = "https://app.example/connected"
	ownURI   = "http://127.0.0.1:1/service/callback" // of a service; nobody listens
	otherURI = "http://127.0.0.1:1/service/other"
)

// world is esignd but for the plugins' processes: pages, engine, the embedded NATS server, and two vendors, each with a
// client. Both vendors hold codes to their challenge, and say in redirects who they are.
type world struct {
	t        *testing.T
	public   string
	natsURL  string
	services *client.Client // of tenant default
	a, b     *sandbox.Server
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, a: startVendor(t), b: startVendor(t)}
	log := slog.New(slog.DiscardHandler)
	nats := system.Must(bus.Open(t.Context(), bus.Config{DataDir: t.TempDir(), Listen: "127.0.0.1:0", Auth: bus.Auth{None: true}, Logger: log}))(t)
	listen := system.FreeAddress(t)
	w.public, w.natsURL = "http://"+listen, nats.ClientURL()
	m := system.Must(core.New(core.Config{
		Clients:  []core.Client{at("a", w.a, ownURI), at("b", w.b, otherURI)},
		Adapters: core.AdapterMap{"generic": generic.New(generic.Config{})}, Store: nats.Store(), Publisher: nats.Publisher(),
		Timers: nats.Timers(), Spool: nats.Spool(), Owner: nats.Owner, PublicURL: w.public, ReturnTo: []string{returnTo}, Logger: log,
	}))(t)
	service := system.Must(bus.NewService(bus.ServiceConfig{Conn: nats.Conn, Manager: m, Prefix: nats.Prefix(), Version: "1.0.0", Logger: log}))(t)
	pages := system.Must(web.New(web.Config{Manager: m, PublicURL: w.public, Listen: listen, RequestsPerMinute: 10_000, Logger: log}))(t)
	for _, start := range []func(context.Context) error{m.Start, service.Start, pages.Start} {
		if err := start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := errors.Join(pages.Close(ctx), service.Close(ctx), m.Close(ctx), nats.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
	w.services = w.dial("default")
	return w
}

func startVendor(t *testing.T) *sandbox.Server {
	t.Helper()
	box := system.Must(sandbox.New(sandbox.Config{}))(t)
	if err := box.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	})
	return box
}

// at is a client that is registered at a vendor.
func at(name string, box *sandbox.Server, callback string) core.Client {
	id, secret := box.Client()
	return core.Client{
		Name: name, Vendor: "generic", Tenants: []string{"default", "acme"}, Scopes: []string{"sign"}, RedirectURIs: []string{callback},
		Credentials: core.Credentials{ClientID: id, ClientSecret: core.NewSecret(secret), Settings: box.Discovered()},
	}
}

func (w *world) dial(tenant string) *client.Client {
	w.t.Helper()
	c, closeConn, err := client.Dial(w.t.Context(), client.DialConfig{URL: w.natsURL, Tenant: tenant})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(closeConn)
	return c
}

// link is a connect URL for an account.
func (w *world) link(name, account string) string {
	w.t.Helper()
	return system.Must(w.services.Authorize(w.t.Context(), client.AuthorizeRequest{Client: name, Account: account}))(w.t).ConnectURL
}

// own begins an authorization with a service's own callback, and has the person accept it.
func (w *world) own(account string) url.Values {
	w.t.Helper()
	a := system.Must(w.services.Authorize(w.t.Context(), client.AuthorizeRequest{Client: "a", Account: account, RedirectURI: ownURI}))(w.t)
	return system.Must(consent.As(w.t.Context(), w.browser(), a.AuthorizationURL, account, true))(w.t).Query()
}

// browser keeps cookies and stops at every redirect.
func (w *world) browser() *http.Client {
	return &http.Client{
		Jar: system.Must(cookiejar.New(nil))(w.t), Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// page is what a browser got.
type page struct {
	status int
	header http.Header
	text   string
}

func (p page) to() string { return p.header.Get("Location") }

// open opens an address; change may spoil the request.
func (w *world) open(b *http.Client, address string, change ...func(*http.Request)) page {
	w.t.Helper()
	r := system.Must(http.NewRequestWithContext(w.t.Context(), http.MethodGet, address, nil))(w.t)
	for _, f := range change {
		f(r)
	}
	resp := system.Must(b.Do(r))(w.t)
	defer func() { _ = resp.Body.Close() }()
	text := system.Must(io.ReadAll(resp.Body))(w.t)
	return page{status: resp.StatusCode, header: resp.Header, text: string(text)}
}

// consented opens a link in a browser, accepts at the vendor as that account, and returns the callback's address with
// the vendor's answer, where the browser would go next.
func (w *world) consented(b *http.Client, link, as string) *url.URL {
	w.t.Helper()
	p := w.open(b, link)
	if p.status != http.StatusSeeOther {
		w.t.Fatalf("the link answers %d %s", p.status, p.text)
	}
	return system.Must(consent.As(w.t.Context(), b, p.to(), as, true))(w.t)
}

// refused checks that an answer was not taken, with that status, and that the page names nothing of it.
func (w *world) refused(p page, status int) {
	w.t.Helper()
	if p.status != status || p.to() != "" || len(p.header.Values("Set-Cookie")) != 0 {
		w.t.Errorf("answered %d, to %q, want %d", p.status, p.to(), status)
	}
}

// finish opens the callback as its own browser and checks how it ends.
func (w *world) finish(b *http.Client, back *url.URL, status string) {
	w.t.Helper()
	if p := w.open(b, back.String()); p.status != http.StatusSeeOther || p.to() != "/connect/done?status="+status {
		w.t.Errorf("ended with %d at %q, want the status %s: %s", p.status, p.to(), status, p.text)
	}
}

// exchanges checks how many codes each vendor was sent.
func (w *world) exchanges(a, b int) {
	w.t.Helper()
	if n, m := w.a.Stats().TokenRequests["authorization_code"], w.b.Stats().TokenRequests["authorization_code"]; n != a || m != b {
		w.t.Errorf("the vendors were sent %d and %d codes, want %d and %d", n, m, a, b)
	}
}

// holds checks whose the token of an account is at the vendor: "" where there is none.
func (w *world) holds(name, account, owner string) {
	w.t.Helper()
	tok, err := w.services.Token(w.t.Context(), client.Selector{Client: name, Account: account})
	if owner == "" {
		if !errors.Is(err, core.ReauthorizationRequired) {
			w.t.Errorf("%s of %s has a token, or %v", account, name, err)
		}
		return
	}
	if err != nil {
		w.t.Errorf("%s of %s: %v", account, name, err)
		return
	}
	bearer := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+tok.AccessToken.Reveal()) }
	if p := w.open(w.browser(), tok.APIBaseURL+"/me", bearer); p.text != `{"account":"`+owner+`"}` {
		w.t.Errorf("the token of %s is that of %s, want %s", account, p.text, owner)
	}
}
