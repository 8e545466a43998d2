// Package sandbox is an authorization server that behaves as DocuSign documents its own, for tests and for a whole
// esignd on one machine.
//
// It is strict: the token endpoint takes a form and a client that proves itself by HTTP Basic, and nothing in the URL;
// a code that was asked for with a PKCE challenge is redeemed with its verifier; a redirect URI that comes with a code
// is that of the authorization request. Access tokens live 8 hours. Refresh tokens live 30 days and are used once: a
// spent one that comes back ends its grant, with every token of it.
//
// The texts of refusals are the sandbox's own.
//
// It serves what is at the vendor several hosts at one address on the loopback:
//
//	GET  /oauth/auth                       the consent page
//	POST /oauth/token                      tokens
//	GET  /oauth/userinfo                   the person, with the base URI of each account
//	GET  /restapi/v2.1/accounts/{account}  the account of the token, as the API tells it
//
// It logs nothing, and no token of it is worth anything elsewhere.
package sandbox

import (
	"cmp"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/esignd/esignd/plugins/sdk/authserver"
)

// Config says how the sandbox behaves. The zero value is DocuSign's behaviour with an app of the sandbox's own.
type Config struct {
	// Listen is an address on the loopback, by default 127.0.0.1:0.
	Listen string
	// RedirectURIs are the app's, compared exactly. None: any http URI on the loopback is taken.
	RedirectURIs []string
	// AccessLifetime is 8 hours by default, RefreshLifetime (since the last use) 30 days, CodeLifetime 2 minutes.
	AccessLifetime, RefreshLifetime, CodeLifetime time.Duration
	// StateFile keeps grants and tokens between starts; empty: in memory only.
	StateFile string
	// Now is the clock, by default time.Now.
	Now func() time.Time
	// Middleware wraps every request, for tests.
	Middleware func(http.Handler) http.Handler
}

// Person is who is taken to be signed in on the consent page, unless another name is typed there.
const Person = "person@sandbox.example"

// Server is a running sandbox.
type Server struct {
	*authserver.Server
	ledger *authserver.Ledger
	pages  *authserver.Pages

	mu      sync.Mutex // guards what follows
	baseURI string     // of every account; empty: the sandbox's own
}

// New checks the configuration. Start reads the state file and listens.
func New(cfg Config) (*Server, error) {
	s := &Server{}
	if err := s.assemble(cfg); err != nil {
		return nil, fmt.Errorf("docusign sandbox: %w", err)
	}
	return s, nil
}

func (s *Server) assemble(cfg Config) (err error) {
	s.ledger, err = authserver.NewLedger(authserver.LedgerConfig{
		ClientID:     "sandbox-docusign-integration-key",
		ClientSecret: "sandbox-docusign+secret/%", // which Basic form-encodes
		Access:       cmp.Or(cfg.AccessLifetime, 8*time.Hour),
		Refresh:      cmp.Or(cfg.RefreshLifetime, 30*24*time.Hour),
		Code:         cmp.Or(cfg.CodeLifetime, 2*time.Minute),
		Rotate:       true,
		Formats:      authserver.Formats{Access: "sandbox-access-%s", Refresh: "sandbox-refresh-%s", Code: "sandbox-code-%s"},
		StateFile:    cfg.StateFile,
		Now:          cfg.Now,
	})
	if err != nil {
		return err
	}
	s.pages, err = authserver.NewPages(authserver.PagesConfig{
		Vendor: "DocuSign", RedirectURIs: cfg.RedirectURIs, Account: Person,
	}, s.ledger)
	if err != nil {
		return err
	}
	s.Server, err = authserver.NewServer(authserver.ServerConfig{
		Listen: cfg.Listen, Ledger: s.ledger, Handler: s.routes(), Middleware: cfg.Middleware,
	})
	return err
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /oauth/auth", s.authorize)
	mux.HandleFunc("POST /oauth/auth", s.pages.Decide)
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, r *http.Request) {
		s.TokenEndpoint("", s.token, authserver.Form).ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /oauth/userinfo", s.userinfo)
	mux.HandleFunc("GET /restapi/v2.1/accounts/{account}", s.account)
	return mux
}

// Settings are the adapter's settings that point at this sandbox. Call it after Start.
func (s *Server) Settings() map[string]string { return map[string]string{"account_url": s.URL()} }

// Move lets userinfo name another base URI for every account, as when the vendor moves one to another site.
func (s *Server) Move(baseURI string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.baseURI = baseURI
}
