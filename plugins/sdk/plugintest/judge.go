package plugintest

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
)

// vendorError returns err as a VendorError, and notes where a method returned something else.
func (b *bench) vendorError(r *recorder, what string, err error) (*core.VendorError, bool) {
	var e *core.VendorError
	switch {
	case err == nil:
		r.errorf("%s: no error", what)
		return nil, false
	case errors.Is(err, errPanic), errors.Is(err, errStuck):
		r.errorf("%s: %v", what, err)
		return nil, false
	case !errors.As(err, &e), e.Code == core.CodeInternal:
		r.errorf("%s: the adapter panicked, or failed with an error that is no *core.VendorError", what)
		return nil, false
	case !slices.Contains(core.VendorCodes(), e.Code):
		r.errorf("%s: VendorError.Code is %q, which is none of core.VendorCodes", what, b.evidence.clean(e.Code))
		return nil, false
	}
	return e, true
}

// anyFailure notes where err is none that esignd can make sense of.
func (b *bench) anyFailure(r *recorder, what string, err error) { _, _ = b.vendorError(r, what, err) }

// refused notes where err is not what the sandbox's refusal should become.
func (b *bench) refused(r *recorder, what string, h heard, err error) {
	e, ok := b.vendorError(r, what, err)
	if !ok {
		return
	}
	want := core.Refused
	if h.status != 0 && h.status/100 != 4 && h.status != 503 {
		want = core.Unknown
		r.notef("%s: the sandbox refuses with status %d, which is no complete refusal", what, h.status)
	}
	if e.Outcome != want {
		r.errorf("%s: the sandbox answers %d, the outcome is %s instead of %s", what, h.status, e.Outcome, want)
	}
	// Of the sandbox's codes those count that mean something to esignd.
	switch code := strings.ToLower(h.text("error")); code {
	case core.CodeInvalidGrant, core.CodeInvalidClient, core.CodeUnauthorizedClient:
		if e.Code != code {
			r.errorf("%s: the sandbox says %s, VendorError.Code is %s", what, code, e.Code)
		}
	default:
		if e.Code == core.CodeInvalidGrant && h.status != 0 {
			r.notef("%s: the adapter takes the vendor's own words for invalid_grant, which ends the grant", what)
		}
	}
}

// tokenSet notes what is wrong with a token set.
func (b *bench) tokenSet(r *recorder, what string, set core.TokenResponse) {
	if set.AccessToken.IsZero() {
		r.errorf("%s: there is no access token, and no error", what)
	}
	if set.TokenType == "" {
		r.errorf("%s: TokenType is empty; it is Bearer unless the vendor says another", what)
	}
	if set.ExpiresIn < 0 || set.ExpiresIn > maxLifetime {
		r.errorf("%s: ExpiresIn is %v, which is no lifetime in a time.Duration", what, set.ExpiresIn)
	}
	if set.APIBaseURL != "" && (!absolute(set.APIBaseURL) || strings.HasSuffix(set.APIBaseURL, "/")) {
		r.errorf("%s: APIBaseURL is no absolute URL without a slash at its end", what)
	}
	for _, scope := range set.Scope {
		if strings.ContainsFunc(scope, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' }) {
			r.errorf("%s: Scope holds what is no scope (RFC 6749 §3.3)", what)
		}
	}
}

const maxLifetime = 10 * 365 * 24 * time.Hour

// live notes where a token that should be live is not, or the other way round.
func (b *bench) live(r *recorder, what string, want, got, known bool, err error) {
	switch {
	case err != nil:
		r.errorf("%s: %s", what, b.evidence.clean(err.Error()))
	case known && want && !got:
		r.errorf("%s: the access token does not work at the sandbox", what)
	case known && !want && got:
		r.errorf("%s: the access token still works at the sandbox", what)
	}
}
