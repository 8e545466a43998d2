package generic_test

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
)

func TestAuthorizationURLHasWhatTheSettingsSay(t *testing.T) {
	const base = "https://as.example/authorize"
	for name, tt := range map[string]struct {
		settings []string
		want     string
	}{
		"as the RFCs say": {nil, base + "?client_id=an+id&code_challenge=challenge&code_challenge_method=S256" +
			"&redirect_uri=https%3A%2F%2Fus.example%2Fcb&response_type=code&scope=sign+read&state=st"},
		"without PKCE": {[]string{"pkce", "none"}, base + "?client_id=an+id" +
			"&redirect_uri=https%3A%2F%2Fus.example%2Fcb&response_type=code&scope=sign+read&state=st"},
		"commas, and a query and a slash of its own": {
			[]string{"authorization_url", base + "/?tenant=a%20b", "scope_separator", "comma", "pkce", "none"},
			base + "/?tenant=a%20b&client_id=an+id&redirect_uri=https%3A%2F%2Fus.example%2Fcb&response_type=code&scope=sign%2Cread&state=st"},
		"more parameters": {
			[]string{"authorization_params", "prompt=consent&access_type=offline", "audience", "https://api.example/ v1",
				"resource", "https://api.example", "pkce", "none"},
			base + "?access_type=offline&audience=https%3A%2F%2Fapi.example%2F+v1&client_id=an+id&prompt=consent" +
				"&redirect_uri=https%3A%2F%2Fus.example%2Fcb&resource=https%3A%2F%2Fapi.example&response_type=code&scope=sign+read&state=st"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newVendor(t, nil)
			settings := map[string]string{"authorization_url": base, "token_url": "https://as.example/token"}
			for i := 0; i < len(tt.settings); i += 2 {
				settings[tt.settings[i]] = tt.settings[i+1]
			}
			got, err := s.adapter.AuthorizationURL(t.Context(), authorize(settings))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if seen := s.seen(); len(seen) != 0 {
				t.Errorf("a server that is described by hand is called: %v", seen)
			}
		})
	}
}

func TestAuthorizationURLLeavesOutWhatIsEmpty(t *testing.T) {
	r := authorize(map[string]string{"authorization_url": "https://as.example/a", "token_url": "https://as.example/t"})
	r.Scope, r.CodeChallenge = nil, ""
	got, err := newVendor(t, nil).adapter.AuthorizationURL(t.Context(), r)
	const want = "https://as.example/a?client_id=an+id&redirect_uri=https%3A%2F%2Fus.example%2Fcb&response_type=code&state=st"
	if err != nil || got != want {
		t.Error(got, err)
	}
}

func TestTokenSendsTheParametersOfEachGrantType(t *testing.T) {
	s := newServer(t, map[string]http.HandlerFunc{"/token": says(200, issued), "/refresh/": says(200, issued)})
	for name, tt := range map[string]struct {
		request core.TokenRequest
		want    request
	}{
		"code": {exchange(s.settings()), request{"POST /token", "application/x-www-form-urlencoded", basicAuth,
			"code=a+code&code_verifier=verifier&grant_type=authorization_code&redirect_uri=https%3A%2F%2Fus.example%2Fcb"}},
		"code without PKCE": {exchange(s.settings("pkce", "none")), request{"POST /token", "application/x-www-form-urlencoded", basicAuth,
			"code=a+code&grant_type=authorization_code&redirect_uri=https%3A%2F%2Fus.example%2Fcb"}},
		"refresh": {refresh(s.settings()), request{"POST /token", "application/x-www-form-urlencoded", basicAuth,
			"grant_type=refresh_token&refresh_token=rt1"}},
		"refresh elsewhere, at a URL with a slash and a query": {refresh(s.settings("refresh_url", s.URL+"/refresh/?v=2")),
			request{"POST /refresh/?v=2", "application/x-www-form-urlencoded", basicAuth, "grant_type=refresh_token&refresh_token=rt1"}},
		"client credentials, with commas": {
			core.TokenRequest{
				Client:    client(s.settings("scope_separator", "comma", "refresh_url", s.URL+"/refresh/")),
				GrantType: core.ClientCredentials, Scope: []string{"sign", "read"},
			},
			request{"POST /token", "application/x-www-form-urlencoded", basicAuth, "grant_type=client_credentials&scope=sign%2Cread"}},
		"audience and resource": {refresh(s.settings("audience", "aud", "resource", "https://api.example")),
			request{"POST /token", "application/x-www-form-urlencoded", basicAuth,
				"audience=aud&grant_type=refresh_token&refresh_token=rt1&resource=https%3A%2F%2Fapi.example"}},
		"credentials in the body": {refresh(s.settings("client_authentication", "body")),
			request{"POST /token", "application/x-www-form-urlencoded", "",
				"client_id=an+id&client_secret=s%3Ae%2Bc%25%2F&grant_type=refresh_token&refresh_token=rt1"}},
		"a public client": {refresh(s.settings("client_authentication", "none")),
			request{"POST /token", "application/x-www-form-urlencoded", "", "client_id=an+id&grant_type=refresh_token&refresh_token=rt1"}},
		"JSON": {refresh(s.settings("body", "json", "client_authentication", "body")), request{"POST /token", "application/json", "",
			`{"client_id":"an id","client_secret":"s:e+c%/","grant_type":"refresh_token","refresh_token":"rt1"}`}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := s.adapter.Token(t.Context(), tt.request); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]request{tt.want}, s.seen()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTokenSendsMultipart(t *testing.T) {
	var form url.Values
	s := newServer(t, nil)
	multipart := newHandlerServer(t, func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseMultipartForm(1 << 20); err != nil {
			t.Error(err)
		}
		form = r.MultipartForm.Value
		says(200, issued)(w, r)
	})
	settings := map[string]string{"token_url": multipart, "body": "multipart", "client_authentication": "body"}
	if _, err := s.adapter.Token(t.Context(), refresh(settings)); err != nil {
		t.Fatal(err)
	}
	want := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"rt1"}, "client_id": {"an id"}, "client_secret": {"s:e+c%/"}}
	if diff := cmp.Diff(want, form); diff != "" {
		t.Error(diff)
	}
}

func TestTokenPassesOnWhatTheServerIssued(t *testing.T) {
	s := newServer(t, nil)
	for name, tt := range map[string]struct {
		answer   string
		settings map[string]string
		refresh  string
		lifetime time.Duration
		scope    []string
		api      string
	}{
		"rotated":                {issued, s.settings(), "rt2", 10 * time.Minute, []string{"sign", "read"}, ""},
		"not rotated":            {`{"access_token":"at","expires_in":60}`, s.settings(), "", time.Minute, nil, ""},
		"no lifetime":            {`{"access_token":"at"}`, s.settings(), "", 0, nil, ""},
		"no lifetime, but a set": {`{"access_token":"at"}`, s.settings("access_lifetime", "86400"), "", 24 * time.Hour, nil, ""},
		"a lifetime and a set":   {`{"access_token":"at","expires_in":60}`, s.settings("access_lifetime", "86400"), "", time.Minute, nil, ""},
		"commas": {`{"access_token":"at","scope":"sign,read,"}`, s.settings("scope_separator", "comma"), "", 0,
			[]string{"sign", "read"}, ""},
		"an API": {`{"access_token":"at"}`, s.settings("api_base_url", "https://api.example/v1/"), "", 0, nil, "https://api.example/v1"},
	} {
		t.Run(name, func(t *testing.T) {
			s.on("/token", says(200, tt.answer))
			got, err := s.adapter.Token(t.Context(), refresh(tt.settings))
			if err != nil || got.AccessToken.Reveal() != "at" || got.TokenType != "Bearer" || got.RefreshToken.Reveal() != tt.refresh ||
				got.ExpiresIn != tt.lifetime || got.APIBaseURL != tt.api {
				t.Errorf("%+v %v", got, err)
			}
			if diff := cmp.Diff(tt.scope, got.Scope); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTokenTellsFailuresApart(t *testing.T) {
	s := newServer(t, nil)
	for _, tt := range []struct {
		status  int
		body    string
		outcome core.Outcome
		code    string
	}{
		{400, `{"error":"invalid_grant","error_description":"` + canary + `"}`, core.Refused, core.CodeInvalidGrant},
		{401, `{"error":"invalid_client"}`, core.Refused, core.CodeInvalidClient},
		{400, `{"error":"` + canary + `"}`, core.Refused, core.CodeHTTPError},
		{429, `{}`, core.Refused, core.CodeRateLimited},
		{503, `{}`, core.Refused, core.CodeUnavailable},
		{500, `{}`, core.Unknown, core.CodeHTTPError},
		{302, ``, core.Unknown, core.CodeRedirected},
		{200, `{"error":"invalid_grant"}`, core.Unknown, core.CodeInvalidGrant},
		{200, canary, core.Unknown, core.CodeMalformedResponse},
	} {
		s.on("/token", says(tt.status, tt.body))
		_, err := s.adapter.Token(t.Context(), refresh(s.settings()))
		if e := failure(t, err); e.Outcome != tt.outcome || e.Code != tt.code || e.Status != tt.status {
			t.Errorf("%d %s: %v", tt.status, tt.body, err)
		}
	}
	s.Close()
	_, err := s.adapter.Token(t.Context(), refresh(s.settings()))
	if e := failure(t, err); e.Outcome != core.NotSent || e.Code != core.CodeNetwork {
		t.Error(err)
	}
}

func TestTokenRefusesAnUnknownGrantType(t *testing.T) {
	s := newServer(t, nil)
	_, err := s.adapter.Token(t.Context(), core.TokenRequest{Client: client(s.settings()), GrantType: "password"})
	if e := failure(t, err); e.Code != core.CodeUnsupportedGrantType || e.Outcome != core.NotSent || len(s.seen()) != 0 {
		t.Error(err)
	}
}

func TestRevokeProvesTheClientAsTokenDoes(t *testing.T) {
	for method, want := range map[string]request{
		"basic": {"POST /revoke", "application/x-www-form-urlencoded", basicAuth, "token=rt1&token_type_hint=refresh_token"},
		"body": {"POST /revoke", "application/x-www-form-urlencoded", "",
			"client_id=an+id&client_secret=s%3Ae%2Bc%25%2F&token=rt1&token_type_hint=refresh_token"},
		"none": {"POST /revoke", "application/x-www-form-urlencoded", "", "client_id=an+id&token=rt1&token_type_hint=refresh_token"},
	} {
		t.Run(method, func(t *testing.T) {
			s := newServer(t, map[string]http.HandlerFunc{"/revoke": says(200, "")})
			// What the token endpoint takes as JSON is a form here (RFC 7009 §2.1).
			if err := s.adapter.Revoke(t.Context(), revocation(s.settings("client_authentication", method, "body", "json"))); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]request{want}, s.seen()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func revocation(settings map[string]string) core.RevocationRequest {
	return core.RevocationRequest{Client: client(settings), Token: core.NewSecret("rt1"), TokenTypeHint: "refresh_token"}
}

func TestRevokeSaysWhetherTheTokenIsDead(t *testing.T) {
	s := newServer(t, map[string]http.HandlerFunc{"/revoke": says(400, `{"error":"invalid_token"}`)})
	if err := s.adapter.Revoke(t.Context(), revocation(s.settings())); err != nil {
		t.Error("a token that was dead already:", err)
	}
	s.on("/revoke", says(401, `{"error":"invalid_client"}`))
	if e := failure(t, s.adapter.Revoke(t.Context(), revocation(s.settings()))); e.Code != core.CodeInvalidClient || e.Outcome != core.Refused {
		t.Error(e)
	}
}

func TestRevokeIsUnsupportedWhereNoEndpointIsKnown(t *testing.T) {
	s := newServer(t, nil)
	settings := s.settings("issuer", s.URL)
	delete(settings, "revocation_url")
	if err := s.adapter.Revoke(t.Context(), revocation(settings)); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if seen := s.seen(); len(seen) != 0 {
		t.Errorf("a server that is described by hand is called: %v", seen)
	}
}

func TestCallbackTakesTheAnswerOfTheClientsIssuerAlone(t *testing.T) {
	adapter := newServer(t, nil).adapter
	const issuer = "https://as.example/"
	for name, tt := range map[string]struct {
		issuer, query string
		code, denied  string
		refused       bool
	}{
		"the issuer's":         {issuer, "code=c&state=st&iss=https%3A%2F%2Fas.example%2F", "c", "", false},
		"a denial":             {issuer, "error=access_denied&iss=https%3A%2F%2Fas.example%2F", "", "access_denied", false},
		"without iss":          {issuer, "code=c", "c", "", false},
		"no issuer is known":   {"", "code=c&iss=https%3A%2F%2Fother.example", "c", "", false},
		"another's":            {issuer, "code=c&iss=https%3A%2F%2Fother.example", "", "", true},
		"another's denial":     {issuer, "error=access_denied&iss=https%3A%2F%2Fother.example", "", "", true},
		"but for a slash":      {issuer, "code=c&iss=https%3A%2F%2Fas.example", "", "", true},
		"twice":                {issuer, "code=c&iss=https%3A%2F%2Fas.example%2F&iss=https%3A%2F%2Fas.example%2F", "", "", true},
		"empty":                {issuer, "code=c&iss=", "", "", true},
		"a code that is twice": {issuer, "code=c&code=d&iss=https%3A%2F%2Fas.example%2F", "", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			params, err := url.ParseQuery(tt.query)
			if err != nil {
				t.Fatal(err)
			}
			got, err := adapter.Callback(t.Context(), core.CallbackRequest{
				Client: client(map[string]string{"issuer": tt.issuer, "token_url": "https://as.example/t"}), Params: params,
			})
			if got.Code.Reveal() != tt.code || got.Denied != tt.denied || (err != nil) != tt.refused {
				t.Errorf("%+v %v", got, err)
			}
			if tt.refused && failure(t, err).Code != core.CodeInvalidRequest {
				t.Error(err)
			}
		})
	}
}
