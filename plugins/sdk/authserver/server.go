package authserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// closeGrace is how long Close waits for requests that are being answered.
const closeGrace = 500 * time.Millisecond

// ServerConfig is what a Server needs.
type ServerConfig struct {
	// Listen is a loopback address, by default 127.0.0.1:0. Where its port is 0 and the ledger has a state file, the
	// port of the last start is taken again, since grants may name it.
	Listen string
	Ledger *Ledger
	// Handler answers; Middleware may wrap it.
	Handler    http.Handler
	Middleware func(http.Handler) http.Handler
}

// Server is the outside of a sandbox: where it listens, what it counts, and what a test may do to it. Every sandbox
// embeds one. Its methods may be called from many goroutines.
type Server struct {
	listen string
	ledger *Ledger
	http   *http.Server

	requests sync.WaitGroup
	serving  sync.WaitGroup
	stop     context.CancelFunc

	mu         sync.Mutex // guards what follows
	closed     bool
	url        string
	faults     []Fault
	refreshing map[string]int // presentations being answered, by digest
}

// NewServer checks the configuration.
func NewServer(cfg ServerConfig) (*Server, error) {
	listen := cmp.Or(cfg.Listen, "127.0.0.1:0")
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, fmt.Errorf("sandbox address: %w", err)
	}
	if !loopback(host) {
		return nil, fmt.Errorf("a sandbox listens on the loopback only, not on %q", listen)
	}
	s := &Server{listen: listen, ledger: cfg.Ledger, refreshing: map[string]int{}}
	handler := cfg.Handler
	if cfg.Middleware != nil {
		handler = cfg.Middleware(handler)
	}
	base, stop := context.WithCancel(context.Background()) // a server has no caller; Close ends it
	s.stop = stop
	s.http = &http.Server{
		Handler:           s.tracked(handler),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return base },
	}
	return s, nil
}

// Start reads the state file, listens and serves until Close.
func (s *Server) Start() error {
	if err := s.ledger.load(); err != nil {
		return err
	}
	ln, err := s.bind()
	if err != nil {
		return err
	}
	address := ln.Addr().String()
	err = s.ledger.update(func(time.Time) error {
		s.ledger.state.Address = address
		return nil
	})
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	s.mu.Lock()
	s.url = "http://" + address
	s.mu.Unlock()
	s.serving.Go(func() { _ = s.http.Serve(ln) }) // ends with ErrServerClosed
	return nil
}

func (s *Server) bind() (net.Listener, error) {
	host, port, _ := net.SplitHostPort(s.listen)
	address := s.listen
	if _, last, err := net.SplitHostPort(s.ledger.address()); port == "0" && err == nil {
		address = net.JoinHostPort(host, last)
	}
	ln, err := net.Listen("tcp", address)
	if err != nil && address != s.listen {
		return nil, fmt.Errorf("listen where the sandbox of this state file did before; free the port or remove the file: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for the sandbox: %w", err)
	}
	return ln, nil
}

// AlsoListen serves at one more port of the same host, until Close, and returns its URL. The state file does not
// remember it.
func (s *Server) AlsoListen() (string, error) {
	host, _, _ := net.SplitHostPort(s.listen)
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", fmt.Errorf("listen for the sandbox: %w", err)
	}
	s.serving.Go(func() { _ = s.http.Serve(ln) }) // ends with ErrServerClosed
	return "http://" + ln.Addr().String(), nil
}

// Close stops serving. Requests being answered have half a second; it returns when all of them have ended.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace) // closing has no caller to obey
	defer cancel()
	err := s.http.Shutdown(ctx)
	s.stop()
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.requests.Wait()
	s.serving.Wait()
	return err
}

// tracked lets Close wait for handlers.
func (s *Server) tracked(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			panic(http.ErrAbortHandler)
		}
		s.requests.Add(1)
		s.mu.Unlock()
		defer s.requests.Done()
		h.ServeHTTP(w, r)
	})
}

// URL is where the sandbox serves, such as http://127.0.0.1:41234; empty before Start.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

// Client returns the credentials of the one client that the sandbox knows.
func (s *Server) Client() (id, secret string) {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	return s.ledger.cfg.ClientID, s.ledger.secret
}

// Stats returns what the sandbox has counted.
func (s *Server) Stats() Stats { return s.ledger.Stats() }

// ExpireAccessTokens ends the life of every access token now; refresh tokens stay. The error is that of writing the
// state file.
func (s *Server) ExpireAccessTokens() error { return s.ledger.ExpireAccessTokens() }

// RevokeByUser ends every grant of the account, as when the person removes the application at the vendor, and returns
// how many there were.
func (s *Server) RevokeByUser(account string) (int, error) { return s.ledger.RevokeByUser(account) }

// RevokeAll ends every grant, as when the vendor drops an application's grants, and returns how many there were.
func (s *Server) RevokeAll() (int, error) { return s.ledger.RevokeAll() }

// SetClientSecret replaces the client's secret, as when somebody makes a new one at the vendor.
func (s *Server) SetClientSecret(secret string) { s.ledger.SetClientSecret(secret) }

// TokenHandler answers a request to the token endpoint with its parameters, or with the reason why they could not
// be read.
type TokenHandler func(w http.ResponseWriter, r *http.Request, params url.Values, unreadable error)

// TokenEndpoint counts and reads token requests, applies the faults that a test asked for, and calls h. The body has
// one of the kinds; the URL has exactly the query.
func (s *Server) TokenEndpoint(query string, h TokenHandler, kinds ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		params, err := ReadParams(r, query, kinds...)
		s.countToken(params.Get("grant_type"))
		defer s.overlap(params.Get("refresh_token"))()
		fault, failing := s.nextFault()
		if !failing {
			h(w, r, params, err)
			return
		}
		fault.answer(w, r, func(w http.ResponseWriter) { h(w, r, params, err) })
	})
}

func (s *Server) countToken(grantType string) {
	switch grantType {
	case "authorization_code", "refresh_token", "client_credentials":
	default:
		grantType = "other"
	}
	s.ledger.count(func(st *Stats) {
		st.TokenRequests[grantType]++
		st.LastTokenRequest = s.ledger.cfg.Now()
	})
}

// overlap counts a refresh token that is presented while it is already being answered. The caller calls what it
// returns when it has answered.
func (s *Server) overlap(raw string) (done func()) {
	if raw == "" {
		return func() {}
	}
	key := digest(raw)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refreshing[key]++; s.refreshing[key] > 1 {
		s.ledger.count(func(st *Stats) { st.OverlappingRefreshes++ })
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.refreshing[key]--; s.refreshing[key] == 0 {
			delete(s.refreshing, key)
		}
	}
}
