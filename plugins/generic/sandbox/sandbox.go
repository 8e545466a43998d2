// Package sandbox is an authorization server as the RFCs describe one, of no vendor's, for tests.
//
// It publishes its metadata (RFC 8414) and says in its redirects who it is (RFC 9207); it demands a code challenge by S256
// (RFC 7636) and HTTP Basic; it rotates refresh tokens, and ends a grant whose spent one comes back.
//
//	GET  /.well-known/oauth-authorization-server
//	GET  /authorize                                the consent page
//	POST /token, /revoke
//	GET  /me                                       an API
package sandbox

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/esignd/esignd/plugins/sdk/authserver"
)

// Config says how the sandbox behaves. The zero value is right.
type Config struct {
	// AutoConsent is an account that has accepted already: nobody is asked.
	AutoConsent string
	// AccessLifetime is that of an access token. 0: an hour.
	AccessLifetime time.Duration
	// WithoutPKCE takes authorizations without a code challenge.
	WithoutPKCE bool
	// Middleware wraps every request, for tests.
	Middleware func(http.Handler) http.Handler
}

// Server is a running sandbox.
type Server struct {
	*authserver.Server
	cfg    Config
	ledger *authserver.Ledger
	pages  *authserver.Pages
}

// New checks the configuration. [Server.Start] listens.
func New(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg}
	if err := s.assemble(); err != nil {
		return nil, fmt.Errorf("generic sandbox: %w", err)
	}
	return s, nil
}

func (s *Server) assemble() (err error) {
	s.ledger, err = authserver.NewLedger(authserver.LedgerConfig{
		ClientID: "a client", ClientSecret: "s3cret:+%/", Access: cmp.Or(s.cfg.AccessLifetime, time.Hour), Refresh: 24 * time.Hour, Code: time.Minute, Rotate: true,
		Formats: authserver.Formats{Access: "access-%s", Refresh: "refresh-%s", Code: "code-%s"},
	})
	if err != nil {
		return err
	}
	if s.pages, err = authserver.NewPages(authserver.PagesConfig{Vendor: "The sandbox", AutoConsent: s.cfg.AutoConsent}, s.ledger); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", s.metadata)
	mux.HandleFunc("GET /authorize", s.authorize)
	mux.HandleFunc("POST /authorize", s.pages.Decide)
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		s.TokenEndpoint("", s.token(r), authserver.Form).ServeHTTP(w, r)
	})
	mux.HandleFunc("POST /revoke", s.revoke)
	mux.HandleFunc("GET /me", s.me)
	s.Server, err = authserver.NewServer(authserver.ServerConfig{Ledger: s.ledger, Handler: mux, Middleware: s.cfg.Middleware})
	return err
}

// Discovered are the adapter's settings that name this server and let it say the rest.
func (s *Server) Discovered() map[string]string {
	return map[string]string{"issuer": s.URL(), "api_base_url": s.URL()}
}

// Settings are the adapter's settings that point at this sandbox without a question to it. Call it after Start.
func (s *Server) Settings() map[string]string {
	settings := map[string]string{
		"authorization_url": s.URL() + "/authorize", "token_url": s.URL() + "/token", "revocation_url": s.URL() + "/revoke",
		"api_base_url": s.URL(),
	}
	if s.cfg.WithoutPKCE {
		settings["pkce"] = "none"
	}
	return settings
}

func (s *Server) me(w http.ResponseWriter, r *http.Request) {
	token, _ := authserver.Bearer(r)
	holder, err := s.ledger.Holder(token)
	if err != nil {
		refuse(w, http.StatusUnauthorized, "invalid_token")
		return
	}
	authserver.WriteJSON(w, http.StatusOK, map[string]string{"account": holder.Account})
}

func (s *Server) metadata(w http.ResponseWriter, _ *http.Request) {
	authserver.WriteJSON(w, http.StatusOK, map[string]any{
		"issuer": s.URL(), "authorization_endpoint": s.URL() + "/authorize", "token_endpoint": s.URL() + "/token",
		"revocation_endpoint": s.URL() + "/revoke", "authorization_response_iss_parameter_supported": true,
	})
}

func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if !s.ledger.KnownClient(q.Get("client_id")) || !s.pages.RedirectAllowed(q.Get("redirect_uri")) {
		s.pages.Refuse(w, "client_id or redirect_uri is wrong")
		return
	}
	iss := url.Values{"iss": {s.URL()}}
	challenge, err := authserver.Challenge(q)
	if err != nil || q.Get("response_type") != "code" || challenge == "" && !s.cfg.WithoutPKCE || authserver.Once(q) != nil {
		iss.Set("error", "invalid_request")
		authserver.Redirect(w, r, q.Get("redirect_uri"), iss, q.Get("state"))
		return
	}
	s.pages.Ask(w, r, authserver.Asked{
		RedirectURI: q.Get("redirect_uri"), State: q.Get("state"), Scope: strings.Fields(q.Get("scope")),
		CodeChallenge: challenge,
		Granted: func(code string) url.Values {
			iss.Set("code", code)
			return iss
		},
		Denied: url.Values{"iss": iss["iss"], "error": {"access_denied"}},
	})
}

// client reports whether the request proves the client, by HTTP Basic alone.
func (s *Server) client(r *http.Request) bool {
	id, secret, _ := r.BasicAuth()
	id, err1 := url.QueryUnescape(id)
	secret, err2 := url.QueryUnescape(secret)
	return err1 == nil && err2 == nil && s.ledger.KnownClient(id) && s.ledger.RightSecret(secret)
}

func (s *Server) token(r *http.Request) authserver.TokenHandler {
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
			set, _, err = s.ledger.Redeem(p.Get("code"), func(a authserver.Approval) error { return proven(a, p) })
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

// proven checks the redirect URI and the code verifier.
func proven(a authserver.Approval, p url.Values) error {
	if a.RedirectURI != p.Get("redirect_uri") || !a.Proven(p.Get("code_verifier")) {
		return authserver.ErrMismatch
	}
	return nil
}

// revoke answers 200 for a token that it does not know, too (RFC 7009 §2.2).
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
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
