package dropboxsign_test

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/dropboxsign/sandbox"
)

const redirectURI = "http://127.0.0.1:9/cb"

// start runs a sandbox and returns the credentials of its client.
func start(t *testing.T, cfg sandbox.Config) (*sandbox.Server, core.Credentials) {
	t.Helper()
	server, err := sandbox.New(cfg)
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
	id, secret := server.Client()
	return server, core.Credentials{ClientID: id, ClientSecret: core.NewSecret(secret), Settings: server.Settings()}
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

// use returns the status with which the API answers the token.
func use(t *testing.T, set core.TokenResponse) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, set.APIBaseURL+"/v3/account", nil)
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

func consentPage(t *testing.T, client core.Credentials) string {
	t.Helper()
	page, err := adapter().AuthorizationURL(t.Context(), core.AuthorizationRequest{Client: client, RedirectURI: redirectURI, State: "st"})
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func TestAGrantsLifeAtTheSandbox(t *testing.T) {
	for name, cfg := range map[string]sandbox.Config{
		"expires_in in seconds": {},
		"expires_in an epoch":   {EpochExpiry: true},
	} {
		t.Run(name, func(t *testing.T) { grantsLife(t, cfg) })
	}
}

func grantsLife(t *testing.T, cfg sandbox.Config) {
	server, client := start(t, cfg)
	params := decide(t, consentPage(t, client), "accept")
	back, err := adapter().Callback(t.Context(), core.CallbackRequest{Client: client, Params: params})
	if err != nil || back.Denied != "" || params.Get("state") != "st" {
		t.Fatalf("callback: %+v %v", back, err)
	}
	issued, err := adapter().Token(t.Context(), core.TokenRequest{
		Client: client, GrantType: core.AuthorizationCode, Code: back.Code, RedirectURI: redirectURI, State: core.NewSecret("st"),
	})
	if err != nil || issued.RefreshToken.IsZero() || issued.ExpiresIn < 59*time.Minute || issued.ExpiresIn > 25*time.Hour || issued.AccountID == "" {
		t.Fatalf("exchange: %+v %v", issued, err)
	}
	again := refresh(client)
	again.RefreshToken = issued.RefreshToken
	refreshed, err := adapter().Token(t.Context(), again)
	if err != nil || refreshed.AccessToken.Equal(issued.AccessToken) {
		t.Fatalf("refresh: %+v %v", refreshed, err)
	}
	if got := use(t, refreshed); got != http.StatusOK {
		t.Errorf("the refreshed token is answered %d", got)
	}
	if _, err := server.RevokeAll(); err != nil {
		t.Fatal(err)
	}
	if got := use(t, refreshed); got != http.StatusUnauthorized {
		t.Errorf("the revoked token is answered %d", got)
	}
	_, err = adapter().Token(t.Context(), again)
	if e := core.AsVendorError(err); e.Code != core.CodeInvalidGrant || e.Outcome != core.Refused {
		t.Errorf("refresh of a revoked grant: %v", err)
	}
}

func TestADenialAtTheSandboxIsTheStateAlone(t *testing.T) {
	_, client := start(t, sandbox.Config{})
	params := decide(t, consentPage(t, client), "deny")
	if len(params) != 1 || params.Get("state") != "st" {
		t.Errorf("parameters %v", params)
	}
	back, err := adapter().Callback(t.Context(), core.CallbackRequest{Client: client, Params: params})
	if err != nil || back.Denied != core.CodeAccessDenied || !back.Code.IsZero() {
		t.Errorf("%+v %v", back, err)
	}
}

func TestAThrottleAtTheSandbox(t *testing.T) {
	server, client := start(t, sandbox.Config{})
	server.ThrottleNext(1, 7*time.Second)
	_, err := adapter().Token(t.Context(), refresh(client))
	// The time of reset is in whole seconds, as is the vendor's clock.
	if e := core.AsVendorError(err); e.Code != core.CodeRateLimited || e.RetryAfter < 6*time.Second || e.RetryAfter > 8*time.Second {
		t.Error(err)
	}
}
