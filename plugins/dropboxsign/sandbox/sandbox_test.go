package sandbox_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esignd/esignd/plugins/consent"
	"github.com/esignd/esignd/plugins/dropboxsign/sandbox"
	at "github.com/esignd/esignd/plugins/sdk/authserver/authservertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	callback = "http://127.0.0.1:9/callback"
	state    = "state-1"
)

func start(t testing.TB, cfg sandbox.Config) *sandbox.Server {
	t.Helper()
	return at.Run(sandbox.New(cfg))(t)
}

func query(s *sandbox.Server) url.Values {
	id, _ := s.Client()
	return at.Params("response_type", "code", "client_id", id, "redirect_uri", callback, "state", state)
}

func authorize(t testing.TB, s *sandbox.Server, q url.Values, accept bool) url.Values {
	t.Helper()
	u, err := consent.Consent(t.Context(), at.Client(), s.URL()+"/oauth/authorize?"+q.Encode(), accept)
	if err != nil {
		t.Fatal(err)
	}
	if got := u.Scheme + "://" + u.Host + u.Path; got != callback {
		t.Fatalf("redirected to %s", got)
	}
	return u.Query()
}

func exchangeParams(t testing.TB, s *sandbox.Server) url.Values {
	t.Helper()
	id, secret := s.Client()
	return at.Params("grant_type", "authorization_code", "code", authorize(t, s, query(s), true).Get("code"),
		"state", state, "client_id", id, "client_secret", secret)
}

func refreshParams(s *sandbox.Server, token string) url.Values {
	id, secret := s.Client()
	return at.Params("grant_type", "refresh_token", "refresh_token", token, "client_id", id, "client_secret", secret)
}

func connect(t testing.TB, s *sandbox.Server) (access, refresh string) {
	t.Helper()
	a := at.Do(t, at.JSON(t, s.URL()+"/oauth/token", exchangeParams(t, s)))
	if a.Status != http.StatusOK {
		t.Fatalf("exchange: %d %s", a.Status, a.Text("error"))
	}
	return a.Text("access_token"), a.Text("refresh_token")
}

func live(t testing.TB, s *sandbox.Server, access string) bool {
	return at.Do(t, at.Get(t, s.URL()+"/v3/account", access)).Status == http.StatusOK
}

func TestExchangeTakesEveryEncodingThatWorks(t *testing.T) {
	s := start(t, sandbox.Config{})
	for name, encode := range map[string]func(testing.TB, string, url.Values) *http.Request{
		"JSON": at.JSON, "form": at.Form, "multipart": at.Multipart,
	} {
		a := at.Do(t, encode(t, s.URL()+"/oauth/token", exchangeParams(t, s)))
		if a.Status != http.StatusOK || a.Text("token_type") != "Bearer" || a.Number("expires_in") != 3600 {
			t.Errorf("%s: %d, type %q, expires_in %d", name, a.Status, a.Text("token_type"), a.Number("expires_in"))
		}
		if a.Text("state") != state || len(a.Text("account_id")) != 40 {
			t.Errorf("%s: state %q, account_id of %d", name, a.Text("state"), len(a.Text("account_id")))
		}
		if !live(t, s, a.Text("access_token")) {
			t.Errorf("%s: the access token does not work", name)
		}
	}
}

func TestDenialIsTheStateAlone(t *testing.T) {
	s := start(t, sandbox.Config{})
	q := authorize(t, s, query(s), false)
	if len(q) != 1 || q.Get("state") != state {
		t.Errorf("redirect parameters: %v", q)
	}
	if st := s.Stats(); st.ConsentsDenied != 1 || st.ConsentsAccepted != 0 {
		t.Errorf("counted %d denied, %d accepted", st.ConsentsDenied, st.ConsentsAccepted)
	}
}

func TestRedirectURIMayBeLeftOutWhereOneIsRegistered(t *testing.T) {
	s := start(t, sandbox.Config{RedirectURIs: []string{callback}})
	if q := authorize(t, s, at.With(query(s), "redirect_uri", ""), true); !q.Has("code") {
		t.Errorf("redirect parameters: %v", q)
	}
}

func TestAuthorizeShowsWhatIsWrong(t *testing.T) {
	s := start(t, sandbox.Config{})
	for name, q := range map[string]url.Values{
		"unknown client":          at.With(query(s), "client_id", "other"),
		"no redirect, none known": at.With(query(s), "redirect_uri", ""),
		"foreign redirect":        at.With(query(s), "redirect_uri", "https://evil.example/"),
		"response type":           at.With(query(s), "response_type", "token"),
		"no state":                at.With(query(s), "state", ""),
		"repeated":                {"state": {"a", "b"}},
	} {
		a := at.Do(t, at.Get(t, s.URL()+"/oauth/authorize?"+q.Encode(), ""))
		if a.Status != http.StatusBadRequest || a.Header.Get("Location") != "" {
			t.Errorf("%s: status %d, redirected to %q", name, a.Status, a.Header.Get("Location"))
		}
	}
}

func TestExchangeRefuses(t *testing.T) {
	s := start(t, sandbox.Config{})
	target := s.URL() + "/oauth/token"
	with := func(name, value string) func(url.Values) *http.Request {
		return func(v url.Values) *http.Request { return at.JSON(t, target, at.With(v, name, value)) }
	}
	for name, c := range map[string]struct {
		request func(url.Values) *http.Request
		status  int
		code    string
	}{
		"parameters in the URL":   {func(v url.Values) *http.Request { return at.InURL(t, target, v) }, 400, "invalid_request"},
		"at the refresh endpoint": {func(v url.Values) *http.Request { return at.JSON(t, target+"?refresh", v) }, 400, "unsupported_grant_type"},
		"Basic authentication": {func(v url.Values) *http.Request {
			r := at.JSON(t, target, at.With(at.With(v, "client_id", ""), "client_secret", ""))
			r.SetBasicAuth(s.Client())
			return r
		}, 400, "invalid_request"},
		"Basic as well": {func(v url.Values) *http.Request {
			r := at.JSON(t, target, v)
			r.SetBasicAuth(s.Client())
			return r
		}, 400, "invalid_request"},
		"plain text": {func(v url.Values) *http.Request {
			r := at.Form(t, target, v)
			r.Header.Set("Content-Type", "text/plain")
			return r
		}, 400, "invalid_request"},
		"redirect_uri":     {with("redirect_uri", callback), 400, "invalid_request"},
		"wrong client":     {with("client_id", "other"), 400, "invalid_request"},
		"wrong secret":     {with("client_secret", "other"), 401, "invalid_client"},
		"no secret":        {with("client_secret", ""), 400, "invalid_request"},
		"no code":          {with("code", ""), 400, "invalid_request"},
		"no state":         {with("state", ""), 400, "invalid_request"},
		"other state":      {with("state", "other"), 400, "invalid_request"},
		"wrong code":       {with("code", "other"), 400, "invalid_request"},
		"wrong grant type": {with("grant_type", "client_credentials"), 400, "unsupported_grant_type"},
	} {
		t.Run(name, func(t *testing.T) {
			a := at.Do(t, c.request(exchangeParams(t, s)))
			if a.Status != c.status || a.Text("error") != c.code {
				t.Errorf("answered %d %q, want %d %q", a.Status, a.Text("error"), c.status, c.code)
			}
		})
	}
}

func TestEmptyBasicHeaderOfTheVendorsExamplesIsTaken(t *testing.T) {
	s := start(t, sandbox.Config{})
	r := at.JSON(t, s.URL()+"/oauth/token", exchangeParams(t, s))
	r.Header.Set("Authorization", "Basic :")
	if a := at.Do(t, r); a.Status != http.StatusOK {
		t.Errorf("%d %q", a.Status, a.Text("error"))
	}
}

func TestCodeWorksOnceAndForAnHour(t *testing.T) {
	clock := at.NewClock()
	s := start(t, sandbox.Config{Now: clock.Now})
	p, late := exchangeParams(t, s), exchangeParams(t, s)
	clock.Advance(59 * time.Minute)
	if a := at.Do(t, at.JSON(t, s.URL()+"/oauth/token", p)); a.Status != http.StatusOK {
		t.Fatalf("first exchange: %d", a.Status)
	}
	if a := at.Do(t, at.JSON(t, s.URL()+"/oauth/token", p)); a.Text("error") != "invalid_request" {
		t.Errorf("second exchange: %d %q", a.Status, a.Text("error"))
	}
	clock.Advance(time.Minute)
	if a := at.Do(t, at.JSON(t, s.URL()+"/oauth/token", late)); a.Text("error") != "invalid_request" {
		t.Errorf("late exchange: %d %q", a.Status, a.Text("error"))
	}
}

func TestRefreshKeepsTheRefreshToken(t *testing.T) {
	clock := at.NewClock()
	s := start(t, sandbox.Config{Now: clock.Now})
	_, refresh := connect(t, s)
	for range 3 {
		clock.Advance(365 * 24 * time.Hour)
		a := at.Do(t, at.JSON(t, s.URL()+"/oauth/token?refresh", refreshParams(s, refresh)))
		if a.Status != http.StatusOK || a.Text("refresh_token") != refresh || !live(t, s, a.Text("access_token")) {
			t.Fatalf("refresh: %d, same refresh token: %v", a.Status, a.Text("refresh_token") == refresh)
		}
	}
}

func TestRefreshRefuses(t *testing.T) {
	s := start(t, sandbox.Config{})
	access, refresh := connect(t, s)
	target := s.URL() + "/oauth/token?refresh"
	for name, c := range map[string]struct {
		request *http.Request
		code    string
	}{
		"at the exchange endpoint": {at.JSON(t, s.URL()+"/oauth/token", refreshParams(s, refresh)), "unsupported_grant_type"},
		"refresh=1":                {at.JSON(t, target+"=1", refreshParams(s, refresh)), "invalid_request"},
		"no client":                {at.JSON(t, target, at.With(refreshParams(s, refresh), "client_id", "")), "invalid_request"},
		"no token":                 {at.JSON(t, target, refreshParams(s, "")), "invalid_request"},
		"wrong token":              {at.JSON(t, target, refreshParams(s, "other")), "invalid_grant"},
		"an access token":          {at.JSON(t, target, refreshParams(s, access)), "invalid_grant"},
	} {
		a := at.Do(t, c.request)
		if a.Status != http.StatusBadRequest || a.Text("error") != c.code {
			t.Errorf("%s: %d %q, want %q", name, a.Status, a.Text("error"), c.code)
		}
		if c.code == "invalid_grant" && a.Text("error_description") != "Invalid grant data (refresh token)" {
			t.Errorf("%s: described as %q", name, a.Text("error_description"))
		}
	}
}

func TestChangedScopesDropEveryGrant(t *testing.T) {
	s := start(t, sandbox.Config{})
	access, refresh := connect(t, s)
	if n, err := s.SetScopes("account_access"); n != 1 || err != nil {
		t.Fatalf("dropped %d, %v", n, err)
	}
	if live(t, s, access) {
		t.Error("the access token lives on")
	}
	if a := at.Do(t, at.JSON(t, s.URL()+"/oauth/token?refresh", refreshParams(s, refresh))); a.Text("error") != "invalid_grant" {
		t.Errorf("refresh: %d %q", a.Status, a.Text("error"))
	}
}

func TestThereIsNoRevocation(t *testing.T) {
	s := start(t, sandbox.Config{})
	access, _ := connect(t, s)
	if a := at.Do(t, at.Form(t, s.URL()+"/oauth/revoke", at.Params("token", access))); a.Status != http.StatusNotFound {
		t.Errorf("status %d", a.Status)
	}
}

func TestExpiryAsUnixTime(t *testing.T) {
	clock := at.NewClock()
	s := start(t, sandbox.Config{Now: clock.Now, EpochExpiry: true})
	a := at.Do(t, at.JSON(t, s.URL()+"/oauth/token", exchangeParams(t, s)))
	if want := int(clock.Now().Add(time.Hour).Unix()); a.Number("expires_in") != want {
		t.Errorf("expires_in %d, want %d", a.Number("expires_in"), want)
	}
}

func TestAPIRefusesDeadTokensInItsOwnShape(t *testing.T) {
	s := start(t, sandbox.Config{})
	_, refresh := connect(t, s)
	for name, token := range map[string]string{"none": "", "never issued": "other", "a refresh token": refresh} {
		for _, path := range []string{"/v3/account", "/v3/signature_request/list"} {
			a := at.Do(t, at.Get(t, s.URL()+path, token))
			object, _ := a.JSON["error"].(map[string]any)
			if a.Status != http.StatusUnauthorized || object["error_name"] != "unauthorized" {
				t.Errorf("%s, %s: %d %v", name, path, a.Status, object["error_name"])
			}
		}
		r := at.JSON(t, s.URL()+"/v3/signature_request/send", at.Params("title", "NDA"))
		r.Header.Set("Authorization", "Bearer "+token)
		if a := at.Do(t, r); a.Status != http.StatusUnauthorized {
			t.Errorf("%s, send: %d", name, a.Status)
		}
	}
}

func TestSignatureRequestsBelongToTheirSender(t *testing.T) {
	s := start(t, sandbox.Config{})
	access, _ := connect(t, s)
	send := func(r *http.Request) at.Answer {
		r.Header.Set("Authorization", "Bearer "+access)
		return at.Do(t, r)
	}
	target := s.URL() + "/v3/signature_request/send"
	if a := send(at.Multipart(t, target, at.Params("title", "NDA", "signers[0][email_address]", "jack@example.com"))); a.Status != 200 {
		t.Errorf("send: %d", a.Status)
	}
	if a := send(at.Multipart(t, target, at.Params("title", "NDA"))); a.Status != 400 {
		t.Errorf("send to nobody: %d", a.Status)
	}
	a := at.Do(t, at.Get(t, s.URL()+"/v3/signature_request/list", access))
	if list, _ := a.JSON["signature_requests"].([]any); len(list) != 1 {
		t.Errorf("listed %d", len(list))
	}
	u, err := consent.As(t.Context(), at.Client(), s.URL()+"/oauth/authorize?"+query(s).Encode(), "other@example.com", true)
	if err != nil {
		t.Fatal(err)
	}
	other := at.Do(t, at.JSON(t, s.URL()+"/oauth/token", at.With(exchangeParams(t, s), "code", u.Query().Get("code"))))
	a = at.Do(t, at.Get(t, s.URL()+"/v3/signature_request/list", other.Text("access_token")))
	if list, _ := a.JSON["signature_requests"].([]any); len(list) != 0 || a.Status != 200 {
		t.Errorf("somebody else sees %d", len(list))
	}
}

func TestThrottlingHasNoRetryAfter(t *testing.T) {
	clock := at.NewClock()
	s := start(t, sandbox.Config{Now: clock.Now})
	_, refresh := connect(t, s)
	s.ThrottleNext(1, time.Minute)
	a := at.Do(t, at.JSON(t, s.URL()+"/oauth/token?refresh", refreshParams(s, refresh)))
	if a.Status != 429 || a.Header.Get("Retry-After") != "" || a.Header.Get("X-RateLimit-Reset") == "" {
		t.Errorf("%d, headers %v", a.Status, a.Header)
	}
	if !strings.Contains(a.Body, "exceeded_rate") {
		t.Error("no exceeded_rate in the body")
	}
}

func TestRotationEndsTheGrantOnReuse(t *testing.T) {
	s := start(t, sandbox.Config{Rotate: true})
	_, refresh := connect(t, s)
	next := at.Do(t, at.JSON(t, s.URL()+"/oauth/token?refresh", refreshParams(s, refresh))).Text("refresh_token")
	if next == refresh || next == "" {
		t.Fatal("not rotated")
	}
	for _, token := range []string{refresh, next} {
		if a := at.Do(t, at.JSON(t, s.URL()+"/oauth/token?refresh", refreshParams(s, token))); a.Text("error") != "invalid_grant" {
			t.Errorf("%d %q", a.Status, a.Text("error"))
		}
	}
}
