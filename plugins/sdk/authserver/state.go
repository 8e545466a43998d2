package authserver

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

const (
	// tokenCap bounds the ledger; the oldest tokens make room, dead ones first.
	tokenCap = 100_000
	// keepDead is how long what is dead can still be told from what never was.
	keepDead = 24 * time.Hour
)

// state is what the state file holds.
type state struct {
	Format int `json:"format"`
	// Address is where the sandbox listened, so that it listens there again: grants may name it.
	Address string            `json:"address,omitempty"`
	Grants  map[string]*grant `json:"grants"`
	// Tokens and Codes are keyed by the digest of the raw value.
	Tokens map[string]*token `json:"tokens"`
	Codes  map[string]*code  `json:"codes"`
	// ClientToken is the client's own live token, raw, since every asker gets the same one.
	ClientToken string `json:"client_token,omitempty"`
}

type grant struct {
	Account   string    `json:"account"`
	Scope     []string  `json:"scope,omitempty"`
	Consented time.Time `json:"consented"`
	Used      time.Time `json:"used"` // when a refresh token of it was last used, or issued
	Ended     time.Time `json:"ended,omitzero"`
	Awaiting  bool      `json:"awaiting,omitempty"` // until the person confirms the account
}

type token struct {
	Grant   string    `json:"grant,omitempty"` // empty: the client's own
	Refresh bool      `json:"refresh,omitempty"`
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires,omitzero"` // of access tokens; refresh tokens live with their grant
	Spent   time.Time `json:"spent,omitzero"`   // of refresh tokens: when rotated away
	Scope   []string  `json:"scope,omitempty"`  // of the client's own
}

func (t *token) spent() bool { return !t.Spent.IsZero() }

type code struct {
	Approval
	Expires time.Time `json:"expires"`
	Spent   bool      `json:"spent,omitempty"`
}

const stateFormat = 1

func newState() state {
	return state{Format: stateFormat, Grants: map[string]*grant{}, Tokens: map[string]*token{}, Codes: map[string]*code{}}
}

// mint returns a new raw token: 256 random bits in the vendor's format.
func mint(format string) string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return fmt.Sprintf(format, base64.RawURLEncoding.EncodeToString(b))
}

func seconds(d time.Duration) int { return int(d / time.Second) }

func digest(raw string) string {
	sum := sha256.Sum256([]byte(raw))
	return hex.EncodeToString(sum[:])
}

// grant stores g and issues its first tokens. l.mu is held.
func (l *Ledger) grant(now time.Time, g *grant) Tokens {
	id := mint("%s")
	g.Consented, g.Used = now, now
	l.state.Grants[id] = g
	set := l.access(now, id, g)
	set.Refresh = l.refreshToken(now, id)
	return set
}

func (l *Ledger) refreshToken(now time.Time, grantID string) string {
	raw := mint(l.cfg.Formats.Refresh)
	l.state.Tokens[digest(raw)] = &token{Grant: grantID, Refresh: true, Issued: now}
	return raw
}

// access issues an access token that does not outlive the consent.
func (l *Ledger) access(now time.Time, grantID string, g *grant) Tokens {
	expires := now.Add(l.cfg.Access)
	if l.cfg.Consent > 0 {
		if end := g.Consented.Add(l.cfg.Consent); end.Before(expires) {
			expires = end
		}
	}
	raw := mint(l.cfg.Formats.Access)
	l.state.Tokens[digest(raw)] = &token{Grant: grantID, Issued: now, Expires: expires}
	return Tokens{Access: raw, ExpiresIn: seconds(expires.Sub(now)), Holder: Holder{Account: g.Account, Scope: g.Scope}}
}

// living says why no refresh token of g works any more.
func (l *Ledger) living(now time.Time, g *grant) error {
	switch {
	case g == nil || !g.Ended.IsZero():
		return ErrRevoked
	case l.cfg.Consent > 0 && !now.Before(g.Consented.Add(l.cfg.Consent)):
		return ErrExpired
	case l.cfg.Refresh > 0 && !now.Before(g.Used.Add(l.cfg.Refresh)):
		return ErrExpired
	}
	return nil
}

// reused ends the grant whose spent refresh token was presented: one of the two who hold it stole it.
func (l *Ledger) reused(now time.Time, g *grant) {
	l.stats.RefreshTokensReused++
	if g != nil && g.Ended.IsZero() {
		g.Ended = now
		l.stats.GrantsKilledByReuse++
	}
}

// prune forgets what has been dead for long, and the oldest tokens where there are too many. l.mu is held.
func (l *Ledger) prune(now time.Time) {
	full := len(l.state.Tokens) > tokenCap
	if !full && now.Sub(l.pruned) < time.Minute {
		return
	}
	l.pruned = now
	for id, c := range l.state.Codes {
		if now.After(c.Expires.Add(keepDead)) {
			delete(l.state.Codes, id)
		}
	}
	for id, g := range l.state.Grants {
		if l.longDead(now, g) {
			delete(l.state.Grants, id)
		}
	}
	for id, t := range l.state.Tokens {
		if l.forgettable(now, t) {
			delete(l.state.Tokens, id)
		}
	}
	if len(l.state.Tokens) > tokenCap {
		l.shrink(now)
	}
}

func (l *Ledger) longDead(now time.Time, g *grant) bool {
	return l.living(now.Add(-keepDead), g) != nil && (g.Ended.IsZero() || now.After(g.Ended.Add(keepDead)))
}

func (l *Ledger) forgettable(now time.Time, t *token) bool {
	if t.Grant != "" && l.state.Grants[t.Grant] == nil {
		return true
	}
	return !t.Refresh && now.After(t.Expires.Add(keepDead))
}

// shrink drops a tenth, so that it is rarely needed.
func (l *Ledger) shrink(now time.Time) {
	type entry struct {
		id    string
		alive bool
		t     *token
	}
	all := make([]entry, 0, len(l.state.Tokens))
	for id, t := range l.state.Tokens {
		alive := !t.spent() && (t.Refresh || now.Before(t.Expires))
		all = append(all, entry{id, alive, t})
	}
	slices.SortFunc(all, func(a, b entry) int {
		if a.alive != b.alive {
			if b.alive {
				return -1
			}
			return 1
		}
		return a.t.Issued.Compare(b.t.Issued)
	})
	for _, e := range all[:len(all)-tokenCap*9/10] {
		delete(l.state.Tokens, e.id)
	}
}
