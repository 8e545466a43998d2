package authserver

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"sync"
	"time"
)

// The reasons for which a Ledger refuses a client, code or token. A sandbox turns each into its vendor's words.
var (
	ErrUnknown  = errors.New("authserver: never issued here")
	ErrExpired  = errors.New("authserver: expired")
	ErrRevoked  = errors.New("authserver: its grant was ended")
	ErrSpent    = errors.New("authserver: presented before")
	ErrAwaiting = errors.New("authserver: the person has not confirmed the account")
	ErrMismatch = errors.New("authserver: a parameter is not that of the authorization request")
)

// IsRefusal reports whether err is one of the reasons above, and not a fault of the sandbox such as a state file that
// cannot be written.
func IsRefusal(err error) bool {
	for _, refusal := range []error{ErrUnknown, ErrExpired, ErrRevoked, ErrSpent, ErrAwaiting, ErrMismatch} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// LedgerConfig says whose ledger it is and how long things live. A lifetime of zero means no end.
type LedgerConfig struct {
	ClientID, ClientSecret string
	// Access, Refresh, Code and Consent are lifetimes: of an access token; of a refresh token since it was last used;
	// of an authorization code; and of a grant, however often it was refreshed.
	Access, Refresh, Code, Consent time.Duration
	// Rotate answers each refresh with a new refresh token and spends the one presented.
	Rotate bool
	// Formats says what the vendor's tokens look like.
	Formats Formats
	// StateFile keeps the ledger between starts; empty: in memory only. One process at a time uses it.
	StateFile string
	// Now is the clock, by default time.Now.
	Now func() time.Time
}

// Formats are fmt formats with one %s, for the random part.
type Formats struct{ Access, Refresh, Code string }

// Tokens is a token set as the ledger issued it.
type Tokens struct {
	Access string
	// Refresh is the refresh token that counts from now on; empty for a client's own token.
	Refresh string
	// ExpiresIn is how many whole seconds Access still lives.
	ExpiresIn int
	Holder
}

// Holder is whose token it is.
type Holder struct {
	// Account is the resource owner, empty for the client itself.
	Account string
	Scope   []string
}

// Approval is what a person approved, as a code stands for it.
type Approval struct {
	Account     string   `json:"account"`
	Scope       []string `json:"scope,omitempty"`
	RedirectURI string   `json:"redirect_uri"`
	State       string   `json:"state,omitempty"`
	// CodeChallenge is what Challenge returned.
	CodeChallenge string `json:"code_challenge,omitempty"`
}

// Ledger is the memory of an authorization server. Its methods may be called from many goroutines.
type Ledger struct {
	cfg  LedgerConfig
	file stateFile

	mu      sync.Mutex // guards what follows; not held over I/O
	secret  string
	state   state
	changes uint64 // numbers the snapshots for the state file
	pruned  time.Time
	stats   Stats
}

// NewLedger checks the configuration. It does no I/O: [Server.Start] reads the state file.
func NewLedger(cfg LedgerConfig) (*Ledger, error) {
	if cfg.ClientID == "" || cfg.ClientSecret == "" {
		return nil, errors.New("authserver: a sandbox needs a client id and a client secret")
	}
	for _, d := range []time.Duration{cfg.Access, cfg.Refresh, cfg.Code, cfg.Consent} {
		if d < 0 {
			return nil, fmt.Errorf("authserver: a lifetime is negative: %v", d)
		}
	}
	if cfg.Access == 0 || cfg.Code == 0 {
		return nil, errors.New("authserver: access tokens and codes need a lifetime")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Ledger{
		cfg: cfg, secret: cfg.ClientSecret, file: stateFile{path: cfg.StateFile},
		state: newState(), stats: Stats{TokenRequests: map[string]int{}, Issued: map[string]int{}},
	}, nil
}

// KnownClient reports whether id is the client's.
func (l *Ledger) KnownClient(id string) bool { return id == l.cfg.ClientID }

// RightSecret reports whether secret is the client's.
func (l *Ledger) RightSecret(secret string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return subtle.ConstantTimeCompare([]byte(secret), []byte(l.secret)) == 1
}

// Approve records that a person accepted and returns the code for it.
func (l *Ledger) Approve(a Approval) (string, error) {
	raw := mint(l.cfg.Formats.Code)
	err := l.update(func(now time.Time) error {
		l.state.Codes[digest(raw)] = &code{Approval: a, Expires: now.Add(l.cfg.Code)}
		return nil
	})
	return raw, err
}

// Redeem exchanges a code for the tokens of a new grant (RFC 6749 §4.1.3). check may refuse what the code stands for;
// the code is then not spent. The error is ErrUnknown, ErrExpired, ErrSpent, or that of check.
func (l *Ledger) Redeem(raw string, check func(Approval) error) (set Tokens, a Approval, err error) {
	err = l.update(func(now time.Time) error {
		c := l.state.Codes[digest(raw)]
		switch {
		case c == nil:
			return ErrUnknown
		case c.Spent:
			l.stats.CodesPresentedAgain++
			return ErrSpent
		case !now.Before(c.Expires):
			return ErrExpired
		}
		if err := check(c.Approval); err != nil {
			return err
		}
		c.Spent, a = true, c.Approval
		set = l.grant(now, &grant{Account: a.Account, Scope: a.Scope})
		l.stats.issued("authorization_code")
		return nil
	})
	return set, a, err
}

// Create makes a grant without a consent page: the tokens are issued, and work once Confirm is called.
func (l *Ledger) Create(account string, scope []string) (set Tokens, err error) {
	err = l.update(func(now time.Time) error {
		set = l.grant(now, &grant{Account: account, Scope: scope, Awaiting: true})
		return nil
	})
	return set, err
}

// Confirm lets the tokens that Create issued for the account work, and reports whether there were any.
func (l *Ledger) Confirm(account string) (found bool, err error) {
	err = l.update(func(now time.Time) error {
		for _, g := range l.state.Grants {
			if g.Account == account && g.Awaiting && g.Ended.IsZero() {
				g.Awaiting, g.Used, found = false, now, true
			}
		}
		return nil
	})
	return found, err
}

// HasAccount reports whether the account has, or had, a grant here.
func (l *Ledger) HasAccount(account string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range l.state.Grants {
		if g.Account == account {
			return true
		}
	}
	return false
}

// Refresh issues an access token (RFC 6749 §6) and starts the idle lifetime again. The error is ErrUnknown,
// ErrExpired, ErrRevoked, ErrAwaiting, or ErrSpent, which ended the grant.
func (l *Ledger) Refresh(raw string) (set Tokens, err error) {
	err = l.update(func(now time.Time) error {
		t := l.state.Tokens[digest(raw)]
		if t == nil || !t.Refresh {
			return ErrUnknown
		}
		g := l.state.Grants[t.Grant]
		if t.spent() {
			l.reused(now, g)
			return ErrSpent
		}
		if err := l.living(now, g); err != nil {
			return err
		}
		if g.Awaiting {
			return ErrAwaiting
		}
		g.Used = now
		set = l.access(now, t.Grant, g)
		set.Refresh = raw
		if l.cfg.Rotate {
			t.Spent = now
			set.Refresh = l.refreshToken(now, t.Grant)
		}
		l.stats.issued("refresh_token")
		return nil
	})
	return set, err
}

// ClientToken returns the client's own access token (RFC 6749 §4.4): the live one with what is left of its life, or a
// new one where less than a second is left.
func (l *Ledger) ClientToken(scope ...string) (set Tokens, err error) {
	err = l.update(func(now time.Time) error {
		l.stats.issued("client_credentials")
		holder := Holder{Scope: scope}
		if t := l.state.Tokens[digest(l.state.ClientToken)]; t != nil && t.Expires.Sub(now) >= time.Second {
			set = Tokens{Access: l.state.ClientToken, ExpiresIn: seconds(t.Expires.Sub(now)), Holder: holder}
			return nil
		}
		raw := mint(l.cfg.Formats.Access)
		l.state.ClientToken = raw
		l.state.Tokens[digest(raw)] = &token{Issued: now, Expires: now.Add(l.cfg.Access), Scope: scope}
		set = Tokens{Access: raw, ExpiresIn: seconds(l.cfg.Access), Holder: holder}
		return nil
	})
	return set, err
}

// Revoke ends the grant of an access or refresh token (RFC 7009), and with it every token of the grant. The error is
// ErrUnknown, ErrExpired or ErrRevoked; nothing has changed then.
func (l *Ledger) Revoke(raw string) error {
	return l.update(func(now time.Time) error {
		t := l.state.Tokens[digest(raw)]
		switch {
		case t == nil:
			return ErrUnknown
		case t.spent():
			return ErrRevoked
		case t.Grant == "":
			delete(l.state.Tokens, digest(raw))
			l.stats.Revocations++
			return nil
		}
		g := l.state.Grants[t.Grant]
		if err := l.living(now, g); err != nil && (t.Refresh || errors.Is(err, ErrRevoked)) {
			return err
		}
		if !t.Refresh && !now.Before(t.Expires) {
			return ErrExpired
		}
		g.Ended = now
		l.stats.Revocations++
		return nil
	})
}

// Holder returns whose access token it is, if it is live. The error is ErrUnknown, ErrExpired, ErrRevoked or
// ErrAwaiting.
func (l *Ledger) Holder(raw string) (Holder, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, err := l.holder(l.cfg.Now(), raw)
	if err != nil {
		l.stats.APIRefused++
	} else {
		l.stats.APIAccepted++
	}
	return h, err
}

func (l *Ledger) holder(now time.Time, raw string) (Holder, error) {
	t := l.state.Tokens[digest(raw)]
	if t == nil || t.Refresh {
		return Holder{}, ErrUnknown
	}
	if !now.Before(t.Expires) {
		return Holder{}, ErrExpired
	}
	if t.Grant == "" {
		return Holder{Scope: t.Scope}, nil
	}
	g := l.state.Grants[t.Grant]
	switch {
	case g == nil || !g.Ended.IsZero():
		return Holder{}, ErrRevoked
	case g.Awaiting:
		return Holder{}, ErrAwaiting
	}
	return Holder{Account: g.Account, Scope: g.Scope}, nil
}
