package plugintest_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/plugins/sdk/authserver"
	"github.com/esignd/esignd/plugins/sdk/plugintest"
)

// vendorServer is the authorization server of a vendor that keeps to the RFCs: PKCE, rotation with detection of reuse,
// client credentials, revocation.
type vendorServer struct {
	*authserver.Server
	ledger *authserver.Ledger
	pages  *authserver.Pages
}

const (
	vendorClient = "example-client"
	vendorSecret = "example-secret-of-the-client"
	vendorAPIKey = "example-api-key-of-the-account"
)

// newVendor starts the vendor; its caller closes it.
func newVendor(rotate bool) (*vendorServer, error) {
	v := &vendorServer{}
	var err error
	v.ledger, err = authserver.NewLedger(authserver.LedgerConfig{
		ClientID: vendorClient, ClientSecret: vendorSecret, Access: time.Hour, Code: time.Minute, Rotate: rotate,
		Formats: authserver.Formats{Access: "access-%s", Refresh: "refresh-%s", Code: "code-%s"},
	})
	if err == nil {
		v.pages, err = authserver.NewPages(authserver.PagesConfig{Vendor: "Example Sign"}, v.ledger)
	}
	if err == nil {
		v.Server, err = authserver.NewServer(authserver.ServerConfig{Ledger: v.ledger, Handler: v.routes()})
	}
	if err == nil {
		err = v.Start()
	}
	return v, err
}

func startVendor(t testing.TB, rotate bool) *vendorServer {
	t.Helper()
	v, err := newVendor(rotate)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

// approve is a person who accepts without a page.
func (v *vendorServer) approve(q url.Values) (*url.URL, error) {
	code, err := v.ledger.Approve(authserver.Approval{
		Account: "person", Scope: strings.Fields(q.Get("scope")), RedirectURI: q.Get("redirect_uri"), State: q.Get("state"),
		CodeChallenge: q.Get("code_challenge"),
	})
	if err != nil {
		return nil, err
	}
	return url.Parse(q.Get("redirect_uri") + "?" + url.Values{"code": {code}, "state": {q.Get("state")}}.Encode())
}

// sandbox describes the vendor to the kit.
func (v *vendorServer) sandbox() plugintest.Sandbox {
	return plugintest.Sandbox{
		ClientID: vendorClient, ClientSecret: vendorSecret,
		Settings:       map[string]string{"url": v.URL() + "/v1"},
		SecretSettings: map[string]string{"api_key": vendorAPIKey},
		Scopes:         []string{"read", "sign"}, Probe: "/me",
	}
}

func (v *vendorServer) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/authorize", v.authorize)
	mux.HandleFunc("POST /v1/authorize", func(w http.ResponseWriter, r *http.Request) { v.pages.Decide(w, r) })
	mux.HandleFunc("POST /v1/token", func(w http.ResponseWriter, r *http.Request) {
		v.TokenEndpoint("", v.token, authserver.Form).ServeHTTP(w, r)
	})
	mux.HandleFunc("POST /v1/revoke", v.revoke)
	mux.HandleFunc("GET /v1/me", func(w http.ResponseWriter, r *http.Request) {
		token, _ := authserver.Bearer(r)
		if _, err := v.ledger.Holder(token); err != nil {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	return mux
}

func (v *vendorServer) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	challenge, err := authserver.Challenge(q)
	switch {
	case authserver.Once(q) != nil || !v.ledger.KnownClient(q.Get("client_id")) || !v.pages.RedirectAllowed(q.Get("redirect_uri")):
		v.pages.Refuse(w, "This is no authorization request.")
		return
	case q.Get("response_type") != "code" || err != nil:
		authserver.Redirect(w, r, q.Get("redirect_uri"), url.Values{"error": {"invalid_request"}}, q.Get("state"))
		return
	}
	v.pages.Ask(w, r, authserver.Asked{
		RedirectURI: q.Get("redirect_uri"), State: q.Get("state"), Scope: strings.Fields(q.Get("scope")),
		CodeChallenge: challenge,
		Granted:       func(code string) url.Values { return url.Values{"code": {code}} },
		Denied:        url.Values{"error": {"access_denied"}},
	})
}

func (v *vendorServer) token(w http.ResponseWriter, _ *http.Request, p url.Values, unreadable error) {
	refuse := func(status int, code string) { authserver.WriteJSON(w, status, map[string]string{"error": code}) }
	switch {
	case unreadable != nil:
		refuse(http.StatusBadRequest, "invalid_request")
		return
	case !v.ledger.KnownClient(p.Get("client_id")) || !v.ledger.RightSecret(p.Get("client_secret")):
		refuse(http.StatusUnauthorized, "invalid_client")
		return
	}
	var set authserver.Tokens
	var err error
	switch p.Get("grant_type") {
	case "authorization_code":
		set, _, err = v.ledger.Redeem(p.Get("code"), func(a authserver.Approval) error { return verify(a, p) })
	case "refresh_token":
		set, err = v.ledger.Refresh(p.Get("refresh_token"))
	case "client_credentials":
		set, err = v.ledger.ClientToken(strings.Fields(p.Get("scope"))...)
	default:
		refuse(http.StatusBadRequest, "unsupported_grant_type")
		return
	}
	if err != nil {
		refuse(http.StatusBadRequest, "invalid_grant")
		return
	}
	answer := map[string]any{"access_token": set.Access, "token_type": "bearer", "expires_in": set.ExpiresIn, "scope": strings.Join(set.Scope, " ")}
	if set.Refresh != "" {
		answer["refresh_token"] = set.Refresh
	}
	authserver.WriteJSON(w, http.StatusOK, answer)
}

func verify(a authserver.Approval, p url.Values) error {
	if a.RedirectURI != p.Get("redirect_uri") || !a.Proven(p.Get("code_verifier")) {
		return authserver.ErrMismatch
	}
	return nil
}

func (v *vendorServer) revoke(w http.ResponseWriter, r *http.Request) {
	p, err := authserver.ReadParams(r, "", authserver.Form)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if err := v.ledger.Revoke(p.Get("token")); err != nil && !errors.Is(err, authserver.ErrRevoked) && !errors.Is(err, authserver.ErrUnknown) {
		w.WriteHeader(http.StatusInternalServerError)
	}
}
