package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/sdk/plugintest/faultproxy"
	"github.com/esignd/esignd/tests/transcript"
)

const (
	tenant      = "t"
	redirectURI = "http://127.0.0.1:1/service/callback"
)

// world is one Manager with one vendor that goes wrong in one way.
type world struct {
	t       *testing.T
	vendor  vendor
	fault   faultproxy.Fault
	row     row // of the fault, where the table has one
	plugin  *plugin
	box     sandbox
	proxy   *faultproxy.Proxy
	turn    *turn
	calls   *recorder
	manager *core.Manager
	seen    secrets
	logs    *transcript.Transcript
	spans   *tracetest.InMemoryExporter
	events  *events

	mu        sync.Mutex // guards presented
	presented [][]byte   // bodies of token requests
}

// newWorld starts a world. The clients "live" and "spent" are one registration at the vendor under two names, so that
// what befalls one does not hold back the other.
func newWorld(t *testing.T, p *plugin, v vendor, f faultproxy.Fault, mine *turn) *world {
	t.Helper()
	w := &world{
		t: t, vendor: v, fault: f, plugin: p, turn: mine,
		seen: newSecrets(), logs: &transcript.Transcript{}, spans: tracetest.NewInMemoryExporter(), events: &events{},
	}
	w.box = startSandbox(t, v, w.seen.Watch)
	var err error
	if w.proxy, err = faultproxy.Start(faultproxy.Config{Target: w.box.URL(), IsTokenRequest: w.isTokenRequest}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.proxy.Close(); err != nil {
			t.Error(err)
		}
	})
	w.calls = &recorder{Adapter: p.Adapter()}
	w.startManager()
	t.Cleanup(func() { p.seen.Join(w.seen.Witness) })
	return w
}

func (w *world) startManager() {
	w.t.Helper()
	tracing := sdktrace.NewTracerProvider(sdktrace.WithSyncer(w.spans))
	var clients []core.Client
	for _, name := range []string{"live", "spent"} {
		clients = append(clients, core.Client{
			Name: name, Vendor: w.vendor.name, Credentials: w.credentials(w.proxy.URLFor(w.fault)), Scopes: w.vendor.scopes,
			Tenants: []string{tenant}, RedirectURIs: []string{redirectURI},
			Policy: core.Lazy, // nothing is refreshed but what a test asks for
		})
	}
	var err error
	w.manager, err = core.New(core.Config{
		Clients: clients, Adapters: core.AdapterMap{w.vendor.name: w.calls}, Publisher: core.NewMemoryPublisher(w.events.add),
		PublicURL: "http://127.0.0.1:1", Logger: debugLog(w.logs), TracerProvider: tracing,
	})
	if err == nil {
		err = w.manager.Start(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := errors.Join(w.manager.Close(context.Background()), tracing.Shutdown(context.Background())); err != nil {
			w.t.Error(err)
		}
	})
}

// isTokenRequest keeps what is presented to the token endpoint.
func (w *world) isTokenRequest(r *http.Request, body []byte) bool {
	if r.Method != http.MethodPost || !bytes.Contains(body, []byte("grant_type")) {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.presented = append(w.presented, body)
	return true
}

// presentations is how often a code or refresh token was sent to the token endpoint, counting those that met a fault.
func (w *world) presentations(secret core.Secret) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, body := range w.presented {
		if bytes.Contains(body, []byte(strings.TrimSuffix(secret.Reveal(), "*"))) {
			n++
		}
	}
	return n
}

// credentials are the client's, with every URL of the sandbox at base.
func (w *world) credentials(base string) core.Credentials {
	id, secret := w.box.Client()
	w.seen.Note("client_secret", secret)
	settings := map[string]string{}
	for name, value := range w.box.Settings() {
		settings[name] = strings.ReplaceAll(value, w.box.URL(), base)
	}
	return core.Credentials{ClientID: id, ClientSecret: core.NewSecret(secret), Settings: settings}
}

// info is what may be shown of a grant.
func (w *world) info(g grant) core.GrantInfo {
	w.t.Helper()
	info, err := w.manager.Grant(w.t.Context(), g.Selector)
	if err != nil {
		w.t.Fatal(err)
	}
	w.seen.search(w.t, "the grant", fmt.Sprintf("%+v", info))
	return info
}

// awaitEvents waits for as many events about a grant and returns them.
func (w *world) awaitEvents(grant string, n int) []core.Event {
	w.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		list := w.events.of(grant)
		if len(list) >= n {
			return list
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("there are %d events, want %d: %+v", len(list), n, list)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// awaitEvent waits for an event of a type about a grant.
func (w *world) awaitEvent(grant string, of core.EventType) core.Event {
	w.t.Helper()
	for n := 1; ; n++ {
		if last := w.awaitEvents(grant, n)[n-1]; last.Type == of {
			return last
		}
	}
}

// searchAll looks for secrets in all that the world has written. That is work, also where the turn was given up.
func (w *world) searchAll() {
	w.t.Helper()
	if w.turn.over {
		defer takeTurn().end()
	}
	w.seen.search(w.t, "the log", w.logs.String())
	w.seen.search(w.t, "the events", w.events.text(w.t))
	w.seen.search(w.t, "the spans", spanText(w.spans.GetSpans()))
	if n := w.proxy.Stats().Elsewhere; n > 0 {
		w.t.Errorf("%d requests went to the host that a redirect named", n)
	}
}
