package dropboxsign_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/dropboxsign"
)

// request is what Dropbox Sign saw.
type request struct {
	Target string
	Basic  bool
	JSON   map[string]string
}

// vendor answers every request alike and returns credentials that lead there, and what it saw last.
func vendor(t *testing.T, status int, header http.Header, body string) (core.Credentials, *request) {
	t.Helper()
	last := new(request)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		*last = request{Target: r.Method + " " + r.URL.String()}
		_, _, last.Basic = r.BasicAuth()
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

func TestAuthorizationURLHasNoScope(t *testing.T) {
	got, err := adapter().AuthorizationURL(t.Context(), core.AuthorizationRequest{
		Client: client(nil), RedirectURI: "https://us.example/cb", State: "st", Scope: []string{"not sent"},
	})
	want := "https://app.hellosign.com/oauth/authorize?client_id=id&redirect_uri=https%3A%2F%2Fus.example%2Fcb&response_type=code&state=st"
	if err != nil || got != want {
		t.Errorf("%s %v, want %s", got, err, want)
	}
}

func TestCallbackTakesStateAloneForADenial(t *testing.T) {
	for query, want := range map[string]struct{ code, denied string }{
		"state=st":             {"", "access_denied"},
		"code=c&state=st":      {"c", ""},
		"error=server_error":   {"", "server_error"},
		"code=c&state=st&x=%3": {"c", ""},
	} {
		params, _ := url.ParseQuery(query)
		got, err := adapter().Callback(t.Context(), core.CallbackRequest{Client: client(nil), Params: params})
		if err != nil || got.Code.Reveal() != want.code || got.Denied != want.denied || got.APIBaseURL != "" {
			t.Errorf("%s: %+v %v", query, got, err)
		}
	}
}

func TestExchangeSendsJSONWithStateAndNoRedirectURI(t *testing.T) {
	c, last := vendor(t, 200, nil, `{"access_token":"at","token_type":"Bearer","refresh_token":"rt","expires_in":86400,"state":null,"account_id":"acc"}`)
	got, err := adapter().Token(t.Context(), code(c))
	if err != nil {
		t.Fatal(err)
	}
	want := request{"POST /oauth/token", false, map[string]string{
		"grant_type": "authorization_code", "code": "c", "state": "st", "client_id": "id", "client_secret": "secret",
	}}
	if diff := cmp.Diff(want, *last); diff != "" {
		t.Error(diff)
	}
	if got.AccountID != "acc" || got.APIBaseURL != "https://api.hellosign.com" || got.ExpiresIn != 24*time.Hour || got.Scope != nil {
		t.Errorf("%+v", got)
	}
}

func TestRefreshGoesToTheTokenEndpointWithABareQuery(t *testing.T) {
	c, last := vendor(t, 200, nil, `{"access_token":"at","token_type":"Bearer","refresh_token":"rt2","expires_in":3600}`)
	got, err := adapter().Token(t.Context(), refresh(c))
	if err != nil {
		t.Fatal(err)
	}
	want := request{"POST /oauth/token?refresh", false, map[string]string{
		"grant_type": "refresh_token", "refresh_token": "rt", "client_id": "id", "client_secret": "secret",
	}}
	if diff := cmp.Diff(want, *last); diff != "" {
		t.Error(diff)
	}
	if got.RefreshToken.Reveal() != "rt2" {
		t.Error("the refresh token that came is not kept")
	}
}

func TestExpiresInMayBeAnEpoch(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	c, _ := vendor(t, 200, http.Header{"Date": {now.UTC().Format(http.TimeFormat)}},
		fmt.Sprintf(`{"access_token":"at","expires_in":%d}`, now.Add(time.Hour).Unix()))
	got, err := adapter().Token(t.Context(), refresh(c))
	if err != nil || got.ExpiresIn != time.Hour || !got.RefreshToken.IsZero() {
		t.Errorf("%v %v", got.ExpiresIn, err)
	}
}

func TestTokenReadsErrorAsTextAndAsObject(t *testing.T) {
	for body, want := range map[string]string{
		`{"error":"invalid_grant","error_description":"Invalid grant data (refresh token)"}`: core.CodeInvalidGrant,
		`{"error":"invalid_request","error_description":"x"}`:                                core.CodeInvalidRequest,
		`{"error":{"error_msg":"x","error_name":"invalid_grant"}}`:                           core.CodeInvalidGrant,
		`{"error":{"error_msg":"x","error_name":"unauthorized"}}`:                            core.CodeHTTPError,
	} {
		c, _ := vendor(t, 400, nil, body)
		_, err := adapter().Token(t.Context(), refresh(c))
		if e := core.AsVendorError(err); e.Code != want || e.Outcome != core.Refused {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestTooManyRequestsSayWhenByRateLimitReset(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	c, _ := vendor(t, 429, http.Header{
		"Date":              {now.UTC().Format(http.TimeFormat)},
		"X-Ratelimit-Reset": {fmt.Sprint(now.Add(42 * time.Second).Unix())},
	}, `{"error":{"error_msg":"x","error_name":"exceeded_rate"}}`)
	_, err := adapter().Token(t.Context(), refresh(c))
	if e := core.AsVendorError(err); e.Code != core.CodeRateLimited || e.RetryAfter != 42*time.Second {
		t.Error(err)
	}
}

func TestRevokeIsUnsupported(t *testing.T) {
	if err := adapter().Revoke(t.Context(), core.RevocationRequest{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

func TestAWrongSettingIsNamedAndNothingIsSent(t *testing.T) {
	for _, name := range []string{"app_url", "api_url"} {
		_, err := adapter().Token(t.Context(), refresh(client(map[string]string{name: "http://vendor.example"})))
		if e := core.AsVendorError(err); e.Outcome != core.NotSent || e.Code != core.CodeHostRefused {
			t.Errorf("%s: %v", name, err)
		}
	}
}
