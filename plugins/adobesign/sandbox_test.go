package adobesign_test

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/adobesign"
	"github.com/esignd/esignd/plugins/adobesign/sandbox"
)

const redirectURI = "http://127.0.0.1:9/cb"

// start runs a sandbox and returns the credentials of its client.
func start(t *testing.T, version string) (*sandbox.Server, core.Credentials) {
	t.Helper()
	server, err := sandbox.New(sandbox.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	settings := server.Settings()
	settings["oauth_version"] = version
	id, secret := server.Client()
	return server, core.Credentials{ClientID: id, ClientSecret: core.NewSecret(secret), Settings: settings}
}

// decide opens the consent page and decides as a person in a browser does. It returns the parameters of the redirect.
func decide(t *testing.T, page, decision string) url.Values {
	t.Helper()
	browser := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: true},
	}
	shown, err := browser.Get(page)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(shown.Body)
	_ = shown.Body.Close()
	if err != nil || shown.StatusCode != http.StatusOK {
		t.Fatalf("consent page: %s %v", shown.Status, err)
	}
	request := regexp.MustCompile(`name="request" value="([^"]+)"`).FindSubmatch(body)
	if request == nil {
		t.Fatal("the consent page has no form")
	}
	action := *shown.Request.URL
	action.RawQuery = ""
	answered, err := browser.PostForm(action.String(),
		url.Values{"request": {string(request[1])}, "decision": {decision}, "account": {"jane@example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = answered.Body.Close()
	location, err := answered.Location()
	if err != nil {
		t.Fatalf("decision: %s %v", answered.Status, err)
	}
	return location.Query()
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

func TestAGrantsLifeAtTheSandbox(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			server, client := start(t, version)
			adapter := adobesign.New(adobesign.Config{})
			page, err := adapter.AuthorizationURL(t.Context(), core.AuthorizationRequest{
				Client: client, RedirectURI: redirectURI, State: "st", Scope: []string{"agreement_send:account", "user_login:self"},
			})
			if err != nil {
				t.Fatal(err)
			}
			params := decide(t, page, "accept")
			back, err := adapter.Callback(t.Context(), core.CallbackRequest{Client: client, Params: params})
			if err != nil || back.Denied != "" || params.Get("state") != "st" {
				t.Fatalf("callback: %+v %v", back, err)
			}
			issued, err := adapter.Token(t.Context(), core.TokenRequest{
				Client: client, GrantType: core.AuthorizationCode, Code: back.Code, RedirectURI: redirectURI, APIBaseURL: back.APIBaseURL,
			})
			if err != nil || issued.APIBaseURL != server.URL() || issued.ExpiresIn != time.Hour || issued.RefreshToken.IsZero() {
				t.Fatalf("exchange: %+v %v", issued, err)
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

func TestADenialAtTheSandbox(t *testing.T) {
	_, client := start(t, "v2")
	adapter := adobesign.New(adobesign.Config{})
	page, err := adapter.AuthorizationURL(t.Context(), core.AuthorizationRequest{
		Client: client, RedirectURI: redirectURI, State: "st", Scope: []string{"user_login"},
	})
	if err != nil {
		t.Fatal(err)
	}
	back, err := adapter.Callback(t.Context(), core.CallbackRequest{Client: client, Params: decide(t, page, "deny")})
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
