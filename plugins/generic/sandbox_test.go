package generic_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/sdk/authserver"
)

// sandbox is an authorization server as the RFCs describe one: it publishes its metadata, demands S256 and HTTP Basic,
// rotates refresh tokens, and ends a grant whose spent one comes back.
type sandbox struct {
	*authserver.Server
	ledger *authserver.Ledger
	pages  *authserver.Pages

	mu         sync.Mutex // guards challenges
	challenges map[string]string
}

// startSandbox runs a sandbox on which jane accepts everything, until the test ends.
func startSandbox(t testing.TB) *sandbox {
	t.Helper()
	s := &sandbox{challenges: map[string]string{}}
	var err error
	s.ledger, err = authserver.NewLedger(authserver.LedgerConfig{
		ClientID: "a client", ClientSecret: "s3cret:+%/", Access: time.Hour, Refresh: 24 * time.Hour, Code: time.Minute, Rotate: true,
		Formats: authserver.Formats{Access: "access-%s", Refresh: "refresh-%s", Code: "code-%s"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.pages, err = authserver.NewPages(authserver.PagesConfig{Vendor: "The sandbox", AutoConsent: "jane"}, s.ledger); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+rfc8414, s.metadata)
	mux.HandleFunc("GET /authorize", s.authorize)
	mux.Handle("POST /token", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.TokenEndpoint("", s.token(r), authserver.Form).ServeHTTP(w, r)
	}))
	mux.HandleFunc("POST /revoke", s.revoke)
	if s.Server, err = authserver.NewServer(authserver.ServerConfig{Ledger: s.ledger, Handler: mux}); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *sandbox) credentials() core.Credentials {
	id, secret := s.Client()
	return core.Credentials{ClientID: id, ClientSecret: core.NewSecret(secret), Settings: map[string]string{"issuer": s.URL()}}
}

func (s *sandbox) metadata(w http.ResponseWriter, _ *http.Request) {
	authserver.WriteJSON(w, http.StatusOK, map[string]any{
		"issuer": s.URL(), "authorization_endpoint": s.URL() + "/authorize", "token_endpoint": s.URL() + "/token",
		"revocation_endpoint": s.URL() + "/revoke", "authorization_response_iss_parameter_supported": true,
	})
}

func (s *sandbox) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if !s.ledger.KnownClient(q.Get("client_id")) || !s.pages.RedirectAllowed(q.Get("redirect_uri")) {
		s.pages.Refuse(w, "client_id or redirect_uri is wrong")
		return
	}
	iss := url.Values{"iss": {s.URL()}}
	if q.Get("response_type") != "code" || q.Get("code_challenge") == "" || q.Get("code_challenge_method") != "S256" || authserver.Once(q) != nil {
		iss.Set("error", "invalid_request")
		authserver.Redirect(w, r, q.Get("redirect_uri"), iss, q.Get("state"))
		return
	}
	s.pages.Ask(w, r, authserver.Asked{
		RedirectURI: q.Get("redirect_uri"), State: q.Get("state"), Scope: strings.Fields(q.Get("scope")),
		Granted: func(code string) url.Values {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.challenges[code] = q.Get("code_challenge")
			iss.Set("code", code)
			return iss
		},
	})
}

// client reports whether the request proves the client, by HTTP Basic alone.
func (s *sandbox) client(r *http.Request) bool {
	id, secret, _ := r.BasicAuth()
	id, err1 := url.QueryUnescape(id)
	secret, err2 := url.QueryUnescape(secret)
	return err1 == nil && err2 == nil && s.ledger.KnownClient(id) && s.ledger.RightSecret(secret)
}

func (s *sandbox) token(r *http.Request) authserver.TokenHandler {
	return func(w http.ResponseWriter, _ *http.Request, p url.Values, unreadable error) {
		var set authserver.Tokens
		var err error
		switch {
		case unreadable != nil || p.Has("client_id") || p.Has("client_secret"):
			refuse(w, http.StatusBadRequest, "invalid_request")
			return
		case !s.client(r):
			refuse(w, http.StatusUnauthorized, "invalid_client")
			return
		case p.Get("grant_type") == "authorization_code":
			set, _, err = s.ledger.Redeem(p.Get("code"), func(a authserver.Approval) error { return s.proven(a, p) })
		case p.Get("grant_type") == "refresh_token":
			set, err = s.ledger.Refresh(p.Get("refresh_token"))
		case p.Get("grant_type") == "client_credentials":
			set, err = s.ledger.ClientToken(strings.Fields(p.Get("scope"))...)
		default:
			refuse(w, http.StatusBadRequest, "unsupported_grant_type")
			return
		}
		if err != nil {
			refuse(w, http.StatusBadRequest, "invalid_grant")
			return
		}
		answer := map[string]any{"access_token": set.Access, "token_type": "Bearer", "expires_in": set.ExpiresIn, "scope": strings.Join(set.Scope, " ")}
		if set.Refresh != "" {
			answer["refresh_token"] = set.Refresh
		}
		authserver.WriteJSON(w, http.StatusOK, answer)
	}
}

// proven checks the redirect URI and the code verifier (RFC 7636 §4.6).
func (s *sandbox) proven(a authserver.Approval, p url.Values) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	digest := sha256.Sum256([]byte(p.Get("code_verifier")))
	if a.RedirectURI != p.Get("redirect_uri") || s.challenges[p.Get("code")] != base64.RawURLEncoding.EncodeToString(digest[:]) {
		return authserver.ErrMismatch
	}
	return nil
}

// revoke answers 200 for a token that it does not know, too (RFC 7009 §2.2).
func (s *sandbox) revoke(w http.ResponseWriter, r *http.Request) {
	p, err := authserver.ReadParams(r, "", authserver.Form)
	switch {
	case err != nil || p.Get("token") == "":
		refuse(w, http.StatusBadRequest, "invalid_request")
	case !s.client(r):
		refuse(w, http.StatusUnauthorized, "invalid_client")
	default:
		_ = s.ledger.Revoke(p.Get("token"))
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	authserver.WriteJSON(w, status, map[string]string{"error": code})
}
