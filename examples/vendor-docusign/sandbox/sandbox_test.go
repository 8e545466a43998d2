package sandbox_test

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esignd/esignd/examples/vendor-docusign/sandbox"
	"github.com/esignd/esignd/plugins/consent"
	at "github.com/esignd/esignd/plugins/sdk/authserver/authservertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	callback = "http://127.0.0.1:9/callback"
	day      = 24 * time.Hour
	// The verifier and challenge of RFC 7636, appendix B.
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

func start(t testing.TB, cfg sandbox.Config) *sandbox.Server {
	t.Helper()
	s, err := sandbox.New(cfg)
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func query(s *sandbox.Server) url.Values {
	id, _ := s.Client()
	return at.Params("response_type", "code", "client_id", id, "redirect_uri", callback, "scope", "signature extended",
		"state", "st", "code_challenge", challenge, "code_challenge_method", "S256")
}

func authorize(t testing.TB, s *sandbox.Server, q url.Values, accept bool) url.Values {
	t.Helper()
	u, err := consent.Consent(t.Context(), at.Client(), s.URL()+"/oauth/auth?"+q.Encode(), accept)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

func exchangeParams(t testing.TB, s *sandbox.Server) url.Values {
	t.Helper()
	return at.Params("grant_type", "authorization_code", "code", authorize(t, s, query(s), true).Get("code"), "code_verifier", verifier)
}

func refreshParams(token string) url.Values {
	return at.Params("grant_type", "refresh_token", "refresh_token", token)
}

// proven adds the client's Basic credentials, form-encoded.
func proven(s *sandbox.Server, r *http.Request) *http.Request {
	id, secret := s.Client()
	r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	return r
}

func ask(t testing.TB, s *sandbox.Server, v url.Values) at.Answer {
	t.Helper()
	return at.Do(t, proven(s, at.Form(t, s.URL()+"/oauth/token", v)))
}

func connect(t testing.TB, s *sandbox.Server) at.Answer {
	t.Helper()
	a := ask(t, s, exchangeParams(t, s))
	if a.Status != http.StatusOK || a.Number("expires_in") != 28800 || a.Text("token_type") != "Bearer" || a.Text("refresh_token") == "" {
		t.Fatalf("exchange: %d, expires_in %d", a.Status, a.Number("expires_in"))
	}
	return a
}

func userinfo(t testing.TB, s *sandbox.Server, access string) at.Answer {
	t.Helper()
	return at.Do(t, at.Get(t, s.URL()+"/oauth/userinfo", access))
}

func TestUserinfoNamesTheDefaultAccountThatTheAPIServes(t *testing.T) {
	s := start(t, sandbox.Config{})
	access := connect(t, s).Text("access_token")
	base := func() (account map[string]any) {
		for _, a := range userinfo(t, s, access).JSON["accounts"].([]any) {
			if account = a.(map[string]any); account["is_default"] == true {
				return account
			}
		}
		t.Fatal("there is no default account")
		return nil
	}
	if a := base(); a["base_uri"] != s.URL() || a["account_id"] != sandbox.AccountID(sandbox.Person) {
		t.Errorf("account %v", a)
	}
	for account, want := range map[string]int{sandbox.AccountID(sandbox.Person): http.StatusOK, sandbox.AccountID("other"): http.StatusBadRequest} {
		if a := at.Do(t, at.Get(t, s.URL()+"/restapi/v2.1/accounts/"+account, access)); a.Status != want {
			t.Errorf("the API answers %d, want %d", a.Status, want)
		}
	}
	s.Move("https://na3.docusign.net")
	if a := base(); a["base_uri"] != "https://na3.docusign.net" {
		t.Errorf("moved: %v", a)
	}
	for _, token := range []string{"", "other"} {
		if a := userinfo(t, s, token); a.Status != http.StatusUnauthorized {
			t.Errorf("without a live token: %d", a.Status)
		}
	}
}

func TestAuthorizeRefuses(t *testing.T) {
	s := start(t, sandbox.Config{})
	for name, q := range map[string]url.Values{
		"unknown client":   at.With(query(s), "client_id", "other"),
		"no redirect":      at.With(query(s), "redirect_uri", ""),
		"foreign redirect": at.With(query(s), "redirect_uri", "https://evil.example/"),
	} {
		a := at.Do(t, at.Get(t, s.URL()+"/oauth/auth?"+q.Encode(), ""))
		if a.Status != http.StatusBadRequest || a.Header.Get("Location") != "" {
			t.Errorf("%s: %d, redirected to %q", name, a.Status, a.Header.Get("Location"))
		}
	}
	for _, tt := range []struct {
		want string
		q    url.Values
	}{
		{"unsupported_response_type", at.With(query(s), "response_type", "token")},
		{"invalid_scope", at.With(query(s), "scope", "")},
		{"invalid_scope", at.With(query(s), "scope", "signature admin")},
		{"invalid_request", at.With(query(s), "code_challenge_method", "plain")},
		{"invalid_request", at.With(query(s), "code_challenge_method", "")},
		{"invalid_request", at.With(query(s), "code_challenge", "short")},
	} {
		if got := authorize(t, s, tt.q, true); got.Get("error") != tt.want || got.Get("state") != "st" {
			t.Errorf("%v, want %s", got, tt.want)
		}
	}
	if got := authorize(t, s, query(s), false); got.Get("error") != "access_denied" || got.Has("code") {
		t.Errorf("denied: %v", got)
	}
}

func TestTokenEndpointRefuses(t *testing.T) {
	s := start(t, sandbox.Config{})
	target := s.URL() + "/oauth/token"
	token := connect(t, s).Text("refresh_token")
	spent := exchangeParams(t, s)
	ask(t, s, spent)
	v := refreshParams(token)
	plain := at.Form(t, target, v)
	id, secret := s.Client()
	plain.SetBasicAuth(id, secret) // not form-encoded
	for _, tt := range []struct {
		name, want string
		r          *http.Request
	}{
		{"no client", "invalid_client", at.Form(t, target, v)},
		{"a client that is not encoded", "invalid_client", plain},
		{"a secret in the body", "invalid_request", proven(s, at.Form(t, target, at.With(v, "client_secret", secret)))},
		{"JSON", "invalid_request", proven(s, at.JSON(t, target, v))},
		{"in the URL", "invalid_request", proven(s, at.InURL(t, target, v))},
		{"no grant type", "unsupported_grant_type", proven(s, at.Form(t, target, at.With(v, "grant_type", "")))},
		{"no code", "invalid_request", proven(s, at.Form(t, target, at.With(spent, "code", "")))},
		{"spent code", "invalid_grant", proven(s, at.Form(t, target, spent))},
		{"no verifier", "invalid_grant", proven(s, at.Form(t, target, at.With(exchangeParams(t, s), "code_verifier", "")))},
		{"wrong verifier", "invalid_grant", proven(s, at.Form(t, target, at.With(exchangeParams(t, s), "code_verifier", challenge)))},
		{"wrong redirect", "invalid_grant", proven(s, at.Form(t, target, at.With(exchangeParams(t, s), "redirect_uri", callback+"2")))},
		{"wrong token", "invalid_grant", proven(s, at.Form(t, target, refreshParams(token+"x")))},
	} {
		a := at.Do(t, tt.r)
		if a.Status/100 != 4 || a.Text("error") != tt.want || strings.Contains(a.Body, token) {
			t.Errorf("%s: %d %q, want %s", tt.name, a.Status, a.Text("error"), tt.want)
		}
	}
}

func TestCodeWithoutAChallengeNeedsNoVerifier(t *testing.T) {
	s := start(t, sandbox.Config{})
	q := at.With(at.With(query(s), "code_challenge", ""), "code_challenge_method", "")
	v := at.Params("grant_type", "authorization_code", "code", authorize(t, s, q, true).Get("code"), "redirect_uri", callback)
	if a := ask(t, s, at.With(v, "code_verifier", verifier)); a.Text("error") != "invalid_grant" {
		t.Errorf("a verifier of nothing: %d", a.Status)
	}
	if a := ask(t, s, v); a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Text("error"))
	}
}

func TestSpentRefreshTokenEndsItsGrant(t *testing.T) {
	s := start(t, sandbox.Config{})
	first := connect(t, s)
	second := ask(t, s, refreshParams(first.Text("refresh_token")))
	if second.Status != http.StatusOK || second.Text("refresh_token") == first.Text("refresh_token") {
		t.Fatalf("refresh: %d", second.Status)
	}
	if a := ask(t, s, refreshParams(first.Text("refresh_token"))); a.Text("error") != "invalid_grant" {
		t.Errorf("the spent token: %d", a.Status)
	}
	if a := ask(t, s, refreshParams(second.Text("refresh_token"))); a.Text("error") != "invalid_grant" {
		t.Errorf("its successor: %d", a.Status)
	}
	if a := userinfo(t, s, second.Text("access_token")); a.Status != http.StatusUnauthorized {
		t.Errorf("its access token: %d", a.Status)
	}
}

func TestRefreshTokensLiveThirtyDaysSinceTheirUse(t *testing.T) {
	clock := at.NewClock()
	s := start(t, sandbox.Config{Now: clock.Now})
	token := connect(t, s).Text("refresh_token")
	for range 3 {
		clock.Advance(29 * day)
		a := ask(t, s, refreshParams(token))
		if token = a.Text("refresh_token"); a.Status != http.StatusOK {
			t.Fatalf("refresh: %d", a.Status)
		}
	}
	clock.Advance(30 * day)
	if a := ask(t, s, refreshParams(token)); a.Text("error") != "invalid_grant" {
		t.Errorf("after 30 idle days: %d", a.Status)
	}
}

func TestStateFileKeepsGrants(t *testing.T) {
	cfg := sandbox.Config{StateFile: filepath.Join(t.TempDir(), "state.json")}
	first := start(t, cfg)
	token := connect(t, first).Text("refresh_token")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if a := ask(t, start(t, cfg), refreshParams(token)); a.Status != http.StatusOK {
		t.Errorf("refresh after a restart: %d", a.Status)
	}
}

func TestNewRefusesAnAddressBeyondTheLoopback(t *testing.T) {
	if _, err := sandbox.New(sandbox.Config{Listen: "0.0.0.0:0"}); err == nil {
		t.Error("it would listen")
	}
}
