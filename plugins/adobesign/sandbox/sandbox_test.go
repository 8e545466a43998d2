package sandbox_test

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esignd/esignd/plugins/adobesign/sandbox"
	"github.com/esignd/esignd/plugins/consent"
	at "github.com/esignd/esignd/plugins/sdk/authserver/authservertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	callback = "http://127.0.0.1:9/callback"
	scope    = "agreement_send:account user_login:self"
	state    = "state-1"
)

func start(t testing.TB, cfg sandbox.Config) *sandbox.Server {
	t.Helper()
	return at.Run(sandbox.New(cfg))(t)
}

func query(s *sandbox.Server) url.Values {
	id, _ := s.Client()
	return at.Params("response_type", "code", "client_id", id, "redirect_uri", callback, "scope", scope, "state", state)
}

// authorize opens the consent page and answers it.
func authorize(t testing.TB, s *sandbox.Server, path string, q url.Values, accept bool) url.Values {
	t.Helper()
	u, err := consent.Consent(t.Context(), at.Client(), s.URL()+path+"?"+q.Encode(), accept)
	if err != nil {
		t.Fatal(err)
	}
	if got := u.Scheme + "://" + u.Host + u.Path; got != callback {
		t.Fatalf("redirected to %s", got)
	}
	return u.Query()
}

func exchangeParams(t testing.TB, s *sandbox.Server) url.Values {
	id, secret := s.Client()
	code := authorize(t, s, "/public/oauth/v2", query(s), true).Get("code")
	return at.Params("grant_type", "authorization_code", "code", code, "client_id", id, "client_secret", secret,
		"redirect_uri", callback)
}

func refreshParams(s *sandbox.Server, token string) url.Values {
	id, secret := s.Client()
	return at.Params("grant_type", "refresh_token", "refresh_token", token, "client_id", id, "client_secret", secret)
}

func connect(t testing.TB, s *sandbox.Server) (access, refresh string) {
	t.Helper()
	a := at.Do(t, at.Form(t, s.URL()+"/oauth/v2/token", exchangeParams(t, s)))
	if a.Status != http.StatusOK {
		t.Fatalf("exchange: %d %s", a.Status, a.Text("error"))
	}
	return a.Text("access_token"), a.Text("refresh_token")
}

func live(t testing.TB, s *sandbox.Server, access string) bool {
	return at.Do(t, at.Get(t, s.URL()+"/api/rest/v6/users/me", access)).Status == http.StatusOK
}

func TestExchangeAnswersTokensAndAccessPoints(t *testing.T) {
	s := start(t, sandbox.Config{})
	a := at.Do(t, at.Form(t, s.URL()+"/oauth/v2/token", exchangeParams(t, s)))
	if a.Status != http.StatusOK || a.Text("token_type") != "Bearer" || a.Number("expires_in") != 3600 {
		t.Errorf("status %d, type %q, expires_in %d", a.Status, a.Text("token_type"), a.Number("expires_in"))
	}
	if !strings.HasSuffix(a.Text("refresh_token"), "*") {
		t.Error("a refresh token of Adobe's may end in *, and this one does not")
	}
	if a.Text("api_access_point") != s.URL()+"/" || a.Text("web_access_point") != s.URL()+"/" {
		t.Errorf("access points %q %q", a.Text("api_access_point"), a.Text("web_access_point"))
	}
	if a.Header.Get("Cache-Control") != "no-store" {
		t.Error("a token answer may be cached")
	}
	me := at.Do(t, at.Get(t, s.URL()+"/api/rest/v6/users/me", a.Text("access_token")))
	if me.Status != http.StatusOK || me.Text("email") != "person@sandbox.example" {
		t.Errorf("users/me: %d %q", me.Status, me.Text("email"))
	}
	base := at.Do(t, at.Get(t, s.URL()+"/api/rest/v6/baseUris", a.Text("access_token")))
	if base.Text("apiAccessPoint") != s.URL()+"/" {
		t.Errorf("baseUris: %v", base.JSON)
	}
}

func TestExchangeRefuses(t *testing.T) {
	s := start(t, sandbox.Config{})
	target := s.URL() + "/oauth/v2/token"
	for name, c := range map[string]struct {
		request func(url.Values) *http.Request
		status  int
		code    string
	}{
		"parameters in the URL": {func(v url.Values) *http.Request { return at.InURL(t, target, v) }, 400, "invalid_request"},
		"JSON":                  {func(v url.Values) *http.Request { return at.JSON(t, target, v) }, 400, "invalid_request"},
		"multipart":             {func(v url.Values) *http.Request { return at.Multipart(t, target, v) }, 400, "invalid_request"},
		"repeated parameter": {func(v url.Values) *http.Request {
			v.Add("code", "again")
			return at.Form(t, target, v)
		}, 400, "invalid_request"},
		"wrong client":       {with(t, target, "client_id", "other"), 401, "invalid_client"},
		"wrong secret":       {with(t, target, "client_secret", "other"), 401, "invalid_client"},
		"no secret":          {with(t, target, "client_secret", ""), 400, "invalid_request"},
		"no code":            {with(t, target, "code", ""), 400, "invalid_request"},
		"no redirect_uri":    {with(t, target, "redirect_uri", ""), 400, "invalid_request"},
		"wrong grant type":   {with(t, target, "grant_type", "password"), 400, "unsupported_grant_type"},
		"client credentials": {with(t, target, "grant_type", "client_credentials"), 400, "unsupported_grant_type"},
		"wrong code":         {with(t, target, "code", "other"), 400, "invalid_grant"},
		"other redirect_uri": {with(t, target, "redirect_uri", callback+"2"), 400, "invalid_grant"},
	} {
		t.Run(name, func(t *testing.T) {
			p := exchangeParams(t, s)
			a := at.Do(t, c.request(p))
			if a.Status != c.status || a.Text("error") != c.code {
				t.Errorf("answered %d %q, want %d %q", a.Status, a.Text("error"), c.status, c.code)
			}
			for secret := range p {
				if v := p.Get(secret); len(v) > 20 && secret != "grant_type" && strings.Contains(a.Body, v) {
					t.Errorf("the answer repeats %s", secret)
				}
			}
		})
	}
}

func with(t *testing.T, target, name, value string) func(url.Values) *http.Request {
	return func(v url.Values) *http.Request { return at.Form(t, target, at.With(v, name, value)) }
}

func TestCodeWorksOnceAndForFiveMinutes(t *testing.T) {
	clock := at.NewClock()
	s := start(t, sandbox.Config{Now: clock.Now})
	p := exchangeParams(t, s)
	late := exchangeParams(t, s)
	if a := at.Do(t, at.Form(t, s.URL()+"/oauth/v2/token", p)); a.Status != http.StatusOK {
		t.Fatalf("first exchange: %d", a.Status)
	}
	if a := at.Do(t, at.Form(t, s.URL()+"/oauth/v2/token", p)); a.Text("error") != "invalid_grant" {
		t.Errorf("second exchange: %d %q", a.Status, a.Text("error"))
	}
	if n := s.Stats().CodesPresentedAgain; n != 1 {
		t.Errorf("counted %d", n)
	}
	clock.Advance(5 * time.Minute)
	if a := at.Do(t, at.Form(t, s.URL()+"/oauth/v2/token", late)); a.Text("error") != "invalid_grant" {
		t.Errorf("late exchange: %d %q", a.Status, a.Text("error"))
	}
}

func TestRefreshAnswersAnAccessTokenOnly(t *testing.T) {
	s := start(t, sandbox.Config{})
	_, refresh := connect(t, s)
	a := at.Do(t, at.Form(t, s.URL()+"/oauth/v2/refresh", refreshParams(s, refresh)))
	if a.Status != http.StatusOK || len(a.JSON) != 3 || !live(t, s, a.Text("access_token")) {
		t.Errorf("status %d with %d members", a.Status, len(a.JSON))
	}
}

func TestRefreshRefuses(t *testing.T) {
	s := start(t, sandbox.Config{})
	access, refresh := connect(t, s)
	target := s.URL() + "/oauth/v2/refresh"
	for name, c := range map[string]struct {
		request *http.Request
		code    string
	}{
		"at the token endpoint": {at.Form(t, s.URL()+"/oauth/v2/token", refreshParams(s, refresh)), "unsupported_grant_type"},
		"in the URL":            {at.InURL(t, target, refreshParams(s, refresh)), "invalid_request"},
		"JSON":                  {at.JSON(t, target, refreshParams(s, refresh)), "invalid_request"},
		"no token":              {at.Form(t, target, refreshParams(s, "")), "invalid_request"},
		"wrong token":           {at.Form(t, target, refreshParams(s, "other*")), "invalid_grant"},
		"an access token":       {at.Form(t, target, refreshParams(s, access)), "invalid_grant"},
		"wrong secret":          {at.Form(t, target, at.With(refreshParams(s, refresh), "client_secret", "x")), "invalid_client"},
	} {
		if a := at.Do(t, c.request); a.Text("error") != c.code {
			t.Errorf("%s: %d %q, want %q", name, a.Status, a.Text("error"), c.code)
		}
	}
	if n := s.Stats().Issued["refresh_token"]; n != 0 {
		t.Errorf("%d refreshes were answered", n)
	}
}

func TestLifetimesSlide(t *testing.T) {
	clock := at.NewClock()
	s := start(t, sandbox.Config{Now: clock.Now})
	access, refresh := connect(t, s)
	clock.Advance(59*time.Minute + 59*time.Second)
	if !live(t, s, access) {
		t.Error("the access token died before its hour")
	}
	clock.Advance(time.Second)
	if live(t, s, access) {
		t.Error("the access token outlived its hour")
	}
	for range 4 {
		clock.Advance(59 * 24 * time.Hour)
		if a := at.Do(t, at.Form(t, s.URL()+"/oauth/v2/refresh", refreshParams(s, refresh))); a.Status != http.StatusOK {
			t.Fatalf("refresh after 59 days: %d", a.Status)
		}
	}
	clock.Advance(60 * 24 * time.Hour)
	if a := at.Do(t, at.Form(t, s.URL()+"/oauth/v2/refresh", refreshParams(s, refresh))); a.Text("error") != "invalid_grant" {
		t.Errorf("refresh after 60 days: %d %q", a.Status, a.Text("error"))
	}
}

func TestRevokingEitherTokenEndsThePair(t *testing.T) {
	s := start(t, sandbox.Config{})
	other, _ := connect(t, s)
	for _, which := range []string{"access", "refresh"} {
		access, refresh := connect(t, s)
		second := at.Do(t, at.Form(t, s.URL()+"/oauth/v2/refresh", refreshParams(s, refresh))).Text("access_token")
		token := map[string]string{"access": access, "refresh": refresh}[which]
		a := at.Do(t, at.Form(t, s.URL()+"/oauth/v2/revoke", at.Params("token", token)))
		if a.Status != http.StatusOK || a.Body != "" {
			t.Fatalf("revoke %s: %d, %d bytes", which, a.Status, len(a.Body))
		}
		if live(t, s, access) || live(t, s, second) {
			t.Errorf("revoking the %s token left an access token alive", which)
		}
		if r := at.Do(t, at.Form(t, s.URL()+"/oauth/v2/refresh", refreshParams(s, refresh))); r.Text("error") != "invalid_grant" {
			t.Errorf("revoking the %s token left the refresh token alive", which)
		}
		if again := at.Do(t, at.Form(t, s.URL()+"/oauth/v2/revoke", at.Params("token", token))); again.Text("code") != "EXPIRED_TOKEN" {
			t.Errorf("revoke again: %d %q", again.Status, again.Text("code"))
		}
	}
	if !live(t, s, other) {
		t.Error("another grant of the same person died with it")
	}
	if n := s.Stats().Revocations; n != 2 {
		t.Errorf("counted %d revocations", n)
	}
}

func TestRevokeRefuses(t *testing.T) {
	clock := at.NewClock()
	s := start(t, sandbox.Config{Now: clock.Now})
	access, refresh := connect(t, s)
	clock.Advance(2 * time.Hour)
	target := s.URL() + "/oauth/v2/revoke"
	for name, c := range map[string]struct {
		request *http.Request
		code    string
	}{
		"no token":       {at.Form(t, target, url.Values{}), "INVALID_REQUEST"},
		"in the URL":     {at.InURL(t, target, at.Params("token", refresh)), "INVALID_REQUEST"},
		"never issued":   {at.Form(t, target, at.Params("token", "other")), "INVALID_TOKEN"},
		"expired access": {at.Form(t, target, at.Params("token", access)), "EXPIRED_TOKEN"},
	} {
		if a := at.Do(t, c.request); a.Status != http.StatusBadRequest || a.Text("code") != c.code {
			t.Errorf("%s: %d %q, want %q", name, a.Status, a.Text("code"), c.code)
		}
	}
	if a := at.Do(t, at.Form(t, s.URL()+"/oauth/v2/refresh", refreshParams(s, refresh))); a.Status != http.StatusOK {
		t.Error("a refused revocation ended the grant")
	}
}

func TestAPIRefusesDeadTokens(t *testing.T) {
	s := start(t, sandbox.Config{})
	access, refresh := connect(t, s)
	for name, c := range map[string]struct{ token, code string }{
		"none":            {"", "NO_AUTHORIZATION_HEADER"},
		"never issued":    {"other", "INVALID_ACCESS_TOKEN"},
		"a refresh token": {refresh, "INVALID_ACCESS_TOKEN"},
	} {
		a := at.Do(t, at.Get(t, s.URL()+"/api/rest/v6/users/me", c.token))
		if a.Status != http.StatusUnauthorized || a.Text("code") != c.code {
			t.Errorf("%s: %d %q", name, a.Status, a.Text("code"))
		}
	}
	if err := s.ExpireAccessTokens(); err != nil {
		t.Fatal(err)
	}
	if live(t, s, access) {
		t.Error("an expired token is taken")
	}
}

func TestPersonRevokesTheApplication(t *testing.T) {
	s := start(t, sandbox.Config{Account: "a@sandbox.example"})
	access, refresh := connect(t, s)
	if n, err := s.RevokeByUser("b@sandbox.example"); n != 0 || err != nil {
		t.Errorf("ended %d grants of somebody else, %v", n, err)
	}
	if n, err := s.RevokeByUser("a@sandbox.example"); n != 1 || err != nil {
		t.Errorf("ended %d grants, %v", n, err)
	}
	if live(t, s, access) {
		t.Error("the access token lives on")
	}
	if a := at.Do(t, at.Form(t, s.URL()+"/oauth/v2/refresh", refreshParams(s, refresh))); a.Text("error") != "invalid_grant" {
		t.Errorf("refresh: %d %q", a.Status, a.Text("error"))
	}
}

func TestNewClientSecretRefusesTheOldOne(t *testing.T) {
	s := start(t, sandbox.Config{})
	_, refresh := connect(t, s)
	old := refreshParams(s, refresh)
	s.SetClientSecret("rotated")
	if a := at.Do(t, at.Form(t, s.URL()+"/oauth/v2/refresh", old)); a.Text("error") != "invalid_client" {
		t.Errorf("old secret: %d %q", a.Status, a.Text("error"))
	}
	if a := at.Do(t, at.Form(t, s.URL()+"/oauth/v2/refresh", refreshParams(s, refresh))); a.Status != http.StatusOK {
		t.Errorf("new secret: %d", a.Status)
	}
}

func TestThrottlingAsAdobeWordsIt(t *testing.T) {
	s := start(t, sandbox.Config{})
	_, refresh := connect(t, s)
	s.ThrottleNext(1, 90*time.Second)
	a := at.Do(t, at.Form(t, s.URL()+"/oauth/v2/refresh", refreshParams(s, refresh)))
	if a.Status != 429 || a.Header.Get("Retry-After") != "90" || a.Number("retryAfter") != 90 {
		t.Errorf("%d, Retry-After %q, retryAfter %d", a.Status, a.Header.Get("Retry-After"), a.Number("retryAfter"))
	}
	if a := at.Do(t, at.Form(t, s.URL()+"/oauth/v2/refresh", refreshParams(s, refresh))); a.Status != 200 {
		t.Errorf("after it: %d", a.Status)
	}
}

func TestRestartedSandboxKnowsItsTokens(t *testing.T) {
	file := filepath.Join(t.TempDir(), "adobesign.json")
	first := start(t, sandbox.Config{StateFile: file})
	access, refresh := connect(t, first)
	url := first.URL()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := start(t, sandbox.Config{StateFile: file})
	if second.URL() != url {
		t.Errorf("moved from %s to %s: grants name the old address", url, second.URL())
	}
	if !live(t, second, access) {
		t.Error("the access token is forgotten")
	}
	if a := at.Do(t, at.Form(t, second.URL()+"/oauth/v2/refresh", refreshParams(second, refresh))); a.Status != 200 {
		t.Errorf("refresh: %d", a.Status)
	}
}

func TestSettingsPointHere(t *testing.T) {
	s := start(t, sandbox.Config{})
	got := s.Settings()
	if got["web_url"] != s.URL() || got["api_url"] != s.URL() || got["oauth_version"] != "v2" || len(got) != 3 {
		t.Errorf("%v", got)
	}
}
