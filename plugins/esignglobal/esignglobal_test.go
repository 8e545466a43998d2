package esignglobal_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"mime"
	"mime/multipart"
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
	"github.com/esignd/esignd/plugins/esignglobal"
	"github.com/esignd/esignd/plugins/oauth"
)

// request is what eSignGlobal saw.
type request struct {
	Target string
	Form   map[string]string
}

// vendor answers every request alike and returns credentials that lead there, and what it saw last.
func vendor(t *testing.T, status int, body string) (core.Credentials, *request) {
	t.Helper()
	last := new(request)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*last = request{r.Method + " " + r.URL.String(), multipartForm(t, r)}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return client(map[string]string{"api_url": server.URL}), last
}

func multipartForm(t *testing.T, r *http.Request) map[string]string {
	mediaType, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "multipart/form-data" {
		t.Errorf("Content-Type %q: %v", mediaType, err)
		return nil
	}
	form, err := multipart.NewReader(r.Body, params["boundary"]).ReadForm(1 << 20)
	if err != nil || len(form.File) != 0 {
		t.Errorf("read the form: %v, files %v", err, form.File)
		return nil
	}
	values := map[string]string{}
	for name := range form.Value {
		values[name] = form.Value[name][0]
	}
	return values
}

func client(settings map[string]string) core.Credentials {
	return core.Credentials{ClientID: "id", ClientSecret: core.NewSecret("secret"), Settings: settings}
}

func adapter() *esignglobal.Adapter { return esignglobal.New(esignglobal.Config{}) }

func TestAuthorizationURLUsesCamelCase(t *testing.T) {
	for account, base := range map[string]string{
		"": "https://account.esignglobal.com", "https://account-sml.esignglobal.com": "https://account-sml.esignglobal.com",
	} {
		got, err := adapter().AuthorizationURL(t.Context(), core.AuthorizationRequest{
			Client: client(map[string]string{"account_url": account}), RedirectURI: "https://us.example/cb", State: "st",
			Scope: []string{"signature", "stamp"},
		})
		want := base + "/oauth?clientId=id&redirectUri=https%3A%2F%2Fus.example%2Fcb&response_type=code&scope=signature+stamp&state=st"
		if err != nil || got != want {
			t.Errorf("%s %v, want %s", got, err, want)
		}
	}
}

func TestAuthorizationURLLeavesAnEmptyStateOut(t *testing.T) {
	got, err := adapter().AuthorizationURL(t.Context(), core.AuthorizationRequest{Client: client(nil), Scope: []string{"comparisons"}})
	if err != nil || got != "https://account.esignglobal.com/oauth?clientId=id&response_type=code&scope=comparisons" {
		t.Errorf("%s %v", got, err)
	}
}

func TestOneEndpointTakesAllThreeGrantTypesAsMultipart(t *testing.T) {
	for name, tt := range map[string]struct {
		request core.TokenRequest
		want    map[string]string
	}{
		"client_credentials": {core.TokenRequest{GrantType: core.ClientCredentials, Scope: []string{"not sent"}}, map[string]string{
			"grant_type": "client_credentials",
		}},
		"authorization_code": {core.TokenRequest{
			GrantType: core.AuthorizationCode, Code: core.NewSecret("c"), RedirectURI: "https://not.sent", State: core.NewSecret("not sent"),
		}, map[string]string{"grant_type": "authorization_code", "code": "c"}},
		"refresh_token": {core.TokenRequest{GrantType: core.RefreshToken, RefreshToken: core.NewSecret("rt")}, map[string]string{
			"grant_type": "refresh_token", "refresh_token": "rt",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c, last := vendor(t, 200, `{"access_token":"at","expires_in":86398,"scope":"read-write","token_type":"bearer"}`)
			tt.request.Client = c
			got, err := adapter().Token(t.Context(), tt.request)
			if err != nil {
				t.Fatal(err)
			}
			tt.want["client_id"], tt.want["client_secret"] = "id", "secret"
			if diff := cmp.Diff(request{"POST /esignglobal/v1/oauth2/accessToken", tt.want}, *last); diff != "" {
				t.Error(diff)
			}
			if got.ExpiresIn != 86398*time.Second || got.TokenType != "Bearer" || got.APIBaseURL != c.Settings["api_url"] || !got.RefreshToken.IsZero() {
				t.Errorf("%+v", got)
			}
			if diff := cmp.Diff([]string{"read-write"}, got.Scope); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestExpiresInIsWhatIsLeftOfASharedToken(t *testing.T) {
	for body, want := range map[string]time.Duration{
		`{"access_token":"at","expires_in":5}`: 5 * time.Second,
		`{"access_token":"at","expires_in":0}`: time.Second,
		`{"access_token":"at"}`:                0, // not said: the 24 hours of the metadata
	} {
		c, _ := vendor(t, 200, body)
		got, err := adapter().Token(t.Context(), core.TokenRequest{Client: c, GrantType: core.ClientCredentials})
		if err != nil || got.ExpiresIn != want {
			t.Errorf("%s: %v %v", body, got.ExpiresIn, err)
		}
	}
}

func TestAnAnswerWithoutATokenIsAFailureAndProvesNoGrantDead(t *testing.T) {
	for _, tt := range []struct {
		status  int
		body    string
		outcome core.Outcome
		code    string
	}{
		{200, `{"code":"1612","message":"expired","data":null}`, core.Unknown, core.CodeMalformedResponse},
		{200, `{"code":1612,"message":"expired"}`, core.Unknown, core.CodeMalformedResponse},
		{200, `{"code":0,"data":{}}`, core.Unknown, core.CodeMalformedResponse},
		{400, `{"code":"1612","message":"expired"}`, core.Refused, core.CodeHTTPError},
		{401, ``, core.Refused, core.CodeHTTPError},
		{403, `<html>expired</html>`, core.Refused, core.CodeHTTPError},
		{404, ``, core.Refused, core.CodeHTTPError},
		{429, `{"code":"429","message":"expired"}`, core.Refused, core.CodeRateLimited},
		{500, `{"error":"invalid_grant","message":"expired"}`, core.Unknown, core.CodeHTTPError},
		{503, ``, core.Refused, core.CodeUnavailable},
		{302, ``, core.Unknown, core.CodeRedirected},
		{200, `<html>expired</html>`, core.Unknown, core.CodeMalformedResponse},
		{200, `{"error":"invalid_grant"}`, core.Unknown, core.CodeInvalidGrant}, // by its outcome no proof
		{400, `{"error":"invalid_grant"}`, core.Refused, core.CodeInvalidGrant},
	} {
		c, _ := vendor(t, tt.status, tt.body)
		_, err := adapter().Token(t.Context(), core.TokenRequest{Client: c, GrantType: core.RefreshToken, RefreshToken: core.NewSecret("rt")})
		if e := core.AsVendorError(err); e.Outcome != tt.outcome || e.Code != tt.code || strings.Contains(e.Error(), "expired") {
			t.Errorf("%d %s: %v", tt.status, tt.body, err)
		}
	}
}

func TestABusinessCodeOf0BesideATokenIsNoFailureAndAnotherIs(t *testing.T) {
	for code, ok := range map[string]bool{`0`: true, `"0"`: true, `null`: true, `1612`: false, `"1612"`: false} {
		c, _ := vendor(t, 200, `{"code":`+code+`,"message":"canary","access_token":"at","refresh_token":"rt2"}`)
		got, err := adapter().Token(t.Context(), core.TokenRequest{Client: c, GrantType: core.RefreshToken})
		if ok && (err != nil || got.RefreshToken.Reveal() != "rt2") {
			t.Errorf("%s: %v", code, err)
		}
		if e := core.AsVendorError(err); !ok && (e.Outcome != core.Unknown || e.Code != core.CodeMalformedResponse || strings.Contains(e.Error(), "canary")) {
			t.Errorf("%s: %v", code, err)
		}
	}
}

// A refresh token that comes back is the only live one where the vendor rotates; where none comes the old one stays.
func TestARotationIsHandedOnAndOneThatIsNotThereIsEmpty(t *testing.T) {
	for body, want := range map[string]string{
		`{"access_token":"at","refresh_token":"rt2"}`: "rt2",
		`{"access_token":"at","refresh_token":null}`:  "",
		`{"access_token":"at"}`:                       "",
	} {
		c, _ := vendor(t, 200, body)
		got, err := adapter().Token(t.Context(), core.TokenRequest{Client: c, GrantType: core.RefreshToken, RefreshToken: core.NewSecret("rt")})
		if err != nil || got.RefreshToken.Reveal() != want {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// The vendor speaks TLS 1.2 and nothing newer, at the host of the workspace's data centre.
func TestEveryDataCentreIsReachedByTLS12(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, tls.VersionName(r.TLS.Version)+" "+r.Host+r.URL.Path)
		_, _ = io.WriteString(w, `{"access_token":"at","expires_in":60}`)
	}))
	server.TLS = &tls.Config{MaxVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	adapter := esignglobal.New(esignglobal.Config{OAuth: oauth.Config{
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
		},
		TLS: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12},
	}})
	var want []string
	for setting, host := range map[string]string{
		"":                                     "openapi-as1.esignglobal.com",
		"https://openapi-as1.esignglobal.com":  "openapi-as1.esignglobal.com",
		"https://openapi-as2.esignglobal.com/": "openapi-as2.esignglobal.com",
		"https://openapi-eu1.esignglobal.com":  "openapi-eu1.esignglobal.com",
		"https://openapi-sml.esignglobal.com":  "openapi-sml.esignglobal.com",
	} {
		got, err := adapter.Token(t.Context(), core.TokenRequest{
			Client: client(map[string]string{"api_url": setting}), GrantType: core.ClientCredentials,
		})
		if err != nil || got.APIBaseURL != "https://"+host {
			t.Errorf("%s: %s %v", setting, got.APIBaseURL, err)
		}
		want = append(want, "TLS 1.2 "+host+"/esignglobal/v1/oauth2/accessToken")
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Error(diff)
	}
}

// Where a vendor has one host, a grant's host is that of the settings: one that was kept when they were others is not asked.
func TestTheHostIsThatOfTheSettings(t *testing.T) {
	c, last := vendor(t, 200, `{"access_token":"at"}`)
	got, err := adapter().Token(t.Context(), core.TokenRequest{
		Client: c, GrantType: core.RefreshToken, RefreshToken: core.NewSecret("rt"), APIBaseURL: "https://evil.example",
	})
	if err != nil || got.APIBaseURL != c.Settings["api_url"] || last.Form["refresh_token"] != "rt" {
		t.Errorf("%s %v", got.APIBaseURL, err)
	}
}

func TestCallbackIsReadAsOAuths(t *testing.T) {
	got, err := adapter().Callback(t.Context(), core.CallbackRequest{Params: url.Values{"code": {"c"}, "state": {"st"}}})
	if err != nil || got.Code.Reveal() != "c" || got.APIBaseURL != "" {
		t.Errorf("%+v %v", got, err)
	}
	got, err = adapter().Callback(t.Context(), core.CallbackRequest{Params: url.Values{"error": {"access_denied"}}})
	if err != nil || got.Denied != "access_denied" {
		t.Errorf("%+v %v", got, err)
	}
}

func TestRevokeIsUnsupported(t *testing.T) {
	if err := adapter().Revoke(t.Context(), core.RevocationRequest{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

func TestAWrongSettingIsNamedAndNothingIsSent(t *testing.T) {
	for _, name := range []string{"account_url", "api_url"} {
		_, err := adapter().Token(t.Context(), core.TokenRequest{
			Client: client(map[string]string{name: "http://vendor.example"}), GrantType: core.ClientCredentials,
		})
		if e := core.AsVendorError(err); e.Outcome != core.NotSent || e.Code != core.CodeHostRefused {
			t.Errorf("%s: %v", name, err)
		}
	}
}
