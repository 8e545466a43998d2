package adobesign_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/adobesign"
	"github.com/esignd/esignd/plugins/oauth"
)

// request is what Adobe saw.
type request struct {
	Host, Path string
	Form       map[string]string
}

// adobe stands for every host of Adobe's: whatever host is dialled, this server answers.
type adobe struct {
	*adobesign.Adapter
	mu       sync.Mutex
	requests []request
}

func newAdobe(t *testing.T, status int, body string) *adobe {
	t.Helper()
	a := &adobe{}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		form, err := url.ParseQuery(string(raw))
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.URL.RawQuery != "" {
			t.Errorf("%s %s is no form: %v", r.Method, r.URL, err)
		}
		seen := request{Host: r.Host, Path: r.URL.Path, Form: map[string]string{}}
		for name := range form {
			seen.Form[name] = form.Get(name)
		}
		a.mu.Lock()
		a.requests = append(a.requests, seen)
		a.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "30")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	a.Adapter = adapterOf(server, oauth.Config{})
	return a
}

// adapterOf returns an adapter to which the server is every host there is.
func adapterOf(server *httptest.Server, cfg oauth.Config) *adobesign.Adapter {
	cfg.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}
	cfg.TLS = &tls.Config{InsecureSkipVerify: true}
	return adobesign.New(adobesign.Config{OAuth: cfg})
}

// one returns the only request there was.
func (a *adobe) one(t *testing.T) request {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.requests) != 1 {
		t.Fatalf("Adobe saw %d requests", len(a.requests))
	}
	return a.requests[0]
}

func client(settings map[string]string) core.Credentials {
	return core.Credentials{ClientID: "id", ClientSecret: core.NewSecret("secret"), Settings: settings}
}

var v1 = map[string]string{"oauth_version": "v1"}

const issued = `{"access_token":"at","refresh_token":"rt*","token_type":"Bearer","expires_in":3600,
	"api_access_point":" https://api.eu1.adobesign.com/ ","web_access_point":"https://secure.eu1.adobesign.com/"}`

func TestAuthorizationURLIsOnTheConfiguredShard(t *testing.T) {
	for name, tt := range map[string]struct {
		settings map[string]string
		want     string
	}{
		"partner, no shard": {nil, "https://secure.adobesign.com/public/oauth/v2?"},
		"customer":          {map[string]string{"web_url": "https://secure.na1.adobesign.com"}, "https://secure.na1.adobesign.com/public/oauth/v2?"},
		"older name":        {map[string]string{"web_url": "https://secure.eu1.echosign.com/"}, "https://secure.eu1.echosign.com/public/oauth/v2?"},
		"v2":                {map[string]string{"oauth_version": "v2"}, "https://secure.adobesign.com/public/oauth/v2?"},
		"v1":                {v1, "https://secure.adobesign.com/public/oauth?"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := adobesign.New(adobesign.Config{}).AuthorizationURL(t.Context(), core.AuthorizationRequest{
				Client: client(tt.settings), RedirectURI: "https://us.example/cb", State: "st",
				Scope: []string{"agreement_send:account", "user_login:self"},
			})
			// Adobe writes spaces as "+" and leaves the colon of a modifier bare.
			want := tt.want + "client_id=id&redirect_uri=https%3A%2F%2Fus.example%2Fcb&response_type=code&state=st" +
				"&scope=agreement_send:account+user_login:self"
			if err != nil || got != want {
				t.Errorf("%s %v, want %s", got, err, want)
			}
		})
	}
}

func TestAuthorizationURLNeedsAScope(t *testing.T) {
	_, err := adobesign.New(adobesign.Config{}).AuthorizationURL(t.Context(), core.AuthorizationRequest{Client: client(nil)})
	if got := core.AsVendorError(err); got.Code != core.CodeInvalidScope || got.Outcome != core.NotSent {
		t.Error(err)
	}
}

func TestCallbackTakesTheAPIAccessPointOfTheOlderFlow(t *testing.T) {
	for query, want := range map[string]core.CallbackResult{
		"code=c&state=s": {Code: core.NewSecret("c")},
		"code=c&state=s&api_access_point=https%3A%2F%2Fapi.na1.echosign.com%2F&web_access_point=https%3A%2F%2Fevil.example": {
			Code: core.NewSecret("c"), APIBaseURL: "https://api.na1.echosign.com",
		},
		"code=c&api_access_point=":                                       {Code: core.NewSecret("c")},
		"error=ACCESS_DENIED&state=s&api_access_point=https://x.example": {Denied: "access_denied"},
		"code=c&api_access_point=+https%3A%2F%2Fapi.eu1.adobesign.com%2F+": {
			Code: core.NewSecret("c"), APIBaseURL: "https://api.eu1.adobesign.com",
		},
	} {
		got, err := callback(t, nil, query)
		if err != nil || !got.Code.Equal(want.Code) || got.APIBaseURL != want.APIBaseURL || got.Denied != want.Denied {
			t.Errorf("%s: %+v %v", query, got, err)
		}
	}
}

func TestCallbackFoldsTheCaseOfADenial(t *testing.T) {
	for _, code := range []string{"invalid_request", "unauthorized_client", "invalid_scope", "access_denied", "server_error"} {
		for _, sent := range []string{code, strings.ToUpper(code)} {
			got, err := callback(t, nil, "error="+sent+"&error_description=x&state=s")
			if err != nil || got.Denied != code || !got.Code.IsZero() {
				t.Errorf("%s: %+v %v", sent, got, err)
			}
		}
	}
}

func TestCallbackRefusesAForeignAPIAccessPoint(t *testing.T) {
	for _, query := range []string{
		"code=c&api_access_point=https://api.na1.adobesign.com.evil.example/",
		"code=c&api_access_point=https://api.na1.adobesign.com/&api_access_point=https://evil.example/",
	} {
		got, err := callback(t, nil, query)
		if e := core.AsVendorError(err); e.Code != core.CodeHostRefused || strings.Contains(err.Error(), "evil") || !got.Code.IsZero() {
			t.Errorf("%s: %+v %v", query, got, err)
		}
	}
}

func callback(t *testing.T, settings map[string]string, query string) (core.CallbackResult, error) {
	t.Helper()
	params, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	return adobesign.New(adobesign.Config{}).Callback(t.Context(), core.CallbackRequest{Client: client(settings), Params: params})
}

func TestExchangeGoesToTheAPIAccessPointAndTheAnswersWins(t *testing.T) {
	a := newAdobe(t, 200, issued)
	got, err := a.Token(t.Context(), core.TokenRequest{
		Client: client(nil), GrantType: core.AuthorizationCode, Code: core.NewSecret("c"), RedirectURI: "https://us.example/cb",
		State: core.NewSecret("st"), APIBaseURL: "https://api.na1.adobesign.com",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := request{"api.na1.adobesign.com", "/oauth/v2/token", map[string]string{
		"grant_type": "authorization_code", "code": "c", "redirect_uri": "https://us.example/cb", "client_id": "id", "client_secret": "secret",
	}}
	if diff := cmp.Diff(want, a.one(t)); diff != "" {
		t.Error(diff)
	}
	if got.APIBaseURL != "https://api.eu1.adobesign.com" || got.RefreshToken.Reveal() != "rt*" || got.ExpiresIn != time.Hour {
		t.Errorf("%+v", got)
	}
}

func TestExchangeKeepsTheHostItAskedWhereTheAnswerNamesNoneOfAdobes(t *testing.T) {
	for _, point := range []string{``, `,"api_access_point":"https://evil.example/"`, `,"api_access_point":7`} {
		a := newAdobe(t, 200, `{"access_token":"at"`+point+`}`)
		got, err := a.Token(t.Context(), core.TokenRequest{Client: client(nil), GrantType: core.AuthorizationCode})
		if err != nil || got.APIBaseURL != "https://api.adobesign.com" || a.one(t).Host != "api.adobesign.com" {
			t.Errorf("%s: %s %v", point, got.APIBaseURL, err)
		}
	}
}

func TestExpiresInIsSecondsAndWhereMissingTheDeclaredLifetimeCounts(t *testing.T) {
	for body, want := range map[string]time.Duration{
		`{"access_token":"at","expires_in":3600}`:   time.Hour,
		`{"access_token":"at","expires_in":"3600"}`: time.Hour,
		`{"access_token":"at"}`:                     0,
		`{"access_token":"at","expires_in":null}`:   0,
	} {
		a := newAdobe(t, 200, body)
		got, err := a.Token(t.Context(), core.TokenRequest{Client: client(nil), GrantType: core.RefreshToken})
		if err != nil || got.ExpiresIn != want {
			t.Errorf("%s: %v %v", body, got.ExpiresIn, err)
		}
	}
}

func TestRefreshHasItsOwnEndpointAndAnswersAnAccessTokenAlone(t *testing.T) {
	for version, path := range map[string]string{"v1": "/oauth/refresh", "v2": "/oauth/v2/refresh"} {
		a := newAdobe(t, 200, `{"access_token":"at2","token_type":"Bearer","expires_in":3600}`)
		got, err := a.Token(t.Context(), core.TokenRequest{
			Client: client(map[string]string{"oauth_version": version}), GrantType: core.RefreshToken,
			RefreshToken: core.NewSecret("rt*"), APIBaseURL: "https://api.jp1.adobesign.com",
		})
		if err != nil {
			t.Fatal(err)
		}
		want := request{"api.jp1.adobesign.com", path, map[string]string{
			"grant_type": "refresh_token", "refresh_token": "rt*", "client_id": "id", "client_secret": "secret",
		}}
		if diff := cmp.Diff(want, a.one(t)); diff != "" {
			t.Error(diff)
		}
		if !got.RefreshToken.IsZero() || got.APIBaseURL != "https://api.jp1.adobesign.com" || got.AccessToken.Reveal() != "at2" {
			t.Errorf("refresh token and host stay: %+v", got)
		}
	}
}

func TestTokenSendsNothingToAForeignHost(t *testing.T) {
	a := newAdobe(t, 200, issued)
	_, err := a.Token(t.Context(), core.TokenRequest{
		Client: client(nil), GrantType: core.RefreshToken, RefreshToken: core.NewSecret("rt"), APIBaseURL: "https://evil.example",
	})
	if e := core.AsVendorError(err); e.Code != core.CodeHostRefused || e.Outcome != core.NotSent || len(a.requests) != 0 {
		t.Error(err, a.requests)
	}
	err = a.Revoke(t.Context(), core.RevocationRequest{Client: client(nil), Token: core.NewSecret("rt"), APIBaseURL: "http://api.na1.adobesign.com"})
	if e := core.AsVendorError(err); e.Code != core.CodeHostRefused || len(a.requests) != 0 {
		t.Error(err, a.requests)
	}
}

func TestTokenHasNoClientCredentials(t *testing.T) {
	_, err := newAdobe(t, 200, issued).Token(t.Context(), core.TokenRequest{Client: client(nil), GrantType: core.ClientCredentials})
	if e := core.AsVendorError(err); e.Code != core.CodeUnsupportedGrantType || e.Outcome != core.NotSent {
		t.Error(err)
	}
}

func TestTokenReadsErrorsInBothForms(t *testing.T) {
	for body, want := range map[string]string{
		`{"error":"invalid_grant","error_description":"x"}`: core.CodeInvalidGrant,
		`{"error":"INVALID_GRANT"}`:                         core.CodeInvalidGrant,
		`{"code":"INVALID_CLIENT","message":"x"}`:           core.CodeInvalidClient,
		`{"code":"SOMETHING_ELSE","message":"x"}`:           core.CodeHTTPError,
	} {
		_, err := newAdobe(t, 400, body).Token(t.Context(), core.TokenRequest{Client: client(nil), GrantType: core.RefreshToken})
		if e := core.AsVendorError(err); e.Code != want || e.Outcome != core.Refused {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestThrottlingIsWaitedOutAsLongAsAdobeSays(t *testing.T) {
	for body, want := range map[string]time.Duration{
		`{"code":"THROTTLING_TOO_MANY_REQUESTS","message":"x","retryAfter":77}`: 77 * time.Second,
		`{"code":"THROTTLING_TOO_MANY_REQUESTS","message":"x","retryAfter":7}`:  30 * time.Second, // an early retry starts the wait anew
		`{"code":"THROTTLING_TOO_MANY_REQUESTS","message":"x"}`:                 30 * time.Second,
		`<html>`: 30 * time.Second,
	} {
		a := newAdobe(t, 429, body)
		_, err := a.Token(t.Context(), core.TokenRequest{Client: client(nil), GrantType: core.RefreshToken, AccessToken: core.NewSecret("at")})
		e := core.AsVendorError(err)
		if e.Code != core.CodeRateLimited || e.Outcome != core.Refused || e.RetryAfter != want {
			t.Errorf("%s: %v, retry after %v", body, err, e.RetryAfter)
		}
		a.one(t)
	}
}

// What is not the grant's fault does not name it, and no text of Adobe's is in an error.
func TestOtherFailuresProveNoGrantDead(t *testing.T) {
	for _, tt := range []struct {
		status  int
		body    string
		outcome core.Outcome
		code    string
	}{
		{500, `{"error":"invalid_grant","error_description":"canary"}`, core.Unknown, core.CodeHTTPError},
		{502, `<html>canary</html>`, core.Unknown, core.CodeHTTPError},
		{503, `canary`, core.Refused, core.CodeUnavailable},
		{400, `<html>canary</html>`, core.Refused, core.CodeHTTPError},
		{401, `{"code":"INVALID_ACCESS_TOKEN","message":"canary"}`, core.Refused, core.CodeHTTPError},
		{404, ``, core.Refused, core.CodeHTTPError},
		{200, `<html>canary</html>`, core.Unknown, core.CodeMalformedResponse},
		{200, `{"token_type":"Bearer","message":"canary"}`, core.Unknown, core.CodeMalformedResponse},
		{302, `canary`, core.Unknown, core.CodeRedirected},
	} {
		_, err := newAdobe(t, tt.status, tt.body).Token(t.Context(), core.TokenRequest{
			Client: client(nil), GrantType: core.RefreshToken, RefreshToken: core.NewSecret("canary-rt"),
		})
		if e := core.AsVendorError(err); e.Outcome != tt.outcome || e.Code != tt.code || strings.Contains(err.Error(), "canary") {
			t.Errorf("%d %s: %v", tt.status, tt.body, err)
		}
	}
}

func TestRevokeSendsTheTokenAndNoCredentials(t *testing.T) {
	for version, path := range map[string]string{"v1": "/oauth/revoke", "v2": "/oauth/v2/revoke"} {
		a := newAdobe(t, 200, "")
		err := a.Revoke(t.Context(), core.RevocationRequest{
			Client: client(map[string]string{"oauth_version": version}), Token: core.NewSecret("rt*"),
			TokenTypeHint: "refresh_token", APIBaseURL: "https://api.na1.adobesign.com",
		})
		if err != nil {
			t.Fatal(err)
		}
		want := request{"api.na1.adobesign.com", path, map[string]string{"token": "rt*"}}
		if diff := cmp.Diff(want, a.one(t)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestRevokeTakesInvalidAndExpiredTokensForDead(t *testing.T) {
	for body, want := range map[string]string{
		`{"code":"EXPIRED_TOKEN","message":"x"}`:   "",
		`{"code":"INVALID_TOKEN","message":"x"}`:   "",
		`{"error":"INVALID_TOKEN"}`:                "",
		`{"code":"INVALID_REQUEST","message":"x"}`: core.CodeInvalidRequest,
	} {
		err := newAdobe(t, 400, body).Revoke(t.Context(), core.RevocationRequest{Client: client(nil), Token: core.NewSecret("t")})
		var e *core.VendorError
		if errors.As(err, &e); want == "" && err != nil || want != "" && (e == nil || e.Code != want) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestUnknownOAuthVersionIsNamed(t *testing.T) {
	_, err := callback(t, map[string]string{"oauth_version": "v3"}, "code=c")
	if err == nil || !strings.Contains(err.Error(), "oauth_version") {
		t.Error(err)
	}
}
