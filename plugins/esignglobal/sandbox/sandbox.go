// Package sandbox is an authorization server that behaves as eSignGlobal documents its own, for tests and for a whole
// esignd on one machine.
//
// It is strict: the consent page takes clientId and redirectUri, the token endpoint multipart/form-data with client_id
// and client_secret; parameters in the URL, as JSON or as a plain form are not processed, and redirect_uri is not one
// of them. Access tokens live 24 hours, refresh tokens 30 days since they were last used, and a consent 365 days,
// however often it was refreshed. The client's own token is shared: who asks again gets the live one with the seconds
// that it has left.
//
// The vendor does not say whether it rotates refresh tokens; Config.Rotate chooses, with strict detection of reuse. It
// does not document how a token request is refused either: here it is the {"code","message","data"} of its business
// APIs, with the HTTP status of Config.RefusalStatus. There is no revocation endpoint.
//
// It serves what is at the vendor two hosts at one address on the loopback:
//
//	GET  /oauth                                the consent page
//	POST /esignglobal/v1/oauth2/accessToken    tokens for all three grants
//	GET  /esignglobal/v1/envelope/envelopeDetail?envelopeId=…
//
// It logs nothing, and no token of it is worth anything elsewhere.
package sandbox

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"github.com/esignd/esignd/plugins/sdk/authserver"
)

// Stats counts what the sandbox has seen.
type Stats = authserver.Stats

// Fault is a wrong answer of the token endpoint, for [Server.FailNext].
type Fault = authserver.Fault

// Config says how the sandbox behaves. The zero value is eSignGlobal's behaviour with an app of the sandbox's own,
// not rotating.
type Config struct {
	// Listen is an address on the loopback, by default 127.0.0.1:0.
	Listen string
	// ClientID and ClientSecret are the one app's, by default "sandbox-esignglobal-client" and
	// "sandbox-esignglobal-secret".
	ClientID, ClientSecret string
	// RedirectURIs are the app's, compared exactly. None: any http URI on the loopback is taken.
	RedirectURIs []string
	// AccessLifetime is 24 hours by default, RefreshLifetime (since the last use) 30 days, CodeLifetime 5 minutes (the
	// vendor does not say), ConsentLifetime 365 days.
	AccessLifetime, RefreshLifetime, CodeLifetime, ConsentLifetime time.Duration
	// Rotate answers each refresh with a new refresh token. A spent one that comes back ends its grant, with every
	// token of it.
	Rotate bool
	// RefusalStatus is the HTTP status of a refused token request, by default 400; 200 is what the vendor's business
	// APIs may do.
	RefusalStatus int
	// Account is who is taken to be signed in on the consent page, by default person@sandbox.example.
	Account string
	// AutoConsent is an account that has accepted already: nobody is asked, and the consent page redirects at once.
	AutoConsent string
	// StateFile keeps grants and tokens between starts; empty: in memory only. With it and a port of 0 in Listen, the
	// last start's port is used again.
	StateFile string
	// Now is the clock, by default time.Now.
	Now func() time.Time
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

// New checks the configuration. [Server.Start] reads the state file and listens.
func New(cfg Config) (*Server, error) {
	cfg.RefusalStatus = cmp.Or(cfg.RefusalStatus, http.StatusBadRequest)
	s := &Server{cfg: cfg}
	if err := s.assemble(); err != nil {
		return nil, fmt.Errorf("esignglobal sandbox: %w", err)
	}
	return s, nil
}

func (s *Server) assemble() (err error) {
	const day = 24 * time.Hour
	s.ledger, err = authserver.NewLedger(authserver.LedgerConfig{
		ClientID:     cmp.Or(s.cfg.ClientID, "sandbox-esignglobal-client"),
		ClientSecret: cmp.Or(s.cfg.ClientSecret, "sandbox-esignglobal-secret"),
		Access:       cmp.Or(s.cfg.AccessLifetime, day),
		Refresh:      cmp.Or(s.cfg.RefreshLifetime, 30*day),
		Code:         cmp.Or(s.cfg.CodeLifetime, 5*time.Minute),
		Consent:      cmp.Or(s.cfg.ConsentLifetime, 365*day),
		Rotate:       s.cfg.Rotate,
		Formats:      authserver.Formats{Access: "sandbox.%s", Refresh: "sandbox-refresh-%s", Code: "sandbox-code-%s"},
		StateFile:    s.cfg.StateFile,
		Now:          s.cfg.Now,
	})
	if err != nil {
		return err
	}
	s.pages, err = authserver.NewPages(authserver.PagesConfig{
		Vendor: "eSignGlobal", RedirectURIs: s.cfg.RedirectURIs, Account: s.cfg.Account, AutoConsent: s.cfg.AutoConsent,
	}, s.ledger)
	if err != nil {
		return err
	}
	s.Server, err = authserver.NewServer(authserver.ServerConfig{
		Listen: s.cfg.Listen, Ledger: s.ledger, Handler: s.routes(), Middleware: s.cfg.Middleware,
	})
	return err
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /oauth", s.authorize)
	mux.HandleFunc("POST /oauth", s.pages.Decide)
	mux.HandleFunc("POST /esignglobal/v1/oauth2/accessToken", func(w http.ResponseWriter, r *http.Request) {
		s.TokenEndpoint("", s.token, authserver.Multipart).ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /esignglobal/v1/envelope/envelopeDetail", s.envelopeDetail)
	return mux
}

// Settings are the adapter's settings that point at this sandbox. Call it after Start.
func (s *Server) Settings() map[string]string {
	return map[string]string{"account_url": s.URL(), "api_url": s.URL()}
}

// ThrottleNext answers the next n token requests with 429. The vendor documents no throttling, hence no header either.
func (s *Server) ThrottleNext(n int) {
	s.FailNext(n, Fault{
		Status: http.StatusTooManyRequests,
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   `{"code":"429","message":"too many requests","data":null}`,
	})
}
