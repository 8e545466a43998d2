package sandbox_test

import (
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esignd/esignd/plugins/consent"
	"github.com/esignd/esignd/plugins/esignglobal/sandbox"
	at "github.com/esignd/esignd/plugins/sdk/authserver/authservertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	callback  = "http://127.0.0.1:9/callback"
	state     = "state-1"
	tokenPath = "/esignglobal/v1/oauth2/accessToken"
	day       = 24 * time.Hour
)

func start(t testing.TB, cfg sandbox.Config) *sandbox.Server {
	t.Helper()
	return at.Run(sandbox.New(cfg))(t)
}

func query(s *sandbox.Server) url.Values {
	id, _ := s.Client()
	return at.Params("response_type", "code", "clientId", id, "redirectUri", callback, "scope", "signature stamp", "state", state)
}

func authorize(t testing.TB, s *sandbox.Server, q url.Values, accept bool) url.Values {
	t.Helper()
	u, err := consent.Consent(t.Context(), at.Client(), s.URL()+"/oauth?"+q.Encode(), accept)
	if err != nil {
		t.Fatal(err)
	}
	if got := u.Scheme + "://" + u.Host + u.Path; got != callback {
		t.Fatalf("redirected to %s", got)
	}
	return u.Query()
}

func params(s *sandbox.Server, grantType string, pairs ...string) url.Values {
	id, secret := s.Client()
	return at.Params(append([]string{"client_id", id, "client_secret", secret, "grant_type", grantType}, pairs...)...)
}

func exchangeParams(t testing.TB, s *sandbox.Server) url.Values {
	t.Helper()
	return params(s, "authorization_code", "code", authorize(t, s, query(s), true).Get("code"))
}

func ask(t testing.TB, s *sandbox.Server, v url.Values) at.Answer {
	t.Helper()
	return at.Do(t, at.Multipart(t, s.URL()+tokenPath, v))
}

func refresh(t testing.TB, s *sandbox.Server, token string) at.Answer {
	t.Helper()
	return ask(t, s, params(s, "refresh_token", "refresh_token", token))
}

func connect(t testing.TB, s *sandbox.Server) (access, refreshToken string) {
	t.Helper()
	a := ask(t, s, exchangeParams(t, s))
	if a.Status != http.StatusOK {
		t.Fatalf("exchange: %d %s", a.Status, a.Text("code"))
	}
	return a.Text("access_token"), a.Text("refresh_token")
}

func live(t testing.TB, s *sandbox.Server, access string) bool {
	a := at.Do(t, at.Get(t, s.URL()+"/esignglobal/v1/envelope/envelopeDetail?envelopeId=flow1", access))
	return a.Status == http.StatusOK && a.Text("code") == "0"
}

func refused(a at.Answer) bool {
	_, hasData := a.JSON["data"]
	return a.Status == http.StatusBadRequest && a.Text("code") != "" && a.Text("code") != "0" &&
		a.Text("message") != "" && hasData && a.Text("access_token") == ""
}

func TestExchangeAnswersAUserGrant(t *testing.T) {
	s := start(t, sandbox.Config{})
	a := ask(t, s, exchangeParams(t, s))
	if a.Status != http.StatusOK || a.Text("token_type") != "bearer" || a.Number("expires_in") != 86400 {
		t.Errorf("%d, type %q, expires_in %d", a.Status, a.Text("token_type"), a.Number("expires_in"))
	}
	if a.Text("scope") != "signature stamp" || a.Text("refresh_token") == "" || !live(t, s, a.Text("access_token")) {
		t.Errorf("scope %q, refresh token of %d", a.Text("scope"), len(a.Text("refresh_token")))
	}
}

func TestClientTokenIsSharedWithWhatIsLeftOfIt(t *testing.T) {
	clock := at.NewClock()
	s := start(t, sandbox.Config{Now: clock.Now})
	first := ask(t, s, params(s, "client_credentials"))
	if first.Text("scope") != "read-write" || first.JSON["refresh_token"] != nil || !live(t, s, first.Text("access_token")) {
		t.Errorf("scope %q", first.Text("scope"))
	}
	clock.Advance(2 * time.Second)
	second := ask(t, s, params(s, "client_credentials"))
	if second.Text("access_token") != first.Text("access_token") || second.Number("expires_in") != 86398 {
		t.Errorf("another token, or expires_in %d", second.Number("expires_in"))
	}
	clock.Advance(day)
	third := ask(t, s, params(s, "client_credentials"))
	if third.Text("access_token") == first.Text("access_token") || third.Number("expires_in") != 86400 {
		t.Errorf("the dead token again, or expires_in %d", third.Number("expires_in"))
	}
}

func TestAuthorizeTakesCamelCaseOnly(t *testing.T) {
	s := start(t, sandbox.Config{})
	id, _ := s.Client()
	for name, q := range map[string]url.Values{
		"snake case":       at.Params("response_type", "code", "client_id", id, "redirect_uri", callback, "scope", "signature"),
		"unknown client":   at.With(query(s), "clientId", "other"),
		"no redirect":      at.With(query(s), "redirectUri", ""),
		"foreign redirect": at.With(query(s), "redirectUri", "https://evil.example/"),
	} {
		a := at.Do(t, at.Get(t, s.URL()+"/oauth?"+q.Encode(), ""))
		if a.Status != http.StatusBadRequest || a.Header.Get("Location") != "" {
			t.Errorf("%s: status %d, redirected to %q", name, a.Status, a.Header.Get("Location"))
		}
	}
}

func TestAuthorizeRedirectsOtherErrors(t *testing.T) {
	s := start(t, sandbox.Config{})
	for want, q := range map[string]url.Values{
		"invalid_request": at.With(query(s), "scope", ""),
		"invalid_scope":   at.With(query(s), "scope", "signature admin"),
	} {
		if got := authorize(t, s, q, true); got.Get("error") != want || got.Get("state") != state {
			t.Errorf("%v, want %s", got, want)
		}
	}
	if got := authorize(t, s, query(s), false); got.Get("error") != "access_denied" || got.Has("code") {
		t.Errorf("denied: %v", got)
	}
}

func TestTokenEndpointRefuses(t *testing.T) {
	s := start(t, sandbox.Config{})
	_, token := connect(t, s)
	target := s.URL() + tokenPath
	spent := exchangeParams(t, s)
	ask(t, s, spent)
	cc := params(s, "client_credentials")
	for name, r := range map[string]*http.Request{
		"JSON":             at.JSON(t, target, cc),
		"form":             at.Form(t, target, cc),
		"in the URL":       at.InURL(t, target, cc),
		"redirect_uri":     at.Multipart(t, target, at.With(exchangeParams(t, s), "redirect_uri", callback)),
		"wrong client":     at.Multipart(t, target, at.With(cc, "client_id", "other")),
		"wrong secret":     at.Multipart(t, target, at.With(cc, "client_secret", "other")),
		"no secret":        at.Multipart(t, target, at.With(cc, "client_secret", "")),
		"no grant type":    at.Multipart(t, target, at.With(cc, "grant_type", "")),
		"other grant type": at.Multipart(t, target, at.With(cc, "grant_type", "password")),
		"no code":          at.Multipart(t, target, params(s, "authorization_code")),
		"wrong code":       at.Multipart(t, target, params(s, "authorization_code", "code", "other")),
		"spent code":       at.Multipart(t, target, spent),
		"no refresh token": at.Multipart(t, target, params(s, "refresh_token")),
		"wrong token":      at.Multipart(t, target, params(s, "refresh_token", "refresh_token", token+"x")),
	} {
		if a := at.Do(t, r); !refused(a) {
			t.Errorf("%s: %d, code %q", name, a.Status, a.Text("code"))
		}
	}
}

func TestRefusalMayComeWith200(t *testing.T) {
	s := start(t, sandbox.Config{RefusalStatus: http.StatusOK})
	a := refresh(t, s, "other")
	if a.Status != http.StatusOK || a.Text("code") == "0" || a.Text("access_token") != "" {
		t.Errorf("%d, code %q", a.Status, a.Text("code"))
	}
}

func TestRefreshExtendsThirtyDays(t *testing.T) {
	clock := at.NewClock()
	s := start(t, sandbox.Config{Now: clock.Now})
	_, token := connect(t, s)
	for range 3 {
		clock.Advance(29 * day)
		a := refresh(t, s, token)
		if a.Status != http.StatusOK || a.Text("refresh_token") != token || a.Text("scope") != "signature stamp" {
			t.Fatalf("refresh: %d", a.Status)
		}
	}
	clock.Advance(30 * day)
	if a := refresh(t, s, token); !refused(a) {
		t.Errorf("after 30 idle days: %d", a.Status)
	}
}

func TestConsentEndsAfterAYear(t *testing.T) {
	clock := at.NewClock()
	s := start(t, sandbox.Config{Now: clock.Now})
	_, token := connect(t, s)
	var last at.Answer
	for range 364 / 28 {
		clock.Advance(28 * day)
		if last = refresh(t, s, token); last.Status != http.StatusOK {
			t.Fatalf("refresh: %d", last.Status)
		}
	}
	clock.Advance(12 * time.Hour)
	last = refresh(t, s, token)
	if last.Number("expires_in") != 12*3600 {
		t.Errorf("the last access token outlives the consent: %d s", last.Number("expires_in"))
	}
	clock.Advance(12 * time.Hour)
	if live(t, s, last.Text("access_token")) {
		t.Error("the access token outlives the consent")
	}
	if a := refresh(t, s, token); !refused(a) {
		t.Errorf("refresh after a year: %d", a.Status)
	}
}

func TestReuseOfASpentRefreshTokenEndsTheGrant(t *testing.T) {
	s := start(t, sandbox.Config{Rotate: true})
	access, first := connect(t, s)
	other, _ := connect(t, s)
	a := refresh(t, s, first)
	second := a.Text("refresh_token")
	if a.Status != http.StatusOK || second == first {
		t.Fatalf("rotation: %d", a.Status)
	}
	if a := refresh(t, s, first); !refused(a) {
		t.Errorf("spent token: %d", a.Status)
	}
	if a := refresh(t, s, second); !refused(a) {
		t.Errorf("its successor: %d", a.Status)
	}
	if live(t, s, access) || live(t, s, a.Text("access_token")) {
		t.Error("an access token of the grant lives on")
	}
	if !live(t, s, other) {
		t.Error("another grant died with it")
	}
	if st := s.Stats(); st.RefreshTokensReused != 1 || st.GrantsKilledByReuse != 1 || st.LiveGrants != 1 {
		t.Errorf("reused %d, killed %d, live %d", st.RefreshTokensReused, st.GrantsKilledByReuse, st.LiveGrants)
	}
}

func TestConcurrentRefreshesOfOneTokenKillItsGrant(t *testing.T) {
	s := start(t, sandbox.Config{Rotate: true})
	_, token := connect(t, s)
	const callers = 8
	answers := make([]at.Answer, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { answers[i] = refresh(t, s, token) })
	}
	wg.Wait()
	won := 0
	for _, a := range answers {
		if a.Status == http.StatusOK {
			won++
		}
	}
	st := s.Stats()
	if won != 1 || st.RefreshTokensReused != callers-1 || st.GrantsKilledByReuse != 1 || st.LiveGrants != 0 {
		t.Errorf("%d answered; reused %d, killed %d, live %d", won, st.RefreshTokensReused, st.GrantsKilledByReuse, st.LiveGrants)
	}
}

func TestAPIRefusesDeadTokens(t *testing.T) {
	s := start(t, sandbox.Config{})
	_, token := connect(t, s)
	for name, access := range map[string]string{"none": "", "never issued": "other", "a refresh token": token} {
		a := at.Do(t, at.Get(t, s.URL()+"/esignglobal/v1/envelope/envelopeDetail?envelopeId=flow1", access))
		if a.Status != http.StatusUnauthorized || a.Text("code") == "0" {
			t.Errorf("%s: %d, code %q", name, a.Status, a.Text("code"))
		}
	}
}

func TestThrottled(t *testing.T) {
	s := start(t, sandbox.Config{})
	s.ThrottleNext(1)
	if a := ask(t, s, params(s, "client_credentials")); a.Status != 429 {
		t.Errorf("%d", a.Status)
	}
}
