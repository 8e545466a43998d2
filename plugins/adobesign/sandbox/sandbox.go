// Package sandbox is an authorization server that behaves as Adobe documents that of Acrobat Sign, for tests and for
// a whole esignd on one machine.
//
// It is strict: what Adobe's documents do not allow is refused. Parameters belong in the body of a POST, as a form;
// redirect_uri is compared exactly and is needed again at the exchange; an unknown scope is refused. Access tokens
// live 60 minutes, codes five, refresh tokens 60 days since their last use. A refresh answers neither a refresh token
// nor access points. Revoking either token of a grant ends both. Accounts can be moved to another shard: [Server.MoveShard].
//
// Adobe does not document the body of a token error: here it is that of RFC 6749 §5.2, while the REST API and the
// revocation answer {"code","message"}.
//
// It serves what is at Adobe two hosts, one for people and one for programs, at one address on the loopback:
//
//	GET  /public/oauth/v2, /public/oauth      the consent page
//	POST /oauth/v2/token, /oauth/token        the exchange of a code
//	POST /oauth/v2/refresh, /oauth/refresh    the refresh
//	POST /oauth/v2/revoke, /oauth/revoke      the revocation
//	GET  /api/rest/v6/users/me, /api/rest/v6/baseUris
//
// It logs nothing, and no token of it is worth anything elsewhere.
package sandbox

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/esignd/esignd/plugins/sdk/authserver"
)

// Stats counts what the sandbox has seen.
type Stats = authserver.Stats

// Fault is a wrong answer of the token endpoint, for [Server.FailNext].
type Fault = authserver.Fault

// Config says how the sandbox behaves. The zero value is Adobe's behaviour with a client of the sandbox's own.
type Config struct {
	// Listen is an address on the loopback, by default 127.0.0.1:0.
	Listen string
	// ClientID and ClientSecret are the one client's, by default "sandbox-adobesign-client" and
	// "sandbox-adobesign-secret".
	ClientID, ClientSecret string
	// RedirectURIs are the client's, compared exactly. None: any http URI on the loopback is taken.
	RedirectURIs []string
	// AccessLifetime is 60 minutes by default, RefreshLifetime (since the last use) 60 days, CodeLifetime 5 minutes.
	// ConsentLifetime has no end by default.
	AccessLifetime, RefreshLifetime, CodeLifetime, ConsentLifetime time.Duration
	// OldShardRefreshes lets the token endpoint of a shard that the accounts have left go on refreshing, so that only
	// the REST API tells of the move. Adobe does not say which of the two it does.
	OldShardRefreshes bool
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
	ledger *authserver.Ledger
	pages  *authserver.Pages
	// oldShardRefreshes is Config.OldShardRefreshes.
	oldShardRefreshes bool

	mu    sync.Mutex // guards shard
	shard string     // the URL of the accounts' shard; empty: that of the Server
}

// New checks the configuration. [Server.Start] reads the state file and listens.
func New(cfg Config) (*Server, error) {
	ledger, err := authserver.NewLedger(authserver.LedgerConfig{
		ClientID:     cmp.Or(cfg.ClientID, "sandbox-adobesign-client"),
		ClientSecret: cmp.Or(cfg.ClientSecret, "sandbox-adobesign-secret"),
		Access:       cmp.Or(cfg.AccessLifetime, time.Hour),
		Refresh:      cmp.Or(cfg.RefreshLifetime, 60*24*time.Hour),
		Code:         cmp.Or(cfg.CodeLifetime, 5*time.Minute),
		Consent:      cfg.ConsentLifetime,
		Formats:      authserver.Formats{Access: "3AAABLblsandbox%s", Refresh: "3AAABLblsandbox%s*", Code: "CBNCKBAAsandbox%s"},
		StateFile:    cfg.StateFile,
		Now:          cfg.Now,
	})
	if err != nil {
		return nil, fmt.Errorf("adobesign sandbox: %w", err)
	}
	pages, err := authserver.NewPages(authserver.PagesConfig{
		Vendor: "Adobe Acrobat Sign", RedirectURIs: cfg.RedirectURIs, Account: cfg.Account, AutoConsent: cfg.AutoConsent,
	}, ledger)
	if err != nil {
		return nil, fmt.Errorf("adobesign sandbox: %w", err)
	}
	s := &Server{ledger: ledger, pages: pages, oldShardRefreshes: cfg.OldShardRefreshes}
	s.Server, err = authserver.NewServer(authserver.ServerConfig{
		Listen: cfg.Listen, Ledger: ledger, Handler: s.routes(), Middleware: cfg.Middleware,
	})
	if err != nil {
		return nil, fmt.Errorf("adobesign sandbox: %w", err)
	}
	return s, nil
}

// routes are served once Start has run, when s.Server is there.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for version, path := range map[string]string{"v1": "", "v2": "/v2"} {
		mux.HandleFunc("GET /public/oauth"+path, s.authorize(version))
		mux.HandleFunc("POST /public/oauth"+path, s.pages.Decide)
		mux.HandleFunc("POST /oauth"+path+"/token", s.tokenEndpoint(s.exchange(version)))
		mux.HandleFunc("POST /oauth"+path+"/refresh", s.tokenEndpoint(s.refresh))
		mux.HandleFunc("POST /oauth"+path+"/revoke", s.revoke)
	}
	mux.HandleFunc("GET /api/rest/v6/users/me", s.onShard(s.api(s.me)))
	mux.HandleFunc("GET /api/rest/v6/baseUris", s.api(s.baseURIs))
	return mux
}

// tokenEndpoint looks s.Server up when a request comes: routes are made before it.
func (s *Server) tokenEndpoint(h authserver.TokenHandler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.TokenEndpoint("", h, authserver.Form).ServeHTTP(w, r)
	}
}

// Settings are the adapter's settings that point at this sandbox. Call it after Start.
func (s *Server) Settings() map[string]string {
	return map[string]string{"web_url": s.URL(), "api_url": s.URL(), "oauth_version": "v2"}
}

// ThrottleNext answers the next n token requests with 429 as Adobe words it, asking for a pause of retryAfter.
func (s *Server) ThrottleNext(n int, retryAfter time.Duration) {
	seconds := strconv.Itoa(int(retryAfter.Seconds()))
	s.FailNext(n, Fault{
		Status: http.StatusTooManyRequests,
		Header: http.Header{"Content-Type": {"application/json"}, "Retry-After": {seconds}},
		Body:   `{"code":"THROTTLING_TOO_MANY_REQUESTS","message":"Too many requests.","retryAfter":` + seconds + `}`,
	})
}
