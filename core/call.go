package core

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// present calls the vendor.
func (m *Manager) present(ctx context.Context, t *target, claimed *entry, a *attempt, p *permit, acked time.Time) result {
	g := claimed.g
	r := result{kind: byRefresh, grant: g.ID, attempt: *a, consent: g.Consent, generation: g.Generation, presented: g.tokens.Refresh, client: t.client.Name, apiBaseURL: g.APIBaseURL}
	if t.client.GrantType == ClientCredentials {
		r.kind = byClientCredentials
	}
	adapter, md, err := m.adapterOf(ctx, t.client)
	r.rotates = m.rotates(g, t.client, md)
	r.defaultLifetime, r.idle = md.AccessLifetime, md.RefreshIdleLifetime
	r.sent = time.Now()
	switch {
	case err != nil:
		r.failure = AsVendorError(err)
		m.metrics.failed(ctx, t.client, m.grantTypeFor(t.client), r.failure)
		return r
	case r.sent.Sub(acked) > sendWithin:
		r.failure = &VendorError{Outcome: NotSent, Code: CodeTimeout, Detail: "the claim was too old to be used"}
		m.metrics.failed(ctx, t.client, m.grantTypeFor(t.client), r.failure)
		return r
	}
	if a.LastTry {
		m.metrics.lastTries.Add(ctx, 1, metric.WithAttributes(of(t.client)...))
		m.log.WarnContext(ctx, "a refresh token of unknown fate is presented once more; where the vendor refuses it, the owner of the account must connect again",
			"grant", g.ID, "client", g.Client, "vendor", g.Vendor)
	}
	r.response, r.failure = m.callToken(ctx, t.client, p, adapter, TokenRequest{
		Client: t.client.Credentials, GrantType: m.grantTypeFor(t.client), RefreshToken: g.tokens.Refresh,
		AccessToken: g.tokens.Access, Reported: a.reported, Scope: m.scopeFor(t.client, g), APIBaseURL: g.APIBaseURL,
	})
	r.rotated = r.kind == byRefresh && changed(r.presented, r.response.RefreshToken)
	return r
}

// scopeFor is what a client_credentials request asks for. A refresh asks for nothing: the consent says it.
func (m *Manager) scopeFor(cl *Client, _ *grant) []string {
	if cl.GrantType == ClientCredentials {
		return cl.Scopes
	}
	return nil
}

// callToken calls the token endpoint with the breaker's leave, within callTimeout. ctx gives the trace; its end does not
// matter.
func (m *Manager) callToken(ctx context.Context, cl *Client, p *permit, a Adapter, req TokenRequest) (TokenResponse, *VendorError) {
	var resp TokenResponse
	err := m.callVendor(ctx, cl, p, func(ctx context.Context) error {
		trace.SpanFromContext(ctx).SetAttributes(attribute.String("oauth.grant_type", string(req.GrantType)))
		var err error
		resp, err = a.Token(ctx, req)
		if err == nil && resp.AccessToken.IsZero() {
			err = &VendorError{Outcome: Unknown, Code: CodeMalformedResponse, Detail: "the answer holds no access token"}
		}
		return err
	})
	if err != nil {
		v := AsVendorError(err)
		m.metrics.failed(ctx, cl, req.GrantType, v)
		return TokenResponse{}, v
	}
	return resp, nil
}

// callVendor calls the vendor with the breaker's leave, which nil asks for, within callTimeout.
func (m *Manager) callVendor(ctx context.Context, cl *Client, p *permit, call func(context.Context) error) error {
	if p == nil {
		var err error
		if p, err = m.breakers[cl.Name].admit(); err != nil {
			return err
		}
		defer p.giveBack()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	ctx, span := m.span(ctx, "call vendor", attribute.String("esignd.vendor", cl.Vendor))
	defer span.End()
	err := call(ctx)
	if err == nil || errors.Is(err, errors.ErrUnsupported) {
		p.settle(nil)
		return err
	}
	v := AsVendorError(err)
	span.SetAttributes(attribute.String("esignd.outcome", v.Outcome.String()))
	if ruleFor(v).scope == scopeVendor {
		p.settle(v)
	} else {
		p.settle(nil) // the vendor works: it said no
	}
	return fail(span, v)
}

// changed reports whether a vendor gave another refresh token than was presented.
func changed(presented, given Secret) bool { return !given.IsZero() && !given.Equal(presented) }

// learn tells the other replicas what a call said of the client and the vendor.
func (m *Manager) learn(ctx context.Context, cl *Client, r result) {
	if r.failure != nil {
		m.noteFailure(ctx, cl, r.sent, r.failure, r.attempt.Probe)
		return
	}
	m.noteSuccess(ctx, cl, r.sent, r.rotated, false)
}
