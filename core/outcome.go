package core

import (
	"context"
	"time"
)

// settleInto makes g what it is after r.
func (m *Manager) settleInto(ctx context.Context, e *entry, g *grant, r result) error {
	own := g.Attempt != nil && g.Attempt.ID == r.attempt.ID
	if own || r.fresh() {
		g.Attempt = nil
	}
	g.Settled = r.attempt.ID
	if r.failure != nil && (g.Generation != r.generation || g.Consent != r.consent) {
		return nil // it speaks of a refresh token that is not the stored one any more
	}
	if r.failure != nil {
		return m.applyFailure(ctx, g, r, e.left())
	}
	if g.RevocationOwed {
		m.overtakeRevocation(ctx, g)
	}
	if r.fresh() {
		m.applyConsent(g, r)
	}
	reason := IssuedRefreshed
	switch {
	case r.kind == byExchange:
		reason = IssuedAuthorized
	case r.kind == byImport:
		reason = IssuedImported
	case r.kind == byCreation:
		reason = "" // nothing is issued before the confirmation
	case r.kind == byClientCredentials:
		reason = IssuedClientCredentials
	case !own:
		reason = IssuedRecovered
	}
	return m.applyTokens(ctx, g, r, reason)
}

// applyConsent starts a new consent in g: what the old one left does not count for it.
func (m *Manager) applyConsent(g *grant, r result) {
	if g.Forgotten {
		b := r.blank.clone()
		b.Generation, b.Ends, b.revision, b.Debts, b.Settled = g.Generation, g.Ends, g.revision, g.Debts, g.Settled
		*g = *b
	}
	g.Vendor = r.blank.Vendor
	g.Consent, g.ConsentedAt, g.ConsentExpiresAt, g.ConsentNotice = r.consent, r.begun, time.Time{}, 0
	if r.consentLifetime > 0 {
		g.ConsentExpiresAt = g.ConsentedAt.Add(r.consentLifetime)
	}
	g.Scope, g.APIBaseURL, g.AccountID, g.TokenType = nil, "", "", ""
	g.RevocationOwed, g.RevocationReason, g.ForgetOwed = false, "", false
	g.tokens, g.Uncertain, g.Restored, g.Rotating = tokens{}, false, false, false
	if r.kind == byImport {
		g.tokens.Imported = r.presented
	}
}

// applyTokens puts a token set into g.
func (m *Manager) applyTokens(ctx context.Context, g *grant, r result, reason string) error {
	on := causeIssue
	if r.kind == byCreation {
		on = causeCreate
	}
	if err := g.move(on); err != nil {
		return err
	}
	g.moved.Rotated = r.rotated
	resp := r.response
	g.Generation++
	g.tokens.Access = resp.AccessToken
	if !resp.RefreshToken.IsZero() {
		g.Rotating = g.Rotating || r.rotated
		g.tokens.Refresh = resp.RefreshToken
	}
	if resp.Scope != nil {
		g.Scope = resp.Scope
	}
	setIfGiven(&g.TokenType, resp.TokenType)
	setIfGiven(&g.APIBaseURL, resp.APIBaseURL)
	setIfGiven(&g.AccountID, resp.AccountID)
	g.Lifetime = resp.ExpiresIn
	if g.Lifetime <= 0 {
		g.Lifetime = r.defaultLifetime
	}
	g.Age = time.Since(r.sent)
	g.CommitAge = g.Age
	g.IssuedAt = m.now().Add(-g.Age).Truncate(time.Millisecond)
	g.Uncertain, g.Restored, g.Expiring, g.VendorRevoked = false, false, false, false
	g.Failures = m.afterTokens(g, r)
	if on == causeIssue {
		g.owe(m.event(ctx, TokenIssued, reason))
	}
	return nil
}

// afterTokens is what a token set leaves of the failures before it: nothing, unless a refresh brought an access token that
// is too near its end to be handed out. Then the next attempt waits as after a failure, lest each request ask the vendor
// again.
func (m *Manager) afterTokens(g *grant, r result) failures {
	if r.fresh() || g.Lifetime-g.Age >= shortest {
		return failures{}
	}
	f := failures{Count: g.Failures.Count + 1, Code: CodeUnavailable, At: m.now()}
	f.Next = m.now().Add(ruleFor(errAboutToEnd).backoff(f.Count, 0))
	return f
}

// errAboutToEnd is why nobody gets the token that the vendor has just given.
var errAboutToEnd = &VendorError{Outcome: Refused, Code: CodeUnavailable, Detail: "the vendor gave a token that is about to end"}

func setIfGiven(field *string, value string) {
	if value != "" {
		*field = value
	}
}

// applyFailure counts a failed refresh in g, and ends the grant where the failure proves it dead.
func (m *Manager) applyFailure(ctx context.Context, g *grant, r result, left time.Duration) error {
	f, v := &g.Failures, r.failure
	rule := ruleFor(v)
	told := f.Code == v.Code
	f.Count++
	f.Code = v.Code
	f.At = m.now()
	f.Next = f.At.Add(rule.backoff(f.Count, v.RetryAfter))
	if rule.scope == scopeClient {
		f.Next = m.now().Add(rule.backoff(1, 0)) // the suspension of the client has a backoff of its own
	}
	if rule.scope != scopeUnproven {
		f.Unproven, f.First = 0, time.Time{}
	} else if f.Unproven++; f.Unproven == 1 {
		f.First = m.now()
	}
	if reason := m.deathBy(g, r, rule, left); reason != "" {
		return m.die(ctx, g, reason)
	}
	if v.Outcome == Unknown && r.rotates {
		g.Uncertain = true
	}
	if !told {
		// Once for each code in a row: an outage of hours is one event, and grant.get shows the count.
		next := f.Next
		e := m.event(ctx, TokenRefreshFailed, v.Code)
		e.Attempts, e.NextAttempt = f.Count, &next
		g.owe(e)
	}
	return nil
}

// deathBy returns the reason for which a failure ends the grant, and "" where it does not.
func (m *Manager) deathBy(g *grant, r result, rule rule, left time.Duration) string {
	f := &g.Failures
	switch {
	case r.kind != byRefresh:
		return ""
	case r.attempt.LastTry && (r.failure.Outcome == Unknown || r.failure.Outcome == Refused && !rule.spares):
		return ReasonOutcomeUnknown
	case rule.scope == scopeGrant,
		f.Unproven >= unprovenRefusals && m.now().Sub(f.First) >= unprovenSpread && left <= 0:
		return m.reasonOfDeath(g, r)
	}
	return ""
}

// reasonOfDeath is why the vendor has ended a grant, as far as its dates tell.
func (m *Manager) reasonOfDeath(g *grant, r result) string {
	switch {
	case r.idle > 0 && m.now().Sub(g.IssuedAt) >= r.idle:
		return ReasonRefreshExpired
	case m.consentOver(g):
		return ReasonConsentExpired
	}
	return ReasonInvalidGrant
}

// die ends a grant whose refresh token is dead.
func (m *Manager) die(ctx context.Context, g *grant, reason string) error {
	if err := g.move(causeDie); err != nil {
		return err
	}
	g.Reason, g.Attempt = reason, nil
	g.Failures.Next = time.Time{}
	g.owe(m.event(ctx, GrantReauthorizationRequired, reason))
	g.tokens, g.Uncertain, g.Restored = tokens{}, false, false
	return nil
}
