package docusign_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	docusign "github.com/esignd/esignd/examples/vendor-docusign"
	"github.com/esignd/esignd/examples/vendor-docusign/sandbox"
	"github.com/esignd/esignd/plugins/consent"
)

// world is a sandbox, the adapter, and what a test does to userinfo.
type world struct {
	*sandbox.Server
	adapter *docusign.Adapter
	asked   atomic.Int32 // how often userinfo was asked
	// answer replaces userinfo's answer; nil: the sandbox's own.
	answer atomic.Pointer[http.HandlerFunc]
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{adapter: docusign.New(docusign.Config{})}
	w.Server = open(t, sandbox.Config{Middleware: w.watch})
	return w
}

func open(t *testing.T, cfg sandbox.Config) *sandbox.Server {
	t.Helper()
	server, err := sandbox.New(cfg)
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func (w *world) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/oauth/userinfo" {
			w.asked.Add(1)
			if answer := w.answer.Load(); answer != nil {
				(*answer)(rw, r)
				return
			}
		}
		next.ServeHTTP(rw, r)
	})
}

// userinfo lets userinfo answer so from now on.
func (w *world) userinfo(answer http.HandlerFunc) { w.answer.Store(&answer) }

func (w *world) client() core.Credentials {
	id, secret := w.Client()
	return core.Credentials{ClientID: id, ClientSecret: core.NewSecret(secret), Settings: w.Settings()}
}

// codeRequest sends a person through the consent page, up to the request that exchanges the code.
func (w *world) codeRequest(t *testing.T) core.TokenRequest {
	t.Helper()
	page, err := w.adapter.AuthorizationURL(t.Context(), core.AuthorizationRequest{
		Client: w.client(), RedirectURI: callback, State: "st", Scope: []string{"signature", "extended"}, CodeChallenge: challenge,
	})
	if err != nil {
		t.Fatal(err)
	}
	back, err := consent.Consent(t.Context(), &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, page, true)
	if err != nil {
		t.Fatal(err)
	}
	result, err := w.adapter.Callback(t.Context(), core.CallbackRequest{Client: w.client(), Params: back.Query()})
	if err != nil || result.Code.IsZero() || result.APIBaseURL != "" {
		t.Fatalf("%+v %v", result, err)
	}
	return core.TokenRequest{
		Client: w.client(), GrantType: core.AuthorizationCode, Code: result.Code, RedirectURI: callback,
		CodeVerifier: core.NewSecret(verifier),
	}
}

func (w *world) token(t *testing.T, r core.TokenRequest) core.TokenResponse {
	t.Helper()
	set, err := w.adapter.Token(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if set.AccessToken.IsZero() || set.RefreshToken.IsZero() || set.ExpiresIn != 8*time.Hour || set.TokenType != "Bearer" {
		t.Fatalf("token set %+v", set)
	}
	return set
}

func (w *world) refreshRequest(set core.TokenResponse) core.TokenRequest {
	return core.TokenRequest{
		Client: w.client(), GrantType: core.RefreshToken, RefreshToken: set.RefreshToken, AccessToken: set.AccessToken,
		APIBaseURL: set.APIBaseURL,
	}
}

// lives asks the sandbox's API with the token, where the adapter says that the API is.
func lives(t *testing.T, set core.TokenResponse) bool {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, set.APIBaseURL+"/v2.1/accounts/"+set.AccountID, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+set.AccessToken.Reveal())
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.StatusCode == http.StatusOK
}
