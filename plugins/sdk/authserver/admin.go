package authserver

import (
	"maps"
	"time"
)

// Stats counts what a sandbox has seen since it was made. All but the two Live counts only grow.
type Stats struct {
	// TokenRequests counts requests to the token endpoint by grant type, refused and failed ones too; "other" is
	// every grant type that OAuth does not know.
	TokenRequests map[string]int
	// Issued counts the token sets that were issued, by grant type.
	Issued map[string]int
	// RefreshTokensReused counts presentations of a refresh token that a rotation had spent.
	RefreshTokensReused int
	// GrantsKilledByReuse counts the grants that such a presentation ended.
	GrantsKilledByReuse int
	// OverlappingRefreshes counts refresh requests that came while another with the same refresh token was being
	// answered.
	OverlappingRefreshes int
	// CodesPresentedAgain counts presentations of a code that had been redeemed.
	CodesPresentedAgain int
	// Revocations counts the grants that the client revoked, EndedAtVendor those that a person or the vendor ended.
	Revocations, EndedAtVendor int
	// ConsentsShown, ConsentsAccepted and ConsentsDenied count visits to the consent page and what came of them.
	ConsentsShown, ConsentsAccepted, ConsentsDenied int
	// APIAccepted and APIRefused count calls of the vendor's API by whether the access token was live.
	APIAccepted, APIRefused int
	// LiveAccessTokens and LiveGrants are how many there are now.
	LiveAccessTokens, LiveGrants int
	// LastTokenRequest is when the token endpoint was last asked, by the sandbox's clock.
	LastTokenRequest time.Time
}

func (s *Stats) issued(grantType string) { s.Issued[grantType]++ }

// Stats returns a copy of the counts.
func (l *Ledger) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, now := l.stats, l.cfg.Now()
	s.TokenRequests, s.Issued = maps.Clone(s.TokenRequests), maps.Clone(s.Issued)
	for _, g := range l.state.Grants {
		if l.living(now, g) == nil {
			s.LiveGrants++
		}
	}
	for _, t := range l.state.Tokens {
		if t.Refresh || !now.Before(t.Expires) {
			continue
		}
		if g := l.state.Grants[t.Grant]; t.Grant == "" || g != nil && g.Ended.IsZero() && !g.Awaiting {
			s.LiveAccessTokens++
		}
	}
	return s
}

// count changes the counts under the lock.
func (l *Ledger) count(f func(*Stats)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.stats)
}

// ExpireAccessTokens ends the life of every access token now. Refresh tokens stay.
func (l *Ledger) ExpireAccessTokens() error {
	return l.update(func(now time.Time) error {
		for _, t := range l.state.Tokens {
			if !t.Refresh && now.Before(t.Expires) {
				t.Expires = now
			}
		}
		return nil
	})
}

// RevokeByUser ends every grant of the account, as when its owner removes the app, and returns how many there were.
func (l *Ledger) RevokeByUser(account string) (n int, err error) {
	return l.end(func(g *grant) bool { return g.Account == account })
}

// RevokeAll ends every grant, as when the vendor drops them, and returns how many there were.
func (l *Ledger) RevokeAll() (n int, err error) {
	return l.end(func(*grant) bool { return true })
}

func (l *Ledger) end(which func(*grant) bool) (n int, err error) {
	err = l.update(func(now time.Time) error {
		for _, g := range l.state.Grants {
			if g.Ended.IsZero() && which(g) {
				g.Ended = now
				n++
			}
		}
		l.stats.EndedAtVendor += n
		return nil
	})
	return n, err
}

// SetClientSecret replaces the client's secret, as when an administrator rotates it at the vendor. The state file
// does not keep it.
func (l *Ledger) SetClientSecret(secret string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.secret = secret
}
