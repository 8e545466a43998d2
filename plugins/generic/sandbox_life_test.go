package generic_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/consent"
	"github.com/esignd/esignd/plugins/generic"
	"github.com/esignd/esignd/plugins/generic/sandbox"
	at "github.com/esignd/esignd/plugins/sdk/authserver/authservertest"
)

// credentials are those of the sandbox's client, which knows it by its issuer.
func credentials(s *sandbox.Server) core.Credentials {
	id, secret := s.Client()
	return core.Credentials{ClientID: id, ClientSecret: core.NewSecret(secret), Settings: s.Discovered()}
}

// engine is a Manager with this adapter in process, and one client of the sandbox.
func engine(t *testing.T, s *sandbox.Server) *core.Manager {
	t.Helper()
	client := core.Client{
		Name: "main", Vendor: "generic", Credentials: credentials(s), Tenants: []string{"default"}, Scopes: []string{"sign"},
	}
	own := client
	own.Name, own.GrantType = "own", core.ClientCredentials
	m, err := core.New(core.Config{
		Adapters: core.AdapterMap{"generic": generic.New(generic.Config{})}, Clients: []core.Client{client, own},
		PublicURL: "http://127.0.0.1:9", Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return m
}

func TestAGrantsLifeAtTheSandbox(t *testing.T) {
	s := at.Run(sandbox.New(sandbox.Config{AutoConsent: "jane"}))(t)
	m := engine(t, s)
	a, err := m.Authorize(t.Context(), core.AuthorizeRequest{Tenant: "default", Client: "main", Account: "jane"})
	if err != nil {
		t.Fatal(err)
	}
	visit, err := m.Visit(t.Context(), a.ConnectURL[strings.LastIndex(a.ConnectURL, "/")+1:])
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	back, err := consent.Consent(t.Context(), browser, visit.RedirectURL, true)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := m.Callback(t.Context(), core.CallbackAnswer{Client: "main", Params: back.Query(), Cookie: visit.Cookie})
	if err != nil || reply.Status != "connected" {
		t.Fatalf("%+v %v", reply, err)
	}
	selector := core.Selector{Tenant: "default", Client: "main", Account: "jane"}
	token, err := m.Token(t.Context(), selector, core.DefaultMinTTL)
	if err != nil || token.Generation != 1 {
		t.Fatalf("%+v %v", token, err)
	}
	if n := s.Stats().LiveAccessTokens; n != 1 || token.APIBaseURL != s.URL() {
		t.Errorf("%d live tokens, for %s", n, token.APIBaseURL)
	}
	info, err := m.Revoke(t.Context(), selector, "over")
	if err != nil || info.VendorRevoked == nil || !*info.VendorRevoked || s.Stats().Revocations != 1 {
		t.Errorf("%+v %v", info, err)
	}
	own, err := m.Token(t.Context(), core.Selector{Tenant: "default", Client: "own"}, core.DefaultMinTTL)
	if err != nil || own.Generation != 1 {
		t.Errorf("%+v %v", own, err)
	}
}
