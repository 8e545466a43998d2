//go:build heavy

package generic_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/generic"
)

const (
	redirectURI = "http://127.0.0.1:9/cb"
	verifier    = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)

// redirected opens the consent page for the client, as a new person, and returns what the redirect says.
func redirected(t *testing.T, adapter core.Adapter, c core.Credentials, consent bool) url.Values {
	t.Helper()
	digest := sha256.Sum256([]byte(verifier))
	page, err := adapter.AuthorizationURL(t.Context(), core.AuthorizationRequest{
		Client: c, RedirectURI: redirectURI, State: "st", Scope: []string{"openid", "offline_access", "sign"},
		CodeChallenge: base64.RawURLEncoding.EncodeToString(digest[:]),
	})
	if err != nil {
		t.Fatal(err)
	}
	params := newPerson(t).answer(page, redirectURI, consent)
	if params.Get("state") != "st" {
		t.Fatalf("the redirect is of another authorization: %v", params)
	}
	return params
}

// consented returns what trades the code of a new consent.
func consented(t *testing.T, adapter core.Adapter, c core.Credentials) core.TokenRequest {
	t.Helper()
	back, err := adapter.Callback(t.Context(), core.CallbackRequest{Client: c, Params: redirected(t, adapter, c, true)})
	if err != nil || back.Code.IsZero() {
		t.Fatalf("callback: %+v %v", back, err)
	}
	return core.TokenRequest{
		Client: c, GrantType: core.AuthorizationCode, Code: back.Code, RedirectURI: redirectURI, CodeVerifier: core.NewSecret(verifier),
	}
}

// issue asks for a token set, which the server must give.
func issue(t *testing.T, adapter core.Adapter, r core.TokenRequest) core.TokenResponse {
	t.Helper()
	set, err := adapter.Token(t.Context(), r)
	if err != nil {
		t.Fatalf("%s: %v", r.GrantType, err)
	}
	return set
}

func refreshOf(c core.Credentials, set core.TokenResponse) core.TokenRequest {
	return core.TokenRequest{Client: c, GrantType: core.RefreshToken, RefreshToken: set.RefreshToken}
}

// refused fails the test unless the server refuses the request with that code.
func refused(t *testing.T, adapter core.Adapter, r core.TokenRequest, code string) {
	t.Helper()
	_, err := adapter.Token(t.Context(), r)
	if e := failure(t, err); e.Outcome != core.Refused || e.Code != code {
		t.Errorf("%s: %v, want %s", r.GrantType, err, code)
	}
}

func TestAGrantsLifeAtARealServer(t *testing.T) {
	for _, path := range []string{"", "/tenant"} { // the second one has its document where OpenID puts it
		p := startProvider(t, path)
		for _, name := range []string{"basic", "post", "public"} {
			t.Run(strings.TrimPrefix(path+"/"+name, "/"), func(t *testing.T) {
				adapter, c := generic.New(generic.Config{}), p.credentials(name)
				first := issue(t, adapter, consented(t, adapter, c))
				if first.RefreshToken.IsZero() || first.ExpiresIn != time.Hour || first.TokenType != "Bearer" || first.APIBaseURL != p.issuer ||
					!slices.Contains(first.Scope, "sign") {
					t.Fatalf("%+v", first)
				}
				second := issue(t, adapter, refreshOf(c, first))
				if second.RefreshToken.IsZero() || second.RefreshToken.Equal(first.RefreshToken) || second.AccessToken.Equal(first.AccessToken) {
					t.Fatal("the server rotates, and the new refresh token is not passed on")
				}
				if status := p.userinfo(t, second.AccessToken); status != http.StatusOK {
					t.Errorf("the refreshed token is answered %d", status)
				}
				// The server takes a spent refresh token for a stolen one: it refuses, and ends the grant.
				refused(t, adapter, refreshOf(c, first), core.CodeInvalidGrant)
				refused(t, adapter, refreshOf(c, second), core.CodeInvalidGrant)
			})
		}
	}
}

func TestRevocationAtARealServer(t *testing.T) {
	p := startProvider(t, "")
	for _, name := range []string{"basic", "post", "public"} {
		t.Run(name, func(t *testing.T) {
			adapter, c := generic.New(generic.Config{}), p.credentials(name)
			set := issue(t, adapter, consented(t, adapter, c))
			for range 2 { // a token that is dead already counts as revoked
				err := adapter.Revoke(t.Context(), core.RevocationRequest{Client: c, Token: set.RefreshToken, TokenTypeHint: "refresh_token"})
				if err != nil {
					t.Fatal(err)
				}
			}
			refused(t, adapter, refreshOf(c, set), core.CodeInvalidGrant)
			if status := p.userinfo(t, set.AccessToken); status != http.StatusUnauthorized {
				t.Errorf("the access token of a revoked grant is answered %d", status)
			}
		})
	}
}

func TestClientCredentialsAtARealServer(t *testing.T) {
	p := startProvider(t, "")
	const resource = "https://api.example.com"
	for _, name := range []string{"basic", "post"} {
		adapter, c := generic.New(generic.Config{}), p.credentials(name, "resource", resource)
		set := issue(t, adapter, core.TokenRequest{Client: c, GrantType: core.ClientCredentials, Scope: []string{"sign", "read"}})
		if !set.RefreshToken.IsZero() || set.ExpiresIn != 10*time.Minute || !slices.Equal(set.Scope, []string{"sign", "read"}) {
			t.Errorf("%+v", set)
		}
		// The server knows these scopes for that resource alone: it has read the parameter.
		c = p.credentials(name, "resource", "https://other.example.com")
		_, err := adapter.Token(t.Context(), core.TokenRequest{Client: c, GrantType: core.ClientCredentials})
		if err == nil {
			t.Error("another resource is granted")
		}
	}
}

func TestAWrongClientAtARealServer(t *testing.T) {
	p := startProvider(t, "")
	adapter := generic.New(generic.Config{})
	for _, name := range []string{"basic", "post"} {
		wrong := p.credentials(name)
		wrong.ClientSecret = core.NewSecret("wrong")
		set := core.TokenResponse{RefreshToken: core.NewSecret("any")}
		refused(t, adapter, refreshOf(wrong, set), core.CodeInvalidClient)
		refused(t, adapter, core.TokenRequest{Client: wrong, GrantType: core.ClientCredentials}, core.CodeInvalidClient)
		err := adapter.Revoke(t.Context(), core.RevocationRequest{Client: wrong, Token: set.RefreshToken})
		if e := failure(t, err); e.Outcome != core.Refused || e.Code != core.CodeInvalidClient {
			t.Error(err)
		}
	}
	// The right id, as that of a public client, which it is not.
	other := p.credentials("basic", "client_authentication", "none")
	refused(t, adapter, core.TokenRequest{Client: other, GrantType: core.ClientCredentials}, core.CodeInvalidClient)
}

func TestPKCEAtARealServer(t *testing.T) {
	p := startProvider(t, "")
	adapter, c := generic.New(generic.Config{}), p.credentials("basic")
	request := consented(t, adapter, c)
	request.CodeVerifier = core.NewSecret(strings.Repeat("x", 43))
	refused(t, adapter, request, core.CodeInvalidGrant)

	request = consented(t, adapter, c)
	issue(t, adapter, request)
	refused(t, adapter, request, core.CodeInvalidGrant) // the code is spent

	without := p.credentials("basic", "pkce", "none") // this server demands a challenge, and says so
	back, err := adapter.Callback(t.Context(), core.CallbackRequest{Client: without, Params: redirected(t, adapter, without, true)})
	if err != nil || back.Denied != core.CodeInvalidRequest {
		t.Errorf("%+v %v", back, err)
	}
}

func TestTheRedirectOfARealServer(t *testing.T) {
	p := startProvider(t, "/tenant")
	adapter, c := generic.New(generic.Config{}), p.credentials("basic")
	params := redirected(t, adapter, c, false)
	back, err := adapter.Callback(t.Context(), core.CallbackRequest{Client: c, Params: params})
	if err != nil || back.Denied != core.CodeAccessDenied || !back.Code.IsZero() {
		t.Errorf("%+v %v", back, err)
	}
	// The server says that it sends iss, and does: without it, or with another's, the redirect is not its own.
	for _, iss := range []string{"", "https://other.example"} {
		if params.Del("iss"); iss != "" {
			params.Set("iss", iss)
		}
		if _, err := adapter.Callback(t.Context(), core.CallbackRequest{Client: c, Params: params}); err == nil {
			t.Errorf("iss %q is let pass", iss)
		}
	}
}

func TestAnIssuerThatTheRealServerDoesNotCallItself(t *testing.T) {
	p := startProvider(t, "")
	c := p.credentials("basic", "issuer", p.issuer+"/")
	_, err := generic.New(generic.Config{}).Token(t.Context(), core.TokenRequest{Client: c, GrantType: core.ClientCredentials})
	if e := failure(t, err); e.Outcome != core.NotSent || e.Code != core.CodeMalformedResponse {
		t.Error(err)
	}
}
