package core

import (
	"time"
)

// The bounds of the refresh protocol.
const (
	claimDuration = 15 * time.Second // how long a claim may be worked on before others may settle it
	callTimeout   = 10 * time.Second // one call to a vendor
	sendWithin    = 2 * time.Second  // from the claim's acknowledgement to the start of the call
	commitWithin  = 2 * time.Second  // writing the outcome, before it goes to the spool
	storeTimeout  = 5 * time.Second  // any other access to the store
	forcedWithin  = time.Second      // forced refreshes this close to the last answer its token
	watchSilence  = 2 * time.Second  // without word from the store's watch, the cache is not served
	ticketLife    = 10 * time.Minute // an authorization in progress
	sweepEvery    = 30 * time.Second // the look at grants whose timer was lost
)

// scope is what a failed call tells about: whose fault it is.
type scope int

const (
	scopeVendor   scope = iota // the vendor or the way to it; the grant is kept
	scopeGrant                 // this grant's refresh token is dead
	scopeClient                // our client is refused; every grant of it waits
	scopeUnproven              // a refusal that does not say why; one alone proves nothing
)

func (s scope) String() string {
	return [...]string{scopeVendor: "vendor", scopeGrant: "grant", scopeClient: "client", scopeUnproven: "unproven"}[s]
}

// rule is one row of the failure policy.
type rule struct {
	codes []string
	scope scope
	// first and most bound the backoff before the next attempt; it doubles in between.
	first, most time.Duration
	// spares says that the failure does not spend the last try of a refresh token whose fate is unknown.
	spares bool
}

// rules is the failure policy: what each code of a VendorError leads to. The first row that names the code counts;
// the last row is for every other one.
var rules = []rule{
	{codes: []string{CodeInvalidGrant}, scope: scopeGrant},
	{codes: []string{CodeInvalidClient, CodeUnauthorizedClient}, scope: scopeClient, first: 30 * time.Second, most: 30 * time.Minute, spares: true},
	{codes: []string{CodeRateLimited, CodeUnavailable}, scope: scopeVendor, first: 2 * time.Second, most: 5 * time.Minute, spares: true},
	{codes: []string{CodeInvalidRequest, CodeInvalidScope, CodeUnsupportedGrantType, CodeAccessDenied, CodeHTTPError},
		scope: scopeUnproven, first: 10 * time.Second, most: 20 * time.Minute},
	{scope: scopeVendor, first: 2 * time.Second, most: 5 * time.Minute},
}

// A grant is taken to be dead after this many refusals in a row that name no reason, spread over this long.
const (
	unprovenRefusals = 5
	unprovenSpread   = time.Hour
)

// maxRetryAfter bounds what a vendor can make us wait. Waits that it asks for within retryAfterSlack of each other are one.
const (
	maxRetryAfter   = time.Hour
	retryAfterSlack = 100 * time.Millisecond
)

// ruleFor returns the row for a failure. Only a refusal can speak of the grant or the client: whatever else carries
// such a code is not a complete answer.
func ruleFor(e *VendorError) rule {
	last := rules[len(rules)-1]
	if e.Outcome != Refused {
		return last
	}
	for _, r := range rules {
		for _, c := range r.codes {
			if c == e.Code {
				return r
			}
		}
	}
	return last
}

// backoff returns how long to wait after the nth failure in a row, n from 1, and not less than the vendor asked for.
func (r rule) backoff(n int, retryAfter time.Duration) time.Duration {
	d := r.first
	for range n - 1 {
		if d *= 2; d >= r.most {
			d = r.most
			break
		}
	}
	return max(jitter(d), min(retryAfter, maxRetryAfter))
}

// minTTLFor is the default minimum time to live for a token of the given lifetime.
func minTTLFor(lifetime time.Duration) time.Duration { return min(60*time.Second, lifetime/6) }
