package dropboxsign_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/consent"
	"github.com/esignd/esignd/plugins/dropboxsign/sandbox"
	at "github.com/esignd/esignd/plugins/sdk/authserver/authservertest"
)

const redirectURI = "http://127.0.0.1:9/cb"

// start runs a sandbox and returns the credentials of its client.
func start(t *testing.T, cfg sandbox.Config) (*sandbox.Server, core.Credentials) {
	t.Helper()
	server := at.Run(sandbox.New(cfg))(t)
	id, secret := server.Client()
	c := core.Credentials{ClientID: id, ClientSecret: core.NewSecret(secret), Settings: server.Settings()}
	return server, withKey(c, server.APIKey())
}

func browser() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
}

// accepted is the request that exchanges the code of an owner who accepted.
func accepted(t *testing.T, c core.Credentials, account string) core.TokenRequest {
	t.Helper()
	page, err := adapter().AuthorizationURL(t.Context(), core.AuthorizationRequest{Client: c, RedirectURI: redirectURI, State: "st"})
	if err != nil {
		t.Fatal(err)
	}
	u, err := consent.As(t.Context(), browser(), page, account, true)
	if err != nil {
		t.Fatal(err)
	}
	back, err := adapter().Callback(t.Context(), core.CallbackRequest{Client: c, Params: u.Query()})
	if err != nil || back.Code.IsZero() {
		t.Fatalf("callback: %+v %v", back, err)
	}
	r := code(c)
	r.Code, r.RedirectURI = back.Code, redirectURI
	return r
}

// connect is a whole consent.
func connect(t *testing.T, c core.Credentials, account string) core.TokenResponse {
	t.Helper()
	set, err := adapter().Token(t.Context(), accepted(t, c, account))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// call is the status with which the API answers the token.
func call(t *testing.T, set core.TokenResponse, method, path, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, set.APIBaseURL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", set.TokenType+" "+set.AccessToken.Reveal())
	req.Header.Set("Content-Type", "application/json")
	res, err := browser().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// use is the statuses of every call that the sandbox knows: one for all, or -1.
func use(t *testing.T, set core.TokenResponse) int {
	t.Helper()
	first := call(t, set, http.MethodGet, "/v3/account", "")
	list := call(t, set, http.MethodGet, "/v3/signature_request/list", "")
	send := call(t, set, http.MethodPost, "/v3/signature_request/send", `{"title":"NDA","signers":[{"email_address":"jack@example.com"}]}`)
	if first != list || list != send {
		return -1
	}
	return first
}

func TestTokenIsUsedAsBearerAtTheAPI(t *testing.T) {
	server, c := start(t, sandbox.Config{})
	set := connect(t, c, "jane@example.com")
	if set.APIBaseURL != server.URL() || set.TokenType != "Bearer" || set.AccountID == "" {
		t.Errorf("%+v", set)
	}
	if got := use(t, set); got != http.StatusOK {
		t.Errorf("the token is answered %d", got)
	}
	if err := server.ExpireAccessTokens(); err != nil {
		t.Fatal(err)
	}
	if got := use(t, set); got != http.StatusUnauthorized {
		t.Errorf("after its end the token is answered %d", got)
	}
}

func TestGrantEndsWhenTheOwnerRevokesTheAppOrItsScopesChange(t *testing.T) {
	for name, end := range map[string]func(*sandbox.Server) (int, error){
		"revoked":        func(s *sandbox.Server) (int, error) { return s.RevokeByUser("jane@example.com") },
		"scopes changed": func(s *sandbox.Server) (int, error) { return s.SetScopes("account_access") },
	} {
		server, c := start(t, sandbox.Config{})
		set := connect(t, c, "jane@example.com")
		again := refresh(c)
		again.RefreshToken = set.RefreshToken
		if _, err := adapter().Token(t.Context(), again); err != nil {
			t.Fatalf("%s: before it: %v", name, err)
		}
		if n, err := end(server); n != 1 || err != nil {
			t.Fatalf("%s: %d grants, %v", name, n, err)
		}
		_, err := adapter().Token(t.Context(), again)
		if e := core.AsVendorError(err); e.Code != core.CodeInvalidGrant || e.Outcome != core.Refused || e.Status != http.StatusBadRequest {
			t.Errorf("%s: %v", name, err)
		}
		if got := use(t, set); got != http.StatusUnauthorized {
			t.Errorf("%s: the token is answered %d", name, got)
		}
	}
}

func TestWrongCodeStateOrClientIsAnInvalidRequest(t *testing.T) {
	_, c := start(t, sandbox.Config{})
	for name, change := range map[string]func(*core.TokenRequest){
		"code":      func(r *core.TokenRequest) { r.Code = core.NewSecret("other") },
		"state":     func(r *core.TokenRequest) { r.State = core.NewSecret("other") },
		"client_id": func(r *core.TokenRequest) { r.Client.ClientID = "other" },
	} {
		r := accepted(t, c, "jane@example.com")
		change(&r)
		_, err := adapter().Token(t.Context(), r)
		if e := core.AsVendorError(err); e.Code != core.CodeInvalidRequest || e.Outcome != core.Refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRotationAndEpochAtTheSandbox(t *testing.T) {
	_, c := start(t, sandbox.Config{Rotate: true, EpochExpiry: true})
	set := connect(t, c, "jane@example.com")
	again := refresh(c)
	again.RefreshToken = set.RefreshToken
	next, err := adapter().Token(t.Context(), again)
	if err != nil || next.RefreshToken.IsZero() || next.RefreshToken.Equal(set.RefreshToken) {
		t.Errorf("the rotated refresh token is not kept: %+v %v", next, err)
	}
	for _, d := range []time.Duration{set.ExpiresIn, next.ExpiresIn} {
		if d < 59*time.Minute || d > 61*time.Minute {
			t.Errorf("an hour as an epoch is read as %v", d)
		}
	}
}

func TestAThrottleAtTheSandbox(t *testing.T) {
	server, c := start(t, sandbox.Config{RateLimit: 1})
	server.ThrottleNext(1, 7*time.Second)
	_, err := adapter().Token(t.Context(), refresh(c))
	// The time of reset is in whole seconds, as is the vendor's clock.
	if e := core.AsVendorError(err); e.Code != core.CodeRateLimited || e.RetryAfter < 6*time.Second || e.RetryAfter > 8*time.Second {
		t.Error(err)
	}
	ask := core.AccountRequest{Client: c, EmailAddress: "a@b"}
	if _, err := adapter().VerifyAccount(t.Context(), ask); err != nil {
		t.Error(err)
	}
	_, err = adapter().VerifyAccount(t.Context(), ask)
	if e := core.AsVendorError(err); e.Code != core.CodeRateLimited || e.RetryAfter < 50*time.Second || e.RetryAfter > 61*time.Second {
		t.Errorf("the second call of a minute: %v", err)
	}
}

func TestAccountIsCheckedCreatedAndConfirmedAtTheSandbox(t *testing.T) {
	events := make(chan core.EventRequest, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		events <- core.EventRequest{Header: r.Header, Body: body, ReceivedAt: time.Now()}
		_, _ = io.WriteString(w, received)
	}))
	defer receiver.Close()
	server, c := start(t, sandbox.Config{Accounts: []string{"old@example.com"}, EventURL: receiver.URL})
	ask := func(email string) core.AccountRequest { return core.AccountRequest{Client: c, EmailAddress: email} }

	if found, err := adapter().VerifyAccount(t.Context(), ask("new@example.com")); err != nil || found.Exists {
		t.Errorf("an account that is not there: %+v, %v", found, err)
	}
	if found, err := adapter().VerifyAccount(t.Context(), ask("old@example.com")); err != nil || !found.Exists || found.AccountID == "" {
		t.Errorf("an account that is there: %+v, %v", found, err)
	}
	_, err := adapter().CreateAccount(t.Context(), ask("old@example.com"))
	if e := core.AsVendorError(err); e.Outcome != core.Refused || e.Code != core.CodeInvalidRequest {
		t.Errorf("create an account that is there: %v", err)
	}
	created, err := adapter().CreateAccount(t.Context(), ask("new@example.com"))
	if err != nil || created.AccountID == "" || created.Tokens.RefreshToken.IsZero() || created.Tokens.APIBaseURL != server.URL() {
		t.Fatalf("create: %+v, %v", created, err)
	}
	if status := use(t, created.Tokens); status != http.StatusUnauthorized {
		t.Errorf("before the confirmation the token is answered %d", status)
	}
	if _, err := consent.Consent(t.Context(), browser(), server.URL()+"/account/confirm?account=new@example.com", true); err != nil {
		t.Fatal(err)
	}
	delivered := <-events
	if status := use(t, created.Tokens); status != http.StatusOK {
		t.Errorf("after the confirmation the token is answered %d", status)
	}
	delivered.Client = c
	event, err := adapter().ReadEvent(t.Context(), delivered)
	want := core.VendorEvent{Type: core.VendorEventAccountConfirmed, AccountID: created.AccountID, Reply: received}
	if err != nil || event != want {
		t.Errorf("the event: %+v, %v; want %+v", event, err, want)
	}
}

func TestAWrongAPIKeyIsNamed(t *testing.T) {
	_, c := start(t, sandbox.Config{})
	ask := core.AccountRequest{Client: withKey(c, apiKey), EmailAddress: "new@example.com"}
	_, verify := adapter().VerifyAccount(t.Context(), ask)
	_, create := adapter().CreateAccount(t.Context(), ask)
	for _, err := range []error{verify, create} {
		if e := core.AsVendorError(err); e.Outcome != core.Refused || e.Code != core.CodeAccessDenied || !strings.Contains(e.Detail, "api_key") {
			t.Errorf("got %v", err)
		}
	}
}
