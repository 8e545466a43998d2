package esignglobal_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/consent"
	"github.com/esignd/esignd/plugins/esignglobal/sandbox"
	at "github.com/esignd/esignd/plugins/sdk/authserver/authservertest"
)

const redirectURI = "http://127.0.0.1:9/cb"

// start runs a sandbox and returns the credentials of its client.
func start(t *testing.T, cfg sandbox.Config) (*sandbox.Server, core.Credentials) {
	t.Helper()
	server := at.Run(sandbox.New(cfg))(t)
	id, secret := server.Client()
	return server, core.Credentials{ClientID: id, ClientSecret: core.NewSecret(secret), Settings: server.Settings()}
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

// use returns the status with which the API answers the token.
func use(t *testing.T, set core.TokenResponse) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, set.APIBaseURL+"/esignglobal/v1/envelope/envelopeDetail?envelopeId=1", nil)
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

// authorize opens the consent page, decides, and reads the redirect.
func authorize(t *testing.T, client core.Credentials, accept bool) core.CallbackResult {
	t.Helper()
	page, err := adapter().AuthorizationURL(t.Context(), core.AuthorizationRequest{
		Client: client, RedirectURI: redirectURI, State: "st", Scope: []string{"signature", "stamp"},
	})
	if err != nil {
		t.Fatal(err)
	}
	params := decide(t, page, accept)
	back, err := adapter().Callback(t.Context(), core.CallbackRequest{Client: client, Params: params})
	if err != nil || params.Get("state") != "st" {
		t.Fatalf("callback: %+v %v", back, err)
	}
	return back
}

func TestAGrantsLifeAtTheSandbox(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg     sandbox.Config
		outcome core.Outcome // of a refusal
		code    string
	}{
		"rotates, refuses with a 400":         {sandbox.Config{Rotate: true}, core.Refused, core.CodeHTTPError},
		"does not rotate, refuses with a 200": {sandbox.Config{RefusalStatus: 200}, core.Unknown, core.CodeMalformedResponse},
	} {
		t.Run(name, func(t *testing.T) {
			server, client := start(t, tt.cfg)
			issued, err := adapter().Token(t.Context(), core.TokenRequest{
				Client: client, GrantType: core.AuthorizationCode, Code: authorize(t, client, true).Code, RedirectURI: redirectURI,
			})
			if err != nil || issued.RefreshToken.IsZero() || issued.ExpiresIn < 23*time.Hour {
				t.Fatalf("exchange: %+v %v", issued, err)
			}
			again := core.TokenRequest{Client: client, GrantType: core.RefreshToken, RefreshToken: issued.RefreshToken}
			refreshed, err := adapter().Token(t.Context(), again)
			if err != nil || refreshed.AccessToken.Equal(issued.AccessToken) {
				t.Fatalf("refresh: %+v %v", refreshed, err)
			}
			if rotated := !refreshed.RefreshToken.IsZero() && !refreshed.RefreshToken.Equal(issued.RefreshToken); rotated != tt.cfg.Rotate {
				t.Errorf("the refresh token rotated: %v", rotated)
			}
			if got := use(t, refreshed); got != http.StatusOK {
				t.Errorf("the refreshed token is answered %d", got)
			}
			if _, err := server.RevokeAll(); err != nil {
				t.Fatal(err)
			}
			_, err = adapter().Token(t.Context(), again)
			if e := core.AsVendorError(err); e.Outcome != tt.outcome || e.Code != tt.code {
				t.Errorf("refresh of a revoked grant: %v", err)
			}
		})
	}
}

func TestADenialAtTheSandbox(t *testing.T) {
	_, client := start(t, sandbox.Config{})
	if back := authorize(t, client, false); back.Denied != core.CodeAccessDenied || !back.Code.IsZero() {
		t.Errorf("%+v", back)
	}
}

func TestClientCredentialsAtTheSandboxShareALiveToken(t *testing.T) {
	_, client := start(t, sandbox.Config{})
	var last core.TokenResponse
	for n := range 2 {
		set, err := adapter().Token(t.Context(), core.TokenRequest{Client: client, GrantType: core.ClientCredentials})
		if err != nil || !set.RefreshToken.IsZero() || set.ExpiresIn < 23*time.Hour || set.ExpiresIn > 24*time.Hour {
			t.Fatalf("%+v %v", set, err)
		}
		if n > 0 && !set.AccessToken.Equal(last.AccessToken) {
			t.Error("another token while the first lives")
		}
		last = set
	}
}
