package oauth_test

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/oauth"
)

const goodToken = `{"access_token":"at","token_type":"bearer","expires_in":3600,"refresh_token":"rt","scope":"a b"}`

func TestTokenReadsRFC6749Answer(t *testing.T) {
	base, _ := vendor(t, answers(200, "application/json", goodToken))
	got, err := oauth.NewClient(oauth.Config{}).Token(t.Context(), oauth.Endpoint{TokenURL: base}, refresh())
	if err != nil {
		t.Fatal(err)
	}
	if got.AccessToken.Reveal() != "at" || got.RefreshToken.Reveal() != "rt" {
		t.Errorf("tokens %q %q", got.AccessToken.Reveal(), got.RefreshToken.Reveal())
	}
	if got.TokenType != "Bearer" || got.ExpiresIn != time.Hour {
		t.Errorf("type %q, expires in %v", got.TokenType, got.ExpiresIn)
	}
	if diff := cmp.Diff([]string{"a", "b"}, got.Scope); diff != "" {
		t.Error(diff)
	}
}

func TestTokenSendsParametersOfTheGrantType(t *testing.T) {
	code := core.TokenRequest{
		Client: credentials(), GrantType: core.AuthorizationCode, Code: core.NewSecret(codeCanary),
		RedirectURI: "https://us.example/cb?x=1", State: core.NewSecret("st"), CodeVerifier: core.NewSecret("ver"),
		RefreshToken: core.NewSecret("not sent"), Scope: []string{"not", "sent"},
	}
	app := core.TokenRequest{Client: credentials(), GrantType: core.ClientCredentials, Scope: []string{"a", "b"}}
	for name, tt := range map[string]struct {
		endpoint oauth.Endpoint
		request  core.TokenRequest
		want     map[string]string
	}{
		"code": {oauth.Endpoint{}, code, map[string]string{
			"grant_type": "authorization_code", "code": codeCanary, "redirect_uri": "https://us.example/cb?x=1",
			"code_verifier": "ver", "client_id": "client 1", "client_secret": secretCanary,
		}},
		"code with state and without redirect_uri": {oauth.Endpoint{SendState: true, Omit: []string{"redirect_uri"}}, code, map[string]string{
			"grant_type": "authorization_code", "code": codeCanary, "state": "st",
			"code_verifier": "ver", "client_id": "client 1", "client_secret": secretCanary,
		}},
		"refresh": {oauth.Endpoint{}, refresh(), map[string]string{
			"grant_type": "refresh_token", "refresh_token": tokenCanary, "client_id": "client 1", "client_secret": secretCanary,
		}},
		"client_credentials": {oauth.Endpoint{}, app, map[string]string{
			"grant_type": "client_credentials", "scope": "a b", "client_id": "client 1", "client_secret": secretCanary,
		}},
		"credentials by Basic": {oauth.Endpoint{Auth: oauth.AuthBasic}, app, map[string]string{
			"grant_type": "client_credentials", "scope": "a b",
		}},
	} {
		for encoding, decode := range map[oauth.Encoding]func(*testing.T, seen) map[string]string{
			oauth.FormBody: decodeForm, oauth.JSONBody: decodeJSON, oauth.MultipartBody: decodeMultipart,
		} {
			t.Run(name, func(t *testing.T) {
				base, last := vendor(t, answers(200, "application/json", goodToken))
				e := tt.endpoint
				e.TokenURL, e.Body = base+"/token", encoding
				if _, err := oauth.NewClient(oauth.Config{}).Token(t.Context(), e, tt.request); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, decode(t, last())); diff != "" {
					t.Errorf("encoding %d: %s", encoding, diff)
				}
				if got := last(); got.URL.Path != "/token" || got.URL.RawQuery != "" || got.Method != http.MethodPost {
					t.Errorf("%s %s", got.Method, got.URL)
				}
			})
		}
	}
}

func decodeForm(t *testing.T, r seen) map[string]string {
	if got := r.Header.Get("Content-Type"); got != "application/x-www-form-urlencoded" {
		t.Errorf("Content-Type %q", got)
	}
	form, err := url.ParseQuery(r.body)
	if err != nil {
		t.Fatal(err)
	}
	params := map[string]string{}
	for name := range form {
		params[name] = form.Get(name)
	}
	return params
}

func decodeJSON(t *testing.T, r seen) map[string]string {
	if got := r.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	var params map[string]string
	if err := json.Unmarshal([]byte(r.body), &params); err != nil {
		t.Fatal(err)
	}
	return params
}

func decodeMultipart(t *testing.T, r seen) map[string]string {
	mediaType, options, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "multipart/form-data" {
		t.Fatalf("Content-Type %q: %v", mediaType, err)
	}
	params := map[string]string{}
	parts := multipart.NewReader(strings.NewReader(r.body), options["boundary"])
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return params
		}
		if err != nil {
			t.Fatal(err)
		}
		value, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		params[part.FormName()] = string(value)
	}
}

func TestTokenByBasicEncodesCredentialsFirst(t *testing.T) {
	base, last := vendor(t, answers(200, "application/json", goodToken))
	r := refresh()
	r.Client.ClientSecret = core.NewSecret("a:b c%")
	if _, err := oauth.NewClient(oauth.Config{}).Token(t.Context(), oauth.Endpoint{TokenURL: base, Auth: oauth.AuthBasic}, r); err != nil {
		t.Fatal(err)
	}
	id, secret, _ := last().BasicAuth()
	if id != "client+1" || secret != "a%3Ab+c%25" {
		t.Errorf("user %q, password %q (RFC 6749 §2.3.1)", id, secret)
	}
}

func TestTokenRefreshesAtRefreshURL(t *testing.T) {
	base, last := vendor(t, answers(200, "application/json", goodToken))
	e := oauth.Endpoint{TokenURL: base + "/token", RefreshURL: base + "/token?refresh"}
	if _, err := oauth.NewClient(oauth.Config{}).Token(t.Context(), e, refresh()); err != nil {
		t.Fatal(err)
	}
	if got := last().URL.String(); got != "/token?refresh" {
		t.Errorf("refreshed at %s", got)
	}
}

func TestTokenDoesNotSendAGrantTypeTheVendorLacks(t *testing.T) {
	e := oauth.Endpoint{TokenURL: "https://vendor.invalid", GrantTypes: []core.GrantType{core.RefreshToken}}
	_, err := oauth.NewClient(oauth.Config{}).Token(t.Context(), e, core.TokenRequest{GrantType: core.ClientCredentials})
	got := vendorError(t, err)
	if got.Outcome != core.NotSent || got.Code != core.CodeUnsupportedGrantType {
		t.Error(got)
	}
}

func TestRevokeTakesDeadTokenForSuccess(t *testing.T) {
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		want    string // of the error, "" for success
	}{
		"200 and empty":          {answers(200, "text/plain", ""), ""},
		"dead, by error":         {answers(400, "application/json", `{"error":"INVALID_TOKEN"}`), ""},
		"dead, by code":          {answers(400, "application/json", `{"code":"INVALID_TOKEN","message":"x"}`), ""},
		"dead, but by a 500":     {answers(500, "application/json", `{"code":"INVALID_TOKEN"}`), "http_error (HTTP 500)"},
		"missing token":          {answers(400, "application/json", `{"code":"INVALID_REQUEST"}`), "invalid_request (HTTP 400)"},
		"refused without a code": {answers(403, "text/html", vendorCanary), "http_error (HTTP 403)"},
	} {
		t.Run(name, func(t *testing.T) {
			base, last := vendor(t, tt.handler)
			e := oauth.Endpoint{RevocationURL: base + "/revoke", DeadTokenCodes: []string{"invalid_token"}}
			err := oauth.NewClient(oauth.Config{}).Revoke(t.Context(), e, core.RevocationRequest{
				Client: credentials(), Token: core.NewSecret(tokenCanary), TokenTypeHint: "refresh_token",
			})
			if tt.want == "" && err != nil {
				t.Error(err)
			}
			if tt.want != "" && !strings.HasPrefix(vendorError(t, err).Error(), tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
			want := map[string]string{
				"token": tokenCanary, "token_type_hint": "refresh_token", "client_id": "client 1", "client_secret": secretCanary,
			}
			if diff := cmp.Diff(want, decodeForm(t, last())); diff != "" {
				t.Error(diff)
			}
		})
	}
}
