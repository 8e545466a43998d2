package core

import (
	"context"
	"errors"
	"time"
)

// maxReason bounds the reason that a caller may give for a revocation.
const maxReason = 200

// Revoke ends a grant: it is revoked here first, then at the vendor, then its tokens are erased and token.revoked is
// published. Where the vendor cannot be told yet, the answer says so and esignd goes on trying. Revoking a grant that
// is revoked already answers the same again.
func (m *Manager) Revoke(ctx context.Context, sel Selector, reason string) (GrantInfo, error) {
	if len(reason) > maxReason {
		return GrantInfo{}, FieldErrorf("reason", "is %d bytes; at most %d are kept", len(reason), maxReason)
	}
	return m.end(ctx, sel, reason, false)
}

// Forget revokes a grant and removes all but its generation.
func (m *Manager) Forget(ctx context.Context, sel Selector) (GrantInfo, error) {
	return m.end(ctx, sel, "forgotten", true)
}

func (m *Manager) end(ctx context.Context, sel Selector, reason string, forget bool) (GrantInfo, error) {
	ctx, span := m.span(ctx, "revoke")
	defer span.End()
	t, err := m.find(ctx, sel, false)
	if err != nil {
		return GrantInfo{}, fail(span, err)
	}
	if t.entry == nil {
		return GrantInfo{}, fail(span, notFound())
	}
	if err := m.begin(); err != nil {
		return GrantInfo{}, fail(span, err)
	}
	defer m.work.Done()
	ctx = context.WithoutCancel(ctx) // what is begun is ended, whether the caller waits or not
	e, err := m.change(ctx, t.id, func(_ *entry, g *grant) (bool, error) { return m.startRevocation(ctx, g, reason, forget) })
	if err != nil {
		return GrantInfo{}, fail(span, m.storeError(ctx, err))
	}
	info, err := m.finishRevocation(ctx, e)
	var v *VendorError
	if err != nil && !errors.As(err, &v) {
		return GrantInfo{}, fail(span, m.storeError(ctx, err))
	}
	return info, nil
}

// begin counts work that Close waits for; the caller calls m.work.Done.
func (m *Manager) begin() error {
	m.flightMu.Lock()
	defer m.flightMu.Unlock()
	if m.closed {
		return errClosed
	}
	m.work.Add(1)
	return nil
}

// startRevocation makes g revoked. The tokens stay sealed in it until the vendor was told.
func (m *Manager) startRevocation(ctx context.Context, g *grant, reason string, forget bool) (bool, error) {
	if g.Forgotten {
		return false, notFound()
	}
	if g.State == Revoked {
		change := forget && !g.ForgetOwed
		if change {
			g.Ends++
		}
		g.ForgetOwed = g.ForgetOwed || forget
		return change, nil
	}
	had := g.State != Pending
	g.Ends++
	if err := g.move(causeRevoke); err != nil {
		return false, err
	}
	g.Reason, g.RevocationReason, g.ForgetOwed = reason, reason, forget
	g.Attempt, g.Failures, g.Uncertain, g.Restored = nil, failures{}, false, false
	g.RevocationOwed = !g.tokens.Access.IsZero() || !g.tokens.Refresh.IsZero()
	if !g.RevocationOwed && had {
		g.owe(m.revokedEvent(ctx, g, false))
	}
	return true, nil
}

// revocation is how the vendor's part of a revocation went.
type revocation int

const (
	revokedThere    revocation = iota
	notRevocable               // the vendor has no revocation
	refusedThere               // the vendor refused for good
	revocationLater            // to be tried again
)

// finishRevocation tells the vendor where that is owed, erases the tokens, and publishes. An error that is a
// *VendorError says that the vendor could not be told yet.
func (m *Manager) finishRevocation(ctx context.Context, e *entry) (GrantInfo, error) {
	var warnings []Warning
	var verr *VendorError
	if e.g.RevocationOwed {
		var how revocation
		how, verr = m.revokeAtVendor(ctx, e.g)
		if how != revokedThere && how != revocationLater {
			warnings = append(warnings, WarnVendorCannotRevoke)
		}
		var err error
		if e, err = m.change(ctx, e.g.ID, func(_ *entry, g *grant) (bool, error) {
			return m.settleRevocation(ctx, g, how, verr)
		}); err != nil {
			return GrantInfo{}, err
		}
	}
	info, vendorRevoked := m.info(e), e.g.VendorRevoked
	info.VendorRevoked = &vendorRevoked
	info.Warnings = append(warnings, info.Warnings...)
	if verr != nil {
		return info, errors.Join(verr, m.rearm(ctx, e.g.ID))
	}
	if e.g.ForgetOwed {
		buried, err := m.buryForgotten(ctx, e)
		if err != nil {
			return GrantInfo{}, err
		}
		e = buried
	}
	m.follow(ctx, e)
	return info, nil
}

// revokeAtVendor tells the vendor. For client_credentials and where the vendor has no revocation nothing is called.
func (m *Manager) revokeAtVendor(ctx context.Context, g *grant) (revocation, *VendorError) {
	cl := m.clients[g.Client]
	if cl == nil || cl.Vendor != g.Vendor && g.Vendor != "" || cl.GrantType == ClientCredentials {
		return notRevocable, nil
	}
	adapter, md, err := m.adapterOf(ctx, cl)
	if err != nil {
		return revocationLater, AsVendorError(err)
	}
	if !md.RevokesTokens {
		return notRevocable, nil
	}
	req := RevocationRequest{Client: cl.Credentials, Token: g.tokens.Refresh, TokenTypeHint: "refresh_token", APIBaseURL: g.APIBaseURL}
	if req.Token.IsZero() {
		req.Token, req.TokenTypeHint = g.tokens.Access, "access_token"
	}
	release, err := m.takeCallerSlot(ctx, cl)
	if err != nil {
		return revocationLater, AsVendorError(err)
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ctx, span := m.span(ctx, "call vendor to revoke")
	defer span.End()
	err = adapter.Revoke(ctx, req)
	if err == nil {
		return revokedThere, nil
	}
	if errors.Is(err, errors.ErrUnsupported) {
		return notRevocable, nil
	}
	v := AsVendorError(err)
	_ = fail(span, v)
	if r := ruleFor(v); v.Outcome == Refused && !r.spares && r.scope != scopeClient {
		m.log.WarnContext(ctx, "the vendor refuses to revoke a token; it stays valid there until it expires", "grant", g.ID,
			"client", g.Client, "vendor", g.Vendor, "code", v.Code)
		return refusedThere, nil
	}
	return revocationLater, v
}

// settleRevocation writes what came of telling the vendor.
func (m *Manager) settleRevocation(ctx context.Context, g *grant, how revocation, v *VendorError) (bool, error) {
	if g.State != Revoked || !g.RevocationOwed {
		return false, nil // settled by another, or authorized again
	}
	if how == revocationLater {
		g.Failures.Count++
		g.Failures.Code = v.Code
		g.Failures.Next = m.now().Add(ruleFor(v).backoff(g.Failures.Count, v.RetryAfter))
		return true, nil
	}
	g.RevocationOwed, g.VendorRevoked, g.Failures = false, how == revokedThere, failures{}
	g.owe(m.revokedEvent(ctx, g, how == revokedThere))
	g.tokens = tokens{}
	return true, nil
}

func (m *Manager) revokedEvent(ctx context.Context, g *grant, vendorRevoked bool) Event {
	e := m.event(ctx, TokenRevoked, g.RevocationReason)
	e.VendorRevoked = &vendorRevoked
	return e
}

// buryForgotten leaves a tombstone, which keeps what is still owed.
func (m *Manager) buryForgotten(ctx context.Context, e *entry) (*entry, error) {
	id, vendor := e.g.ID, e.g.Vendor
	e, err := m.change(ctx, id, func(_ *entry, g *grant) (bool, error) {
		if g.Forgotten || g.State != Revoked || !g.ForgetOwed || g.RevocationOwed {
			return false, nil
		}
		*g = *g.tombstone()
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	m.dropTicket(ctx, id)
	if derr := m.timers.Disarm(ctx, vendor, id); derr != nil {
		m.log.DebugContext(ctx, "a forgotten grant's timer stays until it fires", "grant", id, "error", derr)
	}
	return e, nil
}

// discard ends a token set that has no place any more.
func (m *Manager) discard(ctx context.Context, e *entry, r result) {
	g := e.g.clone()
	g.Client, g.APIBaseURL = r.client, r.apiBaseURL
	setIfGiven(&g.APIBaseURL, r.response.APIBaseURL)
	g.tokens = tokens{Access: r.response.AccessToken, Refresh: r.response.RefreshToken}
	if g.tokens.Refresh.IsZero() {
		g.tokens.Refresh = r.presented
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout+time.Second)
	defer cancel()
	if how, v := m.revokeAtVendor(ctx, g); how == revocationLater {
		m.log.WarnContext(ctx, "a token set that nobody holds could not be ended at the vendor; it stays valid there until it expires",
			"grant", g.ID, "client", g.Client, "vendor", g.Vendor, "code", v.Code)
	}
}
