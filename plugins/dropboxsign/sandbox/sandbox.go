// Package sandbox is an authorization server that behaves as Dropbox Sign documents its own, and as it was measured
// to be where that is stricter, for tests and for a whole esignd on one machine.
//
// It is strict: client credentials belong in the body, HTTP Basic is refused at the token endpoint; redirect_uri is
// not a parameter of the exchange; the state of the authorization is; a refresh goes to /oauth/token?refresh. A person
// who denies is sent back with the state alone. A wrong client_id or code is invalid_request, a dead refresh token
// invalid_grant. Access tokens live an hour, codes too; refresh tokens live until the person revokes the application
// or its scopes change. There is no revocation endpoint.
//
// It serves what is at the vendor two hosts at one address on the loopback:
//
//	GET  /oauth/authorize                     the consent page
//	POST /oauth/token, /oauth/token?refresh   tokens, from JSON, form or multipart bodies
//	GET  /v3/account, /v3/signature_request/list
//	POST /v3/signature_request/send
//	POST /v3/account/verify, /v3/account/create
//	PUT  /v3/api_app/{client_id}              where the app wants its events
//
// The API answers with the vendor's rate-limit headers, and with 429 beyond the limit. An account that was created gets
// tokens that do not work before its owner confirms it, which a test does by [Server.ConfirmAccount] and a person at
//
//	GET, POST /account/confirm
//
// where the vendor would send a mail. The app's event URL is told then, and again until it acknowledges.
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

// Stats counts what the sandbox has seen.
type Stats = authserver.Stats

// Fault is a wrong answer of the token endpoint, for [Server.FailNext].
type Fault = authserver.Fault

// Config says how the sandbox behaves. The zero value is Dropbox Sign's behaviour with an app of the sandbox's own.
type Config struct {
	// Listen is an address on the loopback, by default 127.0.0.1:0.
	Listen string
	// ClientID and ClientSecret are the one app's, by default "sandbox-dropboxsign-client" and
	// "sandbox-dropboxsign-secret".
	ClientID, ClientSecret string
	// APIKey is that of the account that owns the app, by default "sandbox-dropboxsign-api-key".
	APIKey string
	// RedirectURIs are the app's, compared exactly; the first is the default one. None: any http URI on the loopback
	// is taken, and has to be given.
	RedirectURIs []string
	// Scopes are the app's, by default basic_account_info and request_signature.
	Scopes []string
	// Accounts are e-mail addresses that have an account without having authorized the app.
	Accounts []string
	// EventURL is where the app wants its events until that is changed; empty: none are sent.
	EventURL string
	// EventBackoff is how long it waits before it sends an event that was not acknowledged a second time, twice that
	// before the third, and so on for five times in all; by default 200 ms. The vendor goes on for about three days.
	EventBackoff time.Duration
	// RateLimit is how many calls of the API, in a minute, are answered; by default 10,000, since tests are in a hurry.
	// The vendor documents 100 of an account.
	RateLimit int
	// AccessLifetime is 60 minutes by default, CodeLifetime too. RefreshLifetime (since the last use) and
	// ConsentLifetime have no end by default.
	AccessLifetime, RefreshLifetime, CodeLifetime, ConsentLifetime time.Duration
	// Rotate answers each refresh with a new refresh token and ends the grant when a spent one comes back. The vendor
	// is not known to do so.
	Rotate bool
	// EpochExpiry answers expires_in as a unix time, as one page of the vendor's says.
	EpochExpiry bool
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
	events *http.Client
	limit  *rateLimit

	delivering sync.WaitGroup
	closing    sync.Once // closes closed
	closed     chan struct{}

	mu       sync.Mutex // guards what follows
	scopes   []string
	accounts map[string]bool
	eventURL string
	sent     []signatureRequest
}

// New checks the configuration. [Server.Start] reads the state file and listens.
func New(cfg Config) (*Server, error) {
	cfg.ClientID = cmp.Or(cfg.ClientID, "sandbox-dropboxsign-client")
	cfg.APIKey = cmp.Or(cfg.APIKey, "sandbox-dropboxsign-api-key")
	if len(cfg.Scopes) == 0 {
		cfg.Scopes = []string{"basic_account_info", "request_signature"}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.EventBackoff = cmp.Or(cfg.EventBackoff, 200*time.Millisecond)
	s := &Server{
		cfg: cfg, scopes: cfg.Scopes, eventURL: cfg.EventURL, accounts: map[string]bool{},
		events: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
		limit:  &rateLimit{most: cmp.Or(cfg.RateLimit, 10_000), now: cfg.Now},
		closed: make(chan struct{}),
	}
	for _, email := range cfg.Accounts {
		s.accounts[email] = true
	}
	if err := s.assemble(); err != nil {
		return nil, fmt.Errorf("dropboxsign sandbox: %w", err)
	}
	return s, nil
}

func (s *Server) assemble() (err error) {
	s.ledger, err = authserver.NewLedger(authserver.LedgerConfig{
		ClientID:     s.cfg.ClientID,
		ClientSecret: cmp.Or(s.cfg.ClientSecret, "sandbox-dropboxsign-secret"),
		Access:       cmp.Or(s.cfg.AccessLifetime, time.Hour),
		Refresh:      s.cfg.RefreshLifetime,
		Code:         cmp.Or(s.cfg.CodeLifetime, time.Hour),
		Consent:      s.cfg.ConsentLifetime,
		Rotate:       s.cfg.Rotate,
		Formats:      authserver.Formats{Access: "sandbox-access-%s=", Refresh: "sandbox-refresh-%s", Code: "sandbox-code-%s"},
		StateFile:    s.cfg.StateFile,
		Now:          s.cfg.Now,
	})
	if err != nil {
		return err
	}
	s.pages, err = authserver.NewPages(authserver.PagesConfig{
		Vendor: "Dropbox Sign", RedirectURIs: s.cfg.RedirectURIs, Account: s.cfg.Account, AutoConsent: s.cfg.AutoConsent,
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
	mux.HandleFunc("GET /oauth/authorize", s.authorize)
	mux.HandleFunc("POST /oauth/authorize", s.pages.Decide)
	mux.HandleFunc("POST /oauth/token", s.token)
	mux.HandleFunc("GET /account/confirm", s.confirmPage)
	mux.HandleFunc("POST /account/confirm", s.confirmed)
	for pattern, h := range map[string]http.HandlerFunc{
		"GET /v3/account":                 s.bearer(s.account),
		"GET /v3/signature_request/list":  s.bearer(s.listRequests),
		"POST /v3/signature_request/send": s.bearer(s.sendRequest),
		"POST /v3/account/verify":         s.verifyAccount,
		"POST /v3/account/create":         s.createAccount,
		"PUT /v3/api_app/{client_id}":     s.updateApp,
	} {
		mux.HandleFunc(pattern, s.limit.limited(h))
	}
	return mux
}

// Close stops serving, and sending events for which no caller waits. It returns when all of that has ended.
func (s *Server) Close() error {
	err := s.Server.Close() // after it no handler begins to send one
	s.closing.Do(func() { close(s.closed) })
	s.delivering.Wait()
	return err
}

// Settings are the adapter's settings that point at this sandbox; the API key is apart, since it is a secret. Call it
// after Start.
func (s *Server) Settings() map[string]string {
	return map[string]string{"app_url": s.URL(), "api_url": s.URL()}
}

// APIKey is that of the account that owns the app: the adapter's setting api_key.
func (s *Server) APIKey() string { return s.cfg.APIKey }

// SetScopes changes the app's scopes, which at Dropbox Sign drops every grant. It returns how many there were.
func (s *Server) SetScopes(scopes ...string) (int, error) {
	s.mu.Lock()
	s.scopes = scopes
	s.mu.Unlock()
	return s.RevokeAll()
}

// SetEventURL changes where the app wants its events; empty: none are sent.
func (s *Server) SetEventURL(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eventURL = url
}

// ThrottleNext answers the next n token requests with 429 as Dropbox Sign words it: no Retry-After, but headers that
// say when the limit ends.
func (s *Server) ThrottleNext(n int, retryAfter time.Duration) {
	s.FailNext(n, Fault{
		Status: http.StatusTooManyRequests,
		Header: throttled(s.cfg.Now().Add(retryAfter)),
		Body:   `{"error":{"error_msg":"Too many requests.","error_name":"exceeded_rate"}}`,
	})
}

func throttled(until time.Time) http.Header {
	h := http.Header{"Content-Type": {"application/json"}}
	setRateLimit(h, 100, 0, until)
	return h
}
