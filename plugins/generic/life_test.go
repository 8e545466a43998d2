//go:build heavy

package generic_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/host"
	"github.com/esignd/esignd/tests/scratch"
)

// world is the engine with this adapter's plugin in a process of its own, and a real server.
type world struct {
	*core.Manager
	t      *testing.T
	server provider

	mu     sync.Mutex // guards events
	events []core.EventType
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, server: startProvider(t, "/tenant")}
	client := func(name string, of core.Credentials, grant core.GrantType) core.Client {
		return core.Client{
			Name: name, Vendor: "generic", Credentials: of, GrantType: grant, Tenants: []string{"default"},
			Scopes: []string{"openid", "offline_access", "sign"},
		}
	}
	wrong := w.server.credentials("post")
	wrong.ClientSecret = core.NewSecret("wrong")
	own := client("own", w.server.credentials("post", "resource", "https://api.example.com"), core.ClientCredentials)
	own.Scopes = []string{"sign"}
	manager, err := core.New(core.Config{
		Adapters: startPlugin(t), PublicURL: "http://127.0.0.1:9", Logger: slog.New(slog.DiscardHandler),
		Publisher: core.NewMemoryPublisher(func(e core.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e.Type)
		}),
		Clients: []core.Client{
			client("basic", w.server.credentials("basic"), core.AuthorizationCode), own,
			client("wrong", wrong, core.ClientCredentials),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := manager.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := manager.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	w.Manager = manager
	return w
}

// startPlugin builds the plugin's binary and starts it as esignd does.
func startPlugin(t *testing.T) *host.Set {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, host.FileName("generic"))
	if err := scratch.Build("-o", file, "./esignd-plugin-generic"); err != nil {
		t.Fatal(err)
	}
	// What others can write is not started, whatever the umask is.
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(file, 0o755)); err != nil {
		t.Fatal(err)
	}
	set, err := host.NewSet(host.SetConfig{Dir: dir, Vendors: []string{"generic"}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return set
}

// connect has a person connect jane's account, by the link of esignd, and returns its status.
func (w *world) connect(consent bool) string {
	w.t.Helper()
	a, err := w.Authorize(w.t.Context(), core.AuthorizeRequest{Tenant: "default", Client: "basic", Account: "jane"})
	if err != nil {
		w.t.Fatal(err)
	}
	visit, err := w.Visit(w.t.Context(), a.ConnectURL[strings.LastIndex(a.ConnectURL, "/")+1:])
	if err != nil {
		w.t.Fatal(err)
	}
	params := newPerson(w.t).answer(visit.RedirectURL, "http://127.0.0.1:9/oauth/callback/basic", consent)
	reply, err := w.Callback(w.t.Context(), core.CallbackAnswer{Client: "basic", Params: params, Cookie: visit.Cookie})
	if err != nil {
		w.t.Fatal(err)
	}
	return reply.Status
}

// saw reports whether there was such an event.
func (w *world) saw(e core.EventType) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Contains(w.events, e)
}

// await polls until ok.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in ten seconds: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

var jane = core.Selector{Tenant: "default", Client: "basic", Account: "jane"}

func TestTheWholeLifeOfAGrantInTheEngine(t *testing.T) {
	w := newWorld(t)
	if status := w.connect(false); status != core.CodeAccessDenied {
		t.Errorf("a denial is %q", status)
	}
	if status := w.connect(true); status != "connected" {
		t.Fatalf("the consent is %q", status)
	}
	first, err := w.Token(t.Context(), jane, core.DefaultMinTTL)
	if err != nil || first.Generation != 1 || first.APIBaseURL != w.server.issuer || w.server.userinfo(t, first.AccessToken) != http.StatusOK {
		t.Fatalf("%+v %v", first, err)
	}
	last := first
	for generation := uint64(2); generation <= 4; generation++ { // each with the refresh token of the one before
		await(t, "a refresh is not of a second ago", func() bool {
			if last, err = w.Refresh(t.Context(), jane); err != nil {
				t.Fatal(err)
			}
			return !slices.Contains(last.Warnings, core.WarnRefreshedRecently)
		})
		if last.Generation != generation || last.AccessToken.Equal(first.AccessToken) {
			t.Fatalf("generation %d, want %d", last.Generation, generation)
		}
	}
	if status := w.server.userinfo(t, last.AccessToken); status != http.StatusOK {
		t.Errorf("the refreshed token is answered %d", status)
	}
	info, err := w.Revoke(t.Context(), jane, "over")
	if err != nil || info.State != core.Revoked || info.VendorRevoked == nil || !*info.VendorRevoked || len(info.Warnings) != 0 {
		t.Errorf("%+v %v", info, err)
	}
	if status := w.server.userinfo(t, last.AccessToken); status != http.StatusUnauthorized {
		t.Errorf("the revoked token is answered %d", status)
	}
	await(t, "the events of it", func() bool { return w.saw(core.TokenIssued) && w.saw(core.TokenRevoked) })
}

func TestAGrantThatEndsAtTheServerAsksForItsOwner(t *testing.T) {
	w := newWorld(t)
	if status := w.connect(true); status != "connected" {
		t.Fatal(status)
	}
	token, err := w.Token(t.Context(), jane, core.DefaultMinTTL)
	if err != nil {
		t.Fatal(err)
	}
	w.server.end(t, "basic", token.AccessToken)
	await(t, "the refresh is refused", func() bool {
		_, err = w.Report(t.Context(), jane, token.Generation)
		return err != nil
	})
	var e *core.Error
	if !errors.As(err, &e) || e.Code != core.ReauthorizationRequired || e.Reason != core.ReasonInvalidGrant || e.ConnectURL == "" {
		t.Errorf("%v", err)
	}
	if status := w.connect(true); status != "connected" {
		t.Errorf("connecting again is %q", status)
	}
	if after, err := w.Token(t.Context(), jane, core.DefaultMinTTL); err != nil || after.Generation != token.Generation+1 {
		t.Errorf("%+v %v", after, err)
	}
}

func TestAClientsOwnTokenInTheEngine(t *testing.T) {
	w := newWorld(t)
	token, err := w.Token(t.Context(), core.Selector{Tenant: "default", Client: "own"}, core.DefaultMinTTL)
	if err != nil || token.Generation != 1 || !slices.Equal(token.Scope, []string{"sign"}) || token.ExpiresIn > 10*time.Minute {
		t.Errorf("%+v %v", token, err)
	}
	_, err = w.Token(t.Context(), core.Selector{Tenant: "default", Client: "wrong"}, core.DefaultMinTTL)
	if !errors.Is(err, core.InvalidClient) {
		t.Errorf("a wrong secret: %v", err)
	}
	await(t, "the client is suspended", func() bool { return w.saw(core.ClientSuspended) })
}
