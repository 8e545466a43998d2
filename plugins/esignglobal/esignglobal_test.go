package esignglobal_test

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/esignglobal"
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
		{400, `{"error":"invalid_grant"}`, core.Refused, core.CodeInvalidGrant},
	} {
		c, _ := vendor(t, tt.status, tt.body)
		_, err := adapter().Token(t.Context(), core.TokenRequest{Client: c, GrantType: core.RefreshToken, RefreshToken: core.NewSecret("rt")})
		if e := core.AsVendorError(err); e.Outcome != tt.outcome || e.Code != tt.code {
			t.Errorf("%d %s: %v", tt.status, tt.body, err)
		}
	}
}

func TestABusinessCodeBesideATokenIsNoFailure(t *testing.T) {
	c, _ := vendor(t, 200, `{"code":"0","message":"ok","access_token":"at","refresh_token":"rt2"}`)
	got, err := adapter().Token(t.Context(), core.TokenRequest{Client: c, GrantType: core.RefreshToken})
	if err != nil || got.RefreshToken.Reveal() != "rt2" {
		t.Error(err)
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
