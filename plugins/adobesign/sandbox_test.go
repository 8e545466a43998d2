package adobesign_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/adobesign"
	"github.com/esignd/esignd/plugins/adobesign/sandbox"
	"github.com/esignd/esignd/plugins/consent"
	at "github.com/esignd/esignd/plugins/sdk/authserver/authservertest"
)

const redirectURI = "http://127.0.0.1:9/cb"

// start runs a sandbox and returns the credentials of its client.
func start(t *testing.T, version string) (*sandbox.Server, core.Credentials) {
	t.Helper()
	return startWith(t, version, sandbox.Config{})
}

func startWith(t *testing.T, version string, cfg sandbox.Config) (*sandbox.Server, core.Credentials) {
	t.Helper()
	server := at.Run(sandbox.New(cfg))(t)
	settings := server.Settings()
	settings["oauth_version"] = version
	id, secret := server.Client()
	return server, core.Credentials{ClientID: id, ClientSecret: core.NewSecret(secret), Settings: settings}
}

// decide answers the consent page as a person with a browser does. It returns the parameters of the redirect.
func decide(t *testing.T, page string, accept bool) url.Values {
	t.Helper()
	redirect, err := consent.As(t.Context(), at.Client(), page, "jane@example.com", accept)
	if err != nil {
		t.Fatal(err)
	}
	return redirect.Query()
}

// me returns the status with which the API answers the token.
func me(t *testing.T, set core.TokenResponse) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, set.APIBaseURL+"/api/rest/v6/users/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", set.TokenType+" "+set.AccessToken.Reveal())
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// connect takes a grant through the consent page to its first token set.
func connect(t *testing.T, adapter *adobesign.Adapter, client core.Credentials) core.TokenResponse {
	t.Helper()
	page, err := adapter.AuthorizationURL(t.Context(), core.AuthorizationRequest{
		Client: client, RedirectURI: redirectURI, State: "st", Scope: []string{"agreement_send:account", "user_login:self"},
	})
	if err != nil {
		t.Fatal(err)
	}
	params := decide(t, page, true)
	back, err := adapter.Callback(t.Context(), core.CallbackRequest{Client: client, Params: params})
	if err != nil || back.Denied != "" || params.Get("state") != "st" {
		t.Fatalf("callback: %+v %v", back, err)
	}
	issued, err := adapter.Token(t.Context(), core.TokenRequest{
		Client: client, GrantType: core.AuthorizationCode, Code: back.Code, RedirectURI: redirectURI, APIBaseURL: back.APIBaseURL,
	})
	if err != nil {
		t.Fatalf("exchange: %v", err)
	}
	return issued
}

func TestAGrantsLifeAtTheSandbox(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			server, client := start(t, version)
			adapter := adobesign.New(adobesign.Config{})
			issued := connect(t, adapter, client)
			if issued.APIBaseURL != server.URL() || issued.ExpiresIn != time.Hour || issued.RefreshToken.IsZero() {
				t.Fatalf("exchange: %+v", issued)
			}
			refreshed, err := adapter.Token(t.Context(), core.TokenRequest{
				Client: client, GrantType: core.RefreshToken, RefreshToken: issued.RefreshToken, APIBaseURL: issued.APIBaseURL,
			})
			if err != nil || !refreshed.RefreshToken.IsZero() || refreshed.AccessToken.Equal(issued.AccessToken) {
				t.Fatalf("refresh: %+v %v", refreshed, err)
			}
			if got := me(t, refreshed); got != http.StatusOK {
				t.Errorf("the refreshed token is answered %d", got)
			}
			end(t, adapter, client, issued, refreshed)
		})
	}
}

// end revokes the grant, twice, and checks that it is dead.
func end(t *testing.T, adapter *adobesign.Adapter, client core.Credentials, issued, refreshed core.TokenResponse) {
	t.Helper()
	for range 2 {
		err := adapter.Revoke(t.Context(), core.RevocationRequest{Client: client, Token: issued.RefreshToken, APIBaseURL: issued.APIBaseURL})
		if err != nil {
			t.Fatalf("revoke: %v", err)
		}
	}
	if got := me(t, refreshed); got != http.StatusUnauthorized {
		t.Errorf("the revoked token is answered %d", got)
	}
	_, err := adapter.Token(t.Context(), core.TokenRequest{
		Client: client, GrantType: core.RefreshToken, RefreshToken: issued.RefreshToken, APIBaseURL: issued.APIBaseURL,
	})
	if e := core.AsVendorError(err); e.Code != core.CodeInvalidGrant || e.Outcome != core.Refused {
		t.Errorf("refresh of a revoked grant: %v", err)
	}
}

// move moves the sandbox's accounts and returns where to.
func move(t *testing.T, server *sandbox.Server) string {
	t.Helper()
	shard, err := server.MoveShard()
	if err != nil {
		t.Fatal(err)
	}
	return shard
}

// A moved account is followed with the access token that it has, again and again, and with an expired one it is not.
func TestShardMovedAtTheSandbox(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			server, client := start(t, version)
			adapter := adobesign.New(adobesign.Config{})
			set := connect(t, adapter, client)
			refresh := core.TokenRequest{Client: client, GrantType: core.RefreshToken, RefreshToken: set.RefreshToken}
			for range 2 {
				shard := move(t, server)
				if got := me(t, set); got != http.StatusForbidden {
					t.Errorf("the old shard answers %d", got)
				}
				refresh.AccessToken, refresh.APIBaseURL = set.AccessToken, set.APIBaseURL
				var err error
				if set, err = adapter.Token(t.Context(), refresh); err != nil || set.APIBaseURL != shard {
					t.Fatalf("at %s: %v", set.APIBaseURL, err)
				}
				if got := me(t, set); got != http.StatusOK {
					t.Errorf("the new shard answers %d", got)
				}
			}
			if err := server.ExpireAccessTokens(); err != nil {
				t.Fatal(err)
			}
			move(t, server)
			refresh.AccessToken, refresh.APIBaseURL = set.AccessToken, set.APIBaseURL
			_, err := adapter.Token(t.Context(), refresh)
			if e := core.AsVendorError(err); e.Outcome != core.Refused || e.Code != core.CodeHTTPError || e.Status != http.StatusForbidden {
				t.Errorf("with an access token that has expired: %v", err)
			}
		})
	}
}

func TestReportedTokenLearnsItsShardAtTheSandbox(t *testing.T) {
	server, client := startWith(t, "v2", sandbox.Config{OldShardRefreshes: true})
	adapter := adobesign.New(adobesign.Config{})
	set := connect(t, adapter, client)
	shard := move(t, server)
	refresh := core.TokenRequest{
		Client: client, GrantType: core.RefreshToken, RefreshToken: set.RefreshToken, AccessToken: set.AccessToken, APIBaseURL: set.APIBaseURL,
	}
	unreported, err := adapter.Token(t.Context(), refresh)
	if err != nil || unreported.APIBaseURL != server.URL() || me(t, unreported) != http.StatusForbidden {
		t.Errorf("without a report: %+v %v", unreported, err)
	}
	refresh.Reported = true
	reported, err := adapter.Token(t.Context(), refresh)
	if err != nil || reported.APIBaseURL != shard || me(t, reported) != http.StatusOK {
		t.Errorf("with a report: %+v %v", reported, err)
	}
}

func TestADenialAtTheSandbox(t *testing.T) {
	_, client := start(t, "v2")
	adapter := adobesign.New(adobesign.Config{})
	page, err := adapter.AuthorizationURL(t.Context(), core.AuthorizationRequest{
		Client: client, RedirectURI: redirectURI, State: "st", Scope: []string{"user_login"},
	})
	if err != nil {
		t.Fatal(err)
	}
	back, err := adapter.Callback(t.Context(), core.CallbackRequest{Client: client, Params: decide(t, page, false)})
	if err != nil || back.Denied != core.CodeAccessDenied || !back.Code.IsZero() {
		t.Errorf("%+v %v", back, err)
	}
}

func TestAWrongSecretAndAThrottleAtTheSandbox(t *testing.T) {
	server, client := start(t, "v2")
	adapter := adobesign.New(adobesign.Config{})
	request := core.TokenRequest{Client: client, GrantType: core.RefreshToken, RefreshToken: core.NewSecret("rt")}
	server.ThrottleNext(1, 7*time.Second)
	_, err := adapter.Token(t.Context(), request)
	if e := core.AsVendorError(err); e.Code != core.CodeRateLimited || e.RetryAfter != 7*time.Second || e.Outcome != core.Refused {
		t.Error(err)
	}
	server.SetClientSecret("another")
	_, err = adapter.Token(t.Context(), request)
	if e := core.AsVendorError(err); e.Code != core.CodeInvalidClient || e.Outcome != core.Refused {
		t.Error(err)
	}
}
