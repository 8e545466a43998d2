package core_test

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/esignd/esignd/core"
)

// strictVendor is an authorization server that ends a whole consent when a refresh token that was rotated away is
// presented again (RFC 9700 §4.14.2). It remembers what was presented, and what it gave.
type strictVendor struct {
	mu       sync.Mutex
	rotates  bool
	lifetime time.Duration
	n        int
	refresh  map[string]*consent // every refresh token that was ever given
	access   map[string]issue
	codes    map[string]*consent // spent codes
	calls    []*presentation
	told     int             // revocations that were sent
	ends     map[string]bool // the tokens that replicas tried to revoke
}

// consent is what one resource owner agreed to once.
type consent struct {
	live  string // the refresh token that works
	ended bool   // by a spent refresh token or code, or revoked
}

// issue is one access token.
type issue struct {
	*consent
	asked, expires time.Time
}

// presentation is one call of the token endpoint that left the replica.
type presentation struct {
	at       time.Time
	by       *replica
	grant    core.GrantType
	token    string // the refresh token that was presented
	lastTry  bool   // the claim it was made under says so
	reported bool
	left     time.Duration // of the access token that the grant had
	// harmless says that the replica knew that the vendor had not acted; spares, that this does not spend a last try.
	harmless, spares bool
	done             time.Time // when the replica knew the outcome
	issued           string    // the refresh token that came with the answer
	heard            bool      // the answer reached the replica
}

func newStrictVendor(rotates bool, lifetime time.Duration) *strictVendor {
	return &strictVendor{rotates: rotates, lifetime: lifetime, refresh: map[string]*consent{}, access: map[string]issue{},
		codes: map[string]*consent{}, ends: map[string]bool{}}
}

// seed makes a consent that was given elsewhere, for imports.
func (v *strictVendor) seed() core.Secret {
	v.mu.Lock()
	defer v.mu.Unlock()
	return core.NewSecret(v.renewLocked(&consent{}))
}

func (v *strictVendor) renewLocked(c *consent) string {
	v.n++
	c.live = fmt.Sprintf("refresh-%d", v.n)
	v.refresh[c.live] = c
	return c.live
}

// act is what the vendor does when a request arrives.
func (v *strictVendor) act(r core.TokenRequest, asked time.Time) (core.TokenResponse, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	refused := &core.VendorError{Outcome: core.Refused, Code: core.CodeInvalidGrant, Status: 400}
	c := &consent{}
	resp := core.TokenResponse{TokenType: "Bearer", ExpiresIn: v.lifetime}
	switch r.GrantType {
	case core.AuthorizationCode:
		if old := v.codes[r.Code.Reveal()]; old != nil {
			old.ended = true
			return resp, refused
		}
		v.codes[r.Code.Reveal()] = c
		resp.RefreshToken = core.NewSecret(v.renewLocked(c))
	case core.RefreshToken:
		token := r.RefreshToken.Reveal()
		if c = v.refresh[token]; c == nil || c.ended || c.live != token {
			if c != nil {
				c.ended = true
			}
			return resp, refused
		}
		if v.rotates {
			resp.RefreshToken = core.NewSecret(v.renewLocked(c))
		}
	}
	v.n++
	access := fmt.Sprintf("access-%d", v.n)
	v.access[access] = issue{c, asked, time.Now().Add(v.lifetime)}
	resp.AccessToken = core.NewSecret(access)
	return resp, nil
}

func (v *strictVendor) revoke(token string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.told++
	if c := v.refresh[token]; c != nil {
		c.ended = true
	}
}

// left is how long an access token lives on, counted from when it was asked for; zero for one that is unknown.
func (v *strictVendor) left(access string) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	i, ok := v.access[access]
	if !ok {
		return 0
	}
	return time.Until(i.asked.Add(v.lifetime))
}

// accepts reports whether an access token is good.
func (v *strictVendor) accepts(access string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	i, ok := v.access[access]
	return ok && !i.ended && time.Now().Before(i.expires)
}

// expired reports whether an access token has ended, or never was.
func (v *strictVendor) expired(access string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	i, ok := v.access[access]
	return !ok || !time.Now().Before(i.expires)
}

// works reports whether a refresh token is live.
func (v *strictVendor) works(refresh string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	c := v.refresh[refresh]
	return c != nil && !c.ended && c.live == refresh
}

// presented counts the calls of one kind.
func (v *strictVendor) presented(gt core.GrantType) (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, p := range v.calls {
		if p.grant == gt {
			n++
		}
	}
	return n
}

// revocations counts the revocations that were sent.
func (v *strictVendor) revocations() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.told
}

// wire is the adapter of one replica: the way between it and the vendor, on which things go wrong.
type wire struct {
	*replica
	vendor *strictVendor
}

func (w wire) Metadata(context.Context) (core.Metadata, error) {
	return core.Metadata{
		Vendor: "acme", AccessLifetime: w.vendor.lifetime, RotatesRefreshTokens: w.vendor.rotates, RevokesTokens: true, PKCE: true,
		GrantTypes: []core.GrantType{core.AuthorizationCode, core.RefreshToken},
	}, nil
}

func (w wire) AuthorizationURL(_ context.Context, r core.AuthorizationRequest) (string, error) {
	return "https://acme.example/authorize?" + url.Values{"state": {r.State}}.Encode(), nil
}

func (w wire) Callback(_ context.Context, r core.CallbackRequest) (core.CallbackResult, error) {
	return core.CallbackResult{Code: core.NewSecret(r.Params.Get("code"))}, nil
}

func (w wire) Token(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
	if w.dead() {
		return core.TokenResponse{}, errCrashed
	}
	p := &presentation{by: w.replica, grant: r.GrantType, token: r.RefreshToken.Reveal(), reported: r.Reported,
		lastTry: w.claimed().LastTry}
	asked := time.Now()
	before := w.reach(ctx, "before token")
	if before != nil && before.kind == fail {
		return core.TokenResponse{}, &core.VendorError{Outcome: core.NotSent, Code: core.CodeNetwork}
	}
	stoodStill := time.Since(asked) > 0 && (before == nil || before.kind == crash)
	if stoodStill && ctx.Err() != nil || stoodStill && w.dead() {
		return core.TokenResponse{}, &core.VendorError{Outcome: core.Unknown, Code: core.CodeTimeout} // nothing is sent any more
	}
	p.at, p.left = time.Now(), w.vendor.left(r.AccessToken.Reveal())
	if before != nil && before.kind == stall {
		p.at = asked // it left, and came to a halt on its way
	}
	w.vendor.mu.Lock()
	w.vendor.calls = append(w.vendor.calls, p)
	w.vendor.mu.Unlock()
	if before != nil {
		return core.TokenResponse{}, w.undelivered(p, r, asked, before)
	}
	resp, err := w.vendor.act(r, asked)
	w.vendor.set(func() { p.issued = resp.RefreshToken.Reveal() })
	after := w.reach(ctx, "after token")
	if after != nil {
		return core.TokenResponse{}, &core.VendorError{Outcome: core.Unknown, Code: core.CodeTimeout}
	}
	w.vendor.set(func() { p.heard, p.done, p.harmless = err == nil, time.Now(), err != nil })
	return resp, err
}

// undelivered is what became of a request that did not reach the vendor in time.
func (w wire) undelivered(p *presentation, r core.TokenRequest, asked time.Time, how *trouble) error {
	switch how.kind {
	case busy:
		w.vendor.set(func() { p.done, p.harmless, p.spares = time.Now(), true, true })
		return &core.VendorError{Outcome: core.Refused, Code: core.CodeUnavailable, Status: 503}
	case refuse:
		w.vendor.set(func() { p.done, p.harmless, p.spares = time.Now(), true, true })
		return &core.VendorError{Outcome: core.Refused, Code: core.CodeInvalidClient, Status: 401}
	case broken:
		return &core.VendorError{Outcome: core.Unknown, Code: core.CodeHTTPError, Status: 500}
	case stall:
		// The request is on its way, whoever waits for the answer.
		w.fleet.tasks.Go(func() {
			time.Sleep(how.d)
			_, _ = w.vendor.act(r, asked)
		})
	}
	return &core.VendorError{Outcome: core.Unknown, Code: core.CodeTimeout}
}

// set changes what is known of a call under the vendor's lock.
func (v *strictVendor) set(change func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change()
}

func (w wire) Revoke(ctx context.Context, r core.RevocationRequest) error {
	if w.dead() {
		return errCrashed
	}
	w.vendor.set(func() { w.vendor.ends[r.Token.Reveal()] = true })
	if before := w.reach(ctx, "before revoke"); before != nil {
		return &core.VendorError{Outcome: core.NotSent, Code: core.CodeNetwork}
	}
	w.vendor.revoke(r.Token.Reveal())
	if after := w.reach(ctx, "after revoke"); after != nil {
		return &core.VendorError{Outcome: core.Unknown, Code: core.CodeTimeout}
	}
	return nil
}
