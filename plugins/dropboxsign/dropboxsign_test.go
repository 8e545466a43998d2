package dropboxsign_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/dropboxsign"
)

// The tests of this package follow what the vendor documents, and what was seen of it: the consent page and its redirect,
// the exchange, the refresh and its end, errors and throttling are here; accounts in account_test.go, events in
// event_test.go, whole lives of grants at the vendor's sandbox in sandbox_test.go. What every adapter has to do is proved
// by the conformance kit and not here.

// request is what Dropbox Sign saw.
type request struct {
	Target        string
	Authorization string
	JSON          map[string]string
}

// vendor answers every request alike and returns credentials that lead there, and what it saw last.
func vendor(t *testing.T, status int, header http.Header, body string) (core.Credentials, *request) {
	t.Helper()
	last := new(request)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		*last = request{Target: r.Method + " " + r.URL.String(), Authorization: r.Header.Get("Authorization")}
		if err := json.Unmarshal(raw, &last.JSON); err != nil || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("the body is no JSON of strings: %v", err)
		}
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return client(map[string]string{"app_url": server.URL, "api_url": "https://api.hellosign.com/"}), last
}

func client(settings map[string]string) core.Credentials {
	return core.Credentials{ClientID: "id", ClientSecret: core.NewSecret("secret"), Settings: settings}
}

func adapter() *dropboxsign.Adapter { return dropboxsign.New(dropboxsign.Config{}) }

func code(c core.Credentials) core.TokenRequest {
	return core.TokenRequest{
		Client: c, GrantType: core.AuthorizationCode, Code: core.NewSecret("c"), RedirectURI: "https://us.example/cb", State: core.NewSecret("st"),
	}
}

func refresh(c core.Credentials) core.TokenRequest {
	return core.TokenRequest{Client: c, GrantType: core.RefreshToken, RefreshToken: core.NewSecret("rt")}
}

func TestAuthorizeHasNoScope(t *testing.T) {
	for redirect, want := range map[string]string{
		"https://us.example/cb": "https://app.hellosign.com/oauth/authorize?client_id=id&redirect_uri=https%3A%2F%2Fus.example%2Fcb&response_type=code&state=st",
		"":                      "https://app.hellosign.com/oauth/authorize?client_id=id&response_type=code&state=st", // the app's own
	} {
		got, err := adapter().AuthorizationURL(t.Context(), core.AuthorizationRequest{
			Client: client(nil), RedirectURI: redirect, State: "st", Scope: []string{"not sent"},
		})
		if err != nil || got != want {
			t.Errorf("%s %v, want %s", got, err, want)
		}
	}
}

func TestDenialIsStateAlone(t *testing.T) {
	for query, want := range map[string]struct{ code, denied string }{
		"state=st":             {"", core.CodeAccessDenied},
		"state=st&code=":       {"", core.CodeAccessDenied},
		"":                     {"", core.CodeAccessDenied},
		"code=c&state=st":      {"c", ""},
		"error=server_error":   {"", "server_error"},
		"code=c&state=st&x=%3": {"c", ""},
	} {
		params, _ := url.ParseQuery(query)
		got, err := adapter().Callback(t.Context(), core.CallbackRequest{Client: client(nil), Params: params})
		if err != nil || got.Code.Reveal() != want.code || got.Denied != want.denied || got.APIBaseURL != "" {
			t.Errorf("%q: %+v %v", query, got, err)
		}
	}
}

func FuzzCallback(f *testing.F) {
	for _, query := range []string{"state=st", "code=c&state=st", "error=server_error&state=st", "code=a&code=b", "error=CANARY", "%zz"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		params, _ := url.ParseQuery(query) // what net/http makes of it
		got, err := adapter().Callback(t.Context(), core.CallbackRequest{Client: client(nil), Params: params})
		if err != nil {
			if e := (*core.VendorError)(nil); !errors.As(err, &e) || e.Outcome != core.NotSent || e.Code != core.CodeInvalidRequest {
				t.Errorf("%q: %v", query, err)
			}
			return
		}
		if got.Code.IsZero() == (got.Denied == "") || got.APIBaseURL != "" {
			t.Errorf("%q is %+v", query, got)
		}
		if strings.Contains(got.Denied, "CANARY") {
			t.Errorf("the vendor's words went through: %q", got.Denied)
		}
	})
}

// Credentials go in the body: HTTP Basic is refused.
func TestExchangeSendsJSONWithStateAndNoRedirectURI(t *testing.T) {
	c, last := vendor(t, 200, nil, `{"access_token":"at","token_type":"Bearer","refresh_token":"rt","expires_in":86400,"state":null,"account_id":"acc"}`)
	got, err := adapter().Token(t.Context(), code(c))
	if err != nil {
		t.Fatal(err)
	}
	want := request{"POST /oauth/token", "", map[string]string{
		"grant_type": "authorization_code", "code": "c", "state": "st", "client_id": "id", "client_secret": "secret",
	}}
	if diff := cmp.Diff(want, *last); diff != "" {
		t.Error(diff)
	}
	if got.APIBaseURL != "https://api.hellosign.com" || got.Scope != nil {
		t.Errorf("%+v", got)
	}
}

func TestResponseMayBeEachThatWasDocumented(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	for name, tt := range map[string]struct {
		body     string
		lifetime time.Duration
		account  string
	}{
		"3600":            {`{"access_token":"at","token_type":"Bearer","refresh_token":"rt","expires_in":3600}`, time.Hour, ""},
		"86400":           {`{"access_token":"at","token_type":"Bearer","refresh_token":"rt","expires_in":86400,"state":"st"}`, 24 * time.Hour, ""},
		"an epoch":        {fmt.Sprintf(`{"access_token":"at","refresh_token":"rt","expires_in":%d}`, now.Add(time.Hour).Unix()), time.Hour, ""},
		"an account":      {`{"access_token":"at","refresh_token":"rt","expires_in":3600,"state":null,"account_id":"acc"}`, time.Hour, "acc"},
		"no lifetime":     {`{"access_token":"at","token_type":"bearer","refresh_token":"rt"}`, 0, ""},
		"a null lifetime": {`{"access_token":"at","token_type":null,"refresh_token":"rt","expires_in":null,"account_id":null}`, 0, ""},
	} {
		c, _ := vendor(t, 200, http.Header{"Date": {now.UTC().Format(http.TimeFormat)}}, tt.body)
		got, err := adapter().Token(t.Context(), code(c))
		if err != nil || got.ExpiresIn != tt.lifetime || got.AccountID != tt.account || got.TokenType != "Bearer" || got.RefreshToken.Reveal() != "rt" {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
}

func TestRefreshGoesToTheTokenEndpointWithABareQuery(t *testing.T) {
	c, last := vendor(t, 200, nil, `{"access_token":"at","token_type":"Bearer","refresh_token":"rt2","expires_in":3600}`)
	got, err := adapter().Token(t.Context(), refresh(c))
	if err != nil {
		t.Fatal(err)
	}
	want := request{"POST /oauth/token?refresh", "", map[string]string{
		"grant_type": "refresh_token", "refresh_token": "rt", "client_id": "id", "client_secret": "secret",
	}}
	if diff := cmp.Diff(want, *last); diff != "" {
		t.Error(diff)
	}
	if got.RefreshToken.Reveal() != "rt2" {
		t.Error("the refresh token that came is not kept")
	}
}

func TestRefreshWithoutARefreshTokenLeavesTheOldOne(t *testing.T) {
	for _, member := range []string{``, `,"refresh_token":null`, `,"refresh_token":""`} {
		c, _ := vendor(t, 200, nil, `{"access_token":"at","expires_in":3600`+member+`}`)
		if got, err := adapter().Token(t.Context(), refresh(c)); err != nil || !got.RefreshToken.IsZero() {
			t.Errorf("%s: %+v %v", member, got, err)
		}
	}
}

func TestErrorIsTextOrObject(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"dead grant":                {400, `{"error":"invalid_grant","error_description":"Invalid grant data (refresh token)"}`, core.CodeInvalidGrant},
		"bad code or client_id":     {400, `{"error":"invalid_request","error_description":"CANARY"}`, core.CodeInvalidRequest},
		"wrong secret":              {401, `{"error":"invalid_client","error_description":"CANARY"}`, core.CodeInvalidClient},
		"API shape":                 {400, `{"error":{"error_msg":"CANARY","error_name":"invalid_grant"}}`, core.CodeInvalidGrant},
		"API shape, no OAuth code":  {401, `{"error":{"error_msg":"CANARY","error_name":"unauthorized"}}`, core.CodeHTTPError},
		"API shape, CANARY as name": {400, `{"error":{"error_msg":"CANARY","error_name":"CANARY"}}`, core.CodeHTTPError},
		"API shape, names missing":  {400, `{"error":{}}`, core.CodeHTTPError},
	} {
		c, _ := vendor(t, tt.status, nil, tt.body)
		_, err := adapter().Token(t.Context(), refresh(c))
		if e := core.AsVendorError(err); err == nil || e.Code != tt.want || e.Outcome != core.Refused || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// There is no Retry-After.
func TestThrottlingSaysWhenByRateLimitReset(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	const body = `{"error":{"error_msg":"x","error_name":"exceeded_rate"}}`
	for name, tt := range map[string]struct {
		header http.Header
		want   time.Duration
	}{
		"as documented": {http.Header{"X-Ratelimit-Limit": {"100"}, "X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {fmt.Sprint(now.Add(42 * time.Second).Unix())}}, 42 * time.Second},
		"as seen":       {http.Header{"X-Ratelimit-Limit-Remaining": {"0"}, "X-Ratelimit-Reset": {fmt.Sprint(now.Add(42 * time.Second).Unix())}}, 42 * time.Second},
		"in the past":   {http.Header{"X-Ratelimit-Reset": {fmt.Sprint(now.Add(-time.Hour).Unix())}}, 0},
		"nonsense":      {http.Header{"X-Ratelimit-Reset": {"soon"}}, 0},
		"nothing":       {http.Header{}, 0},
	} {
		tt.header.Set("Date", now.UTC().Format(http.TimeFormat))
		c, _ := vendor(t, 429, tt.header, body)
		_, err := adapter().Token(t.Context(), refresh(c))
		if e := core.AsVendorError(err); e.Code != core.CodeRateLimited || e.Outcome != core.Refused || e.RetryAfter != tt.want {
			t.Errorf("%s: %v, after %v", name, err, e.RetryAfter)
		}
	}
}

func TestRevokeIsUnsupported(t *testing.T) {
	if err := adapter().Revoke(t.Context(), core.RevocationRequest{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

func TestAWrongSettingIsNamedAndNothingIsSent(t *testing.T) {
	for _, name := range []string{"app_url", "api_url"} {
		c := withKey(client(map[string]string{name: "http://vendor.example"}), apiKey)
		_, token := adapter().Token(t.Context(), refresh(c))
		_, page := adapter().AuthorizationURL(t.Context(), core.AuthorizationRequest{Client: c})
		_, verify := adapter().VerifyAccount(t.Context(), core.AccountRequest{Client: c})
		_, create := adapter().CreateAccount(t.Context(), core.AccountRequest{Client: c})
		for call, err := range map[string]error{"Token": token, "AuthorizationURL": page, "VerifyAccount": verify, "CreateAccount": create} {
			if e := core.AsVendorError(err); e.Outcome != core.NotSent || e.Code != core.CodeHostRefused || !strings.Contains(e.Detail, name) {
				t.Errorf("%s with a wrong %s: %v", call, name, err)
			}
		}
	}
}
