package sandbox_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/esignd/esignd/plugins/adobesign/sandbox"
	at "github.com/esignd/esignd/plugins/sdk/authserver/authservertest"
)

func TestOlderFlowNamesAccessPointsInTheRedirect(t *testing.T) {
	s := start(t, sandbox.Config{})
	id, secret := s.Client()
	q := authorize(t, s, "/public/oauth", query(s), true)
	if q.Get("api_access_point") != s.URL()+"/" || q.Get("state") != state {
		t.Errorf("redirect parameters: %v", q)
	}
	a := at.Do(t, at.Form(t, s.URL()+"/oauth/token", at.Params("grant_type", "authorization_code",
		"code", q.Get("code"), "client_id", id, "client_secret", secret, "redirect_uri", callback)))
	if a.Status != http.StatusOK || a.Text("api_access_point") != "" {
		t.Errorf("status %d, api_access_point %q", a.Status, a.Text("api_access_point"))
	}
	r := at.Do(t, at.Form(t, s.URL()+"/oauth/refresh", refreshParams(s, a.Text("refresh_token"))))
	if r.Status != http.StatusOK {
		t.Errorf("refresh: %d", r.Status)
	}
}

func TestDenialComesBackAsError(t *testing.T) {
	s := start(t, sandbox.Config{})
	q := authorize(t, s, "/public/oauth/v2", query(s), false)
	if q.Get("error") != "ACCESS_DENIED" || q.Get("state") != state || q.Has("code") {
		t.Errorf("redirect parameters: %v", q)
	}
}

func TestAuthorizeShowsWhatItCannotRedirect(t *testing.T) {
	s := start(t, sandbox.Config{RedirectURIs: []string{callback}})
	for name, q := range map[string]url.Values{
		"unknown client":      at.With(query(s), "client_id", "other"),
		"no client":           at.With(query(s), "client_id", ""),
		"redirect mismatch":   at.With(query(s), "redirect_uri", callback+"/"),
		"redirect missing":    at.With(query(s), "redirect_uri", ""),
		"parameter repeated":  {"client_id": {"a", "b"}},
		"foreign redirect":    at.With(query(s), "redirect_uri", "https://evil.example/callback"),
		"redirect and a path": at.With(query(s), "redirect_uri", callback+"?next=/"),
	} {
		a := at.Do(t, at.Get(t, s.URL()+"/public/oauth/v2?"+q.Encode(), ""))
		if a.Status != http.StatusBadRequest || a.Header.Get("Location") != "" || strings.Contains(a.Body, "<form") {
			t.Errorf("%s: status %d, redirected to %q", name, a.Status, a.Header.Get("Location"))
		}
	}
}

func TestAnyLoopbackRedirectWithoutRegistration(t *testing.T) {
	s := start(t, sandbox.Config{})
	for uri, want := range map[string]int{
		"http://localhost:3000/x":         http.StatusOK,
		"http://127.0.0.1/x":              http.StatusOK,
		"http://[::1]:80/x":               http.StatusOK,
		"http://192.0.2.1/x":              http.StatusBadRequest,
		"http://localhost.evil.example/x": http.StatusBadRequest,
		"http://user@localhost/x":         http.StatusBadRequest,
		"javascript://localhost/x":        http.StatusBadRequest,
		"http://localhost/x#fragment":     http.StatusBadRequest,
	} {
		a := at.Do(t, at.Get(t, s.URL()+"/public/oauth/v2?"+at.With(query(s), "redirect_uri", uri).Encode(), ""))
		if a.Status != want {
			t.Errorf("%s: status %d, want %d", uri, a.Status, want)
		}
	}
}

func TestAuthorizeRedirectsOtherErrors(t *testing.T) {
	s := start(t, sandbox.Config{})
	for name, c := range map[string]struct {
		q    url.Values
		want string
	}{
		"response type":  {at.With(query(s), "response_type", "token"), "INVALID_REQUEST"},
		"no scope":       {at.With(query(s), "scope", ""), "INVALID_REQUEST"},
		"unknown scope":  {at.With(query(s), "scope", "agreement_send admin"), "INVALID_SCOPE"},
		"wrong modifier": {at.With(query(s), "scope", "agreement_send:world"), "INVALID_SCOPE"},
		"two spaces":     {at.With(query(s), "scope", "agreement_send  user_read"), "INVALID_SCOPE"},
	} {
		q := authorize(t, s, "/public/oauth/v2", c.q, true)
		if q.Get("error") != c.want || q.Get("state") != state || q.Has("code") {
			t.Errorf("%s: %v", name, q)
		}
	}
}
