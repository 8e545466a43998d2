package authserver

import (
	"cmp"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	pendingCap      = 1000
	pendingLifetime = 10 * time.Minute
	accountLimit    = 254
)

// PagesConfig says what the consent page shows and where it may send people.
type PagesConfig struct {
	// Vendor is the vendor's name as people write it.
	Vendor string
	// RedirectURIs are compared exactly. None: any http URI on the loopback is taken.
	RedirectURIs []string
	// Account is who is taken to be signed in, unless the person types another name.
	Account string
	// AutoConsent is an account that has accepted before: nobody is asked, and the redirect is the answer.
	AutoConsent string
}

// Pages is the authorization endpoint but for its dialect. Its methods may be called from many goroutines.
type Pages struct {
	cfg    PagesConfig
	ledger *Ledger

	mu      sync.Mutex // guards pending
	pending map[string]pending
}

type pending struct {
	Asked
	until time.Time
}

// Asked is an authorization request that is in order, and how the vendor answers it.
type Asked struct {
	RedirectURI, State string
	Scope              []string
	// CodeChallenge is what Challenge returned.
	CodeChallenge string
	// Granted returns the parameters that go back with a code, state apart.
	Granted func(code string) url.Values
	// Denied are the parameters that go back without one, state apart.
	Denied url.Values
}

// NewPages checks the configuration.
func NewPages(cfg PagesConfig, ledger *Ledger) (*Pages, error) {
	for _, raw := range cfg.RedirectURIs {
		u, err := url.Parse(raw)
		if err != nil || !u.IsAbs() || u.Host == "" || u.Fragment != "" {
			return nil, errors.New("authserver: a redirect URI is absolute and has no fragment: " + raw)
		}
	}
	cfg.Account = cmp.Or(cfg.Account, "person@sandbox.example")
	return &Pages{cfg: cfg, ledger: ledger, pending: map[string]pending{}}, nil
}

// RedirectAllowed reports whether people may be sent to uri.
func (p *Pages) RedirectAllowed(uri string) bool {
	if len(p.cfg.RedirectURIs) > 0 {
		return slices.Contains(p.cfg.RedirectURIs, uri)
	}
	u, err := url.Parse(uri)
	return err == nil && u.Scheme == "http" && u.User == nil && u.Fragment == "" && loopback(u.Hostname())
}

// DefaultRedirect is where people are sent when the request does not say; empty where nothing is registered.
func (p *Pages) DefaultRedirect() string {
	if len(p.cfg.RedirectURIs) == 0 {
		return ""
	}
	return p.cfg.RedirectURIs[0]
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// Refuse shows why an authorization request cannot be answered. Nobody is redirected: the redirect URI is not trusted.
func (p *Pages) Refuse(w http.ResponseWriter, why string) {
	showPage(w, http.StatusBadRequest, pageData{Vendor: p.cfg.Vendor, Problem: why})
}

// Ask shows the consent page, or answers at once for an account that accepts everything.
func (p *Pages) Ask(w http.ResponseWriter, r *http.Request, a Asked) {
	p.ledger.count(func(s *Stats) { s.ConsentsShown++ })
	if p.cfg.AutoConsent != "" {
		p.grant(w, r, a, p.cfg.AutoConsent)
		return
	}
	showPage(w, http.StatusOK, pageData{
		Vendor: p.cfg.Vendor, Action: r.URL.Path, Client: p.ledger.cfg.ClientID,
		Scope: a.Scope, Account: p.cfg.Account, Request: p.keep(a),
	})
}

// Decide takes the person's decision. Each page is answered once, within ten minutes.
func (p *Pages) Decide(w http.ResponseWriter, r *http.Request) {
	v, err := ReadParams(r, "", Form)
	if err != nil {
		p.Refuse(w, "The decision could not be read.")
		return
	}
	account, decision := strings.TrimSpace(v.Get("account")), v.Get("decision")
	if account == "" || len(account) > accountLimit || decision != "accept" && decision != "deny" {
		p.Refuse(w, "Say whose account it is, and accept or deny.")
		return
	}
	a, ok := p.take(v.Get("request"))
	if !ok {
		p.Refuse(w, "This authorization has expired or was answered already. Start again from the application.")
		return
	}
	if decision == "accept" {
		p.grant(w, r, a, account)
		return
	}
	p.ledger.count(func(s *Stats) { s.ConsentsDenied++ })
	Redirect(w, r, a.RedirectURI, a.Denied, a.State)
}

func (p *Pages) grant(w http.ResponseWriter, r *http.Request, a Asked, account string) {
	code, err := p.ledger.Approve(Approval{
		Account: account, Scope: a.Scope, RedirectURI: a.RedirectURI, State: a.State, CodeChallenge: a.CodeChallenge,
	})
	if err != nil {
		http.Error(w, "the sandbox cannot write its state file", http.StatusInternalServerError)
		return
	}
	p.ledger.count(func(s *Stats) { s.ConsentsAccepted++ })
	Redirect(w, r, a.RedirectURI, a.Granted(code), a.State)
}

func (p *Pages) keep(a Asked) string {
	id, now := mint("%s"), p.ledger.cfg.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, old := range p.pending {
		if !now.Before(old.until) || len(p.pending) >= pendingCap {
			delete(p.pending, key)
		}
	}
	p.pending[id] = pending{Asked: a, until: now.Add(pendingLifetime)}
	return id
}

func (p *Pages) take(id string) (Asked, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.pending[id]
	delete(p.pending, id)
	return a.Asked, ok && p.ledger.cfg.Now().Before(a.until)
}

// Redirect sends the browser to uri with the parameters and, where it is not empty, the state.
func Redirect(w http.ResponseWriter, r *http.Request, uri string, params url.Values, state string) {
	u, err := url.Parse(uri)
	if err != nil {
		http.Error(w, "the redirect URI cannot be read", http.StatusBadRequest)
		return
	}
	q := u.Query()
	for name, values := range params {
		q[name] = values
	}
	if state != "" {
		q.Set("state", state)
	}
	u.RawQuery = q.Encode()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	http.Redirect(w, r, u.String(), http.StatusFound)
}
