package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/transcript"
)

// vendor is an adapter whose vendor grants everything; its consent page is at an address that nobody opens.
type vendor struct{}

func (v vendor) Adapter(string) (core.Adapter, error) { return v, nil }

func (vendor) Metadata(context.Context) (core.Metadata, error) {
	return core.Metadata{
		Vendor: "testvendor", Title: "Test Vendor", AccessLifetime: time.Hour,
		GrantTypes: []core.GrantType{core.AuthorizationCode, core.RefreshToken},
	}, nil
}

func (vendor) AuthorizationURL(_ context.Context, r core.AuthorizationRequest) (string, error) {
	return "https://vendor.example/authorize?" + url.Values{"state": {r.State}, "redirect_uri": {r.RedirectURI}}.Encode(), nil
}

func (vendor) Callback(_ context.Context, r core.CallbackRequest) (core.CallbackResult, error) {
	if reason := r.Params.Get("error"); reason != "" {
		return core.CallbackResult{Denied: reason}, nil
	}
	return core.CallbackResult{Code: core.NewSecret(r.Params.Get("code"))}, nil
}

func (vendor) Token(_ context.Context, r core.TokenRequest) (core.TokenResponse, error) {
	if r.GrantType == core.AuthorizationCode && r.Code.Reveal() != canary {
		return core.TokenResponse{}, &core.VendorError{Outcome: core.Refused, Code: core.CodeInvalidGrant, Status: 400}
	}
	return core.TokenResponse{
		AccessToken: core.NewSecret("access-" + canary), RefreshToken: core.NewSecret("refresh-" + canary),
		TokenType: "Bearer", ExpiresIn: time.Hour,
	}, nil
}

func (vendor) Revoke(context.Context, core.RevocationRequest) error { return errors.ErrUnsupported }

const returnTo = "https://app.example/connected"

// whole is a Server over a Manager, both as in the daemon but for the store.
func whole(t *testing.T) (*core.Manager, *Server, *transcript.Transcript) {
	t.Helper()
	s, log := newServer(t, Config{Manager: scripted{}, Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	base := "http://" + s.PublicAddr().String()
	m, err := core.New(core.Config{
		Clients: []core.Client{{
			Name: "main", Vendor: "testvendor", Tenants: []string{"default"}, Scopes: []string{"sign"},
			Credentials: core.Credentials{ClientID: "id", ClientSecret: core.NewSecret("secret")},
		}},
		Adapters: vendor{}, PublicURL: base, ReturnTo: []string{returnTo}, Logger: s.cfg.Logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.cfg.Manager = m
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.Close(context.Background())
		if err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m, s, log
}

func authorize(t *testing.T, m *core.Manager, account, back string) string {
	t.Helper()
	a, err := m.Authorize(t.Context(), core.AuthorizeRequest{Tenant: "default", Client: "main", Account: account, ReturnTo: back})
	if err != nil {
		t.Fatal(err)
	}
	return a.ConnectURL
}

// consent opens a connect URL and returns where the vendor would send the browser after that.
func consent(t *testing.T, b *http.Client, connect string) *url.URL {
	t.Helper()
	visit := get(t, b, connect)
	if visit.StatusCode != http.StatusSeeOther {
		t.Fatalf("%s: %d %s", connect, visit.StatusCode, visit.text)
	}
	page, err := visit.Location()
	if err != nil {
		t.Fatal(err)
	}
	back, err := url.Parse(page.Query().Get("redirect_uri"))
	if err != nil {
		t.Fatal(err)
	}
	back.RawQuery = url.Values{"code": {canary}, "state": {page.Query().Get("state")}}.Encode()
	return back
}

func TestConnectFlow(t *testing.T) {
	m, s, log := whole(t)
	b := browser(t)
	connect := authorize(t, m, "alice", "")
	back := consent(t, b, connect)
	end := get(t, b, back.String())
	if end.StatusCode != http.StatusSeeOther || end.Header.Get("Location") != "/connect/done?status=connected" {
		t.Fatalf("%d to %q: %s", end.StatusCode, end.Header.Get("Location"), end.text)
	}
	g, err := m.Grant(t.Context(), core.Selector{Tenant: "default", Client: "main", Account: "alice"})
	if err != nil || g.State != core.Active {
		t.Errorf("grant %+v, %v", g, err)
	}
	if again := get(t, b, back.String()); again.StatusCode < 400 {
		t.Errorf("the answer was taken twice: %d to %q", again.StatusCode, again.Header.Get("Location"))
	}
	if used := get(t, b, connect); used.StatusCode < 400 {
		t.Errorf("the spent ticket opens: %d", used.StatusCode)
	}
	console := get(t, b, "http://"+s.AdminAddr().String()+"/")
	for _, want := range []string{"alice", "active", "token.issued", "<b>1</b> grants"} {
		if !strings.Contains(console.text, want) {
			t.Errorf("the console lacks %q", want)
		}
	}
	for what, text := range map[string]string{"log": log.String(), "console": console.text} {
		if strings.Contains(text, canary) || strings.Contains(text, back.Query().Get("state")) {
			t.Errorf("the %s holds a secret: %s", what, text)
		}
	}
}

func TestConnectFlowReturnsToTheService(t *testing.T) {
	m, _, _ := whole(t)
	b := browser(t)
	end := get(t, b, consent(t, b, authorize(t, m, "alice", returnTo)).String())
	want := fmt.Sprintf("%s?grant=%s&status=connected", returnTo, core.GrantID("default", "main", "alice"))
	if got := end.Header.Get("Location"); got != want {
		t.Errorf("went to %q, want %q", got, want)
	}
}

func TestDeniedConsentIsSaid(t *testing.T) {
	m, _, _ := whole(t)
	b := browser(t)
	back := consent(t, b, authorize(t, m, "alice", ""))
	query := back.Query()
	query.Del("code")
	query.Set("error", "access_denied")
	back.RawQuery = query.Encode()
	end := get(t, b, back.String())
	if end.StatusCode != http.StatusSeeOther {
		t.Fatalf("%d %s", end.StatusCode, end.text)
	}
	if done := get(t, b, "http://"+back.Host+end.Header.Get("Location")); !strings.Contains(done.text, "Access was not granted") {
		t.Errorf("%s: %s", end.Header.Get("Location"), done.text)
	}
}

func TestTwoGrantsInOneBrowser(t *testing.T) {
	m, _, _ := whole(t)
	b := browser(t)
	first := consent(t, b, authorize(t, m, "alice", ""))
	second := consent(t, b, authorize(t, m, "bob", ""))
	for _, back := range []*url.URL{first, second} {
		if end := get(t, b, back.String()); end.Header.Get("Location") != "/connect/done?status=connected" {
			t.Errorf("%d %s", end.StatusCode, end.text)
		}
	}
}

func TestEarlierTabOfOneGrantCanStillFinish(t *testing.T) {
	m, _, _ := whole(t)
	b := browser(t)
	connect := authorize(t, m, "alice", "")
	first := consent(t, b, connect)
	consent(t, b, connect)
	if end := get(t, b, first.String()); end.Header.Get("Location") != "/connect/done?status=connected" {
		t.Errorf("%d %s", end.StatusCode, end.text)
	}
}

func TestAnswerInAnotherBrowserIsRefusedAndSpendsNothing(t *testing.T) {
	m, _, _ := whole(t)
	b := browser(t)
	back := consent(t, b, authorize(t, m, "alice", ""))
	stolen := get(t, browser(t), back.String())
	if stolen.StatusCode < 400 || stolen.StatusCode >= 500 || strings.Contains(stolen.text, canary) {
		t.Errorf("%d %s", stolen.StatusCode, stolen.text)
	}
	if end := get(t, b, back.String()); end.Header.Get("Location") != "/connect/done?status=connected" {
		t.Errorf("the right browser: %d %s", end.StatusCode, end.text)
	}
}

func TestUnknownTicketAndStateAreRefused(t *testing.T) {
	_, s, _ := whole(t)
	b, base := browser(t), "http://"+s.PublicAddr().String()
	unknown := core.GrantID("default", "main", "nobody") + "." + strings.Repeat("x", 43)
	for _, path := range []string{"/connect/" + unknown, "/oauth/callback/main?code=x&state=" + unknown, "/oauth/callback/main", "/oauth/callback/other?code=x&state=" + unknown} {
		if a := get(t, b, base+path); a.StatusCode < 400 || a.StatusCode >= 500 {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.text)
		}
	}
}
