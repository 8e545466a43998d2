package oauth

import (
	"slices"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
)

const (
	maxToken    = 32 << 10
	maxText     = 4 << 10
	maxLifetime = 365 * 24 * time.Hour
	// epochStart is from where on an expires_in is no lifetime: 31 years, or the year 2001.
	epochStart = 1e9
	// epochEnd is the year 5138; what is beyond counts something else than seconds.
	epochEnd = 1e11
)

// token reads a 2xx answer (RFC 6749 §5.1). One with an error, or without a usable access token, is a failure of
// unknown outcome: the vendor may have acted all the same.
func (a answer) token(e Endpoint) (Response, error) {
	if a.incomplete != "" || a.members.has("error") || e.BusinessCode && !a.members.zeroCode() {
		return Response{}, a.failure()
	}
	access, ok1 := a.members.text("access_token")
	refresh, ok2 := a.members.text("refresh_token")
	tokenType, ok3 := tokenType(a.members)
	if !ok1 || !ok2 || !ok3 || access == "" || !writable(access) || !writable(refresh) {
		return Response{}, a.failure()
	}
	return Response{
		TokenResponse: core.TokenResponse{
			AccessToken:  core.NewSecret(access),
			TokenType:    tokenType,
			RefreshToken: core.NewSecret(refresh),
			ExpiresIn:    a.expiresIn(e),
			Scope:        scope(a.members),
		},
		Extra: extra(a.members, e.Extra),
	}, nil
}

// writable reports whether a token can be sent back as it came: visible ASCII (RFC 6749 appendix A), not without end.
func writable(token string) bool {
	return len(token) <= maxToken && !strings.ContainsFunc(token, func(r rune) bool { return r < ' ' || r > '~' })
}

// tokenType returns "Bearer" for that type in any case and where the vendor names none, and another type as it came
// if it looks like one (RFC 6749 appendix A.13, without URIs).
func tokenType(m members) (string, bool) {
	s, ok := m.text("token_type")
	if s == "" || strings.EqualFold(s, "bearer") {
		return "Bearer", ok
	}
	const chars = "-._0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	return s, ok && len(s) <= 64 && strings.Trim(s, chars) == ""
}

// expiresIn returns the lifetime, 0 where the vendor did not say one that can be meant. It is a year at most.
func (a answer) expiresIn(e Endpoint) time.Duration {
	n, ok := a.members.number("expires_in")
	if ok && n > epochStart {
		if !e.EpochExpiry || n > epochEnd {
			return 0
		}
		n -= float64(a.time.Unix())
	}
	switch {
	case !ok:
		return 0
	case n < 1 && e.RemainingExpiry:
		return time.Second
	case n < 1:
		return 0
	case n > maxLifetime.Seconds():
		return maxLifetime
	default:
		return time.Duration(n) * time.Second
	}
}

// scope returns the scope (RFC 6749 §3.3), nil where there is none. What cannot be a scope is left out: scopes are
// shown to people and other programs.
func scope(m members) []string {
	s, _ := m.text("scope")
	if len(s) > maxText {
		return nil
	}
	scopes := slices.DeleteFunc(strings.Fields(s), func(token string) bool {
		return strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' })
	})
	if len(scopes) == 0 {
		return nil
	}
	return scopes
}

func extra(m members, names []string) map[string]string {
	found := make(map[string]string, len(names))
	for _, name := range names {
		if s, _ := m.text(name); s != "" && len(s) <= maxText {
			found[name] = s
		}
	}
	return found
}
