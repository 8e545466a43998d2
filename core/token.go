package core

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// shortest is the least time to live of a token that is handed out.
const shortest = time.Second

// CachedToken answers from memory, without I/O and without waiting, where that is allowed and the token is live for
// minTTL. ctx gives the trace that the measurement of it is part of, and nothing else.
func (m *Manager) CachedToken(ctx context.Context, sel Selector, minTTL time.Duration) (Token, bool) {
	n := names{sel.Tenant, sel.Client, sel.Account}
	id, remembered := sel.Grant, true
	switch {
	case id == "":
		id, remembered = m.directory.id(n)
	case sel.Client != "" || sel.Account != "":
		return Token{}, false
	}
	if !m.cache.fresh() {
		return Token{}, false
	}
	e := m.cache.get(id)
	if e == nil || e.g.Tenant != sel.Tenant || m.clientOf(e.g) == nil {
		return Token{}, false
	}
	left := e.serves(minTTL)
	if left == 0 {
		return Token{}, false
	}
	if !remembered { // only what there is, lest names that are made up push others out
		m.directory.remember(n, id)
	}
	return m.handOut(ctx, e, left), true
}

// Token returns a live access token, refreshing where the one there is lives shorter than minTTL.
func (m *Manager) Token(ctx context.Context, sel Selector, minTTL time.Duration) (Token, error) {
	ctx, span := m.span(ctx, "token")
	defer span.End()
	t, err := m.find(ctx, sel, true)
	if err != nil {
		return Token{}, fail(span, err)
	}
	if t.entry != nil {
		if left := t.entry.serves(minTTL); left > 0 {
			return m.handOut(ctx, t.entry, left), nil
		}
	}
	tok, err := m.renew(ctx, t, demand{minTTL: minTTL})
	return tok, fail(span, err)
}

// Refresh refreshes now and returns the new token.
func (m *Manager) Refresh(ctx context.Context, sel Selector) (Token, error) {
	ctx, span := m.span(ctx, "token refresh")
	defer span.End()
	t, err := m.find(ctx, sel, true)
	if err != nil {
		return Token{}, fail(span, err)
	}
	tok, err := m.renew(ctx, t, demand{minTTL: DefaultMinTTL, forced: true})
	return tok, fail(span, err)
}

// Report says that the vendor refused the access token of a generation. A report of the current generation refreshes,
// once for all who report it; a stale one gets the current token.
func (m *Manager) Report(ctx context.Context, sel Selector, generation uint64) (Token, error) {
	ctx, span := m.span(ctx, "token report")
	defer span.End()
	t, err := m.find(ctx, sel, true)
	if err != nil {
		return Token{}, fail(span, err)
	}
	current := uint64(0)
	if t.entry != nil {
		current = t.entry.g.Generation
	}
	if generation > current {
		return Token{}, fail(span, FieldErrorf("generation", "%d was not issued yet; the grant is at %d", generation, current))
	}
	if generation < current {
		if left := t.entry.serves(DefaultMinTTL); left > 0 {
			return m.handOut(ctx, t.entry, left), nil
		}
	}
	tok, err := m.renew(ctx, t, demand{minTTL: DefaultMinTTL, forced: true, reported: generation == current})
	return tok, fail(span, err)
}

// demand is what a caller wants of a refresh.
type demand struct {
	minTTL   time.Duration
	forced   bool // although the token lives
	reported bool // the vendor refused the token
	ahead    bool // no caller waits: the timer asked

	beyond  uint64 // the generation that is not good enough
	consent string
}

// serves returns how long the token lives on, where it can be handed out as it is, and else 0.
func (e *entry) serves(minTTL time.Duration) (left time.Duration) {
	if minTTL < 0 {
		minTTL = minTTLFor(e.g.Lifetime)
	}
	if e.g.State != Active || e.g.Forgotten {
		return 0
	}
	if left = e.left(); left < max(minTTL, shortest) {
		return 0
	}
	return left
}

// token returns the access token as it is handed out, by how long it was seen to live on.
func (e *entry) token(left time.Duration) Token {
	g := e.g
	t := Token{
		Grant: g.ID, Tenant: g.Tenant, Client: g.Client, Vendor: g.Vendor, Account: g.Account,
		AccessToken: g.tokens.Access, TokenType: g.TokenType, ExpiresAt: g.expiresAt(),
		ExpiresIn: left.Truncate(time.Second), Scope: slices.Clip(g.Scope), APIBaseURL: g.APIBaseURL,
		Generation: g.Generation,
	}
	if g.doubtful() {
		t.Warnings = append(t.Warnings, WarnOutcomeUnknown)
	}
	return t
}

// handOut returns the access token of a grant that is not refreshed now, with what stands against its refresh.
func (m *Manager) handOut(ctx context.Context, e *entry, left time.Duration) Token {
	t := e.token(left)
	m.metrics.gave(ctx, &t)
	r := m.cache.client(e.g.Client)
	if r.Suspended == nil && !r.Unavailable && r.RetryAt.IsZero() && e.g.Failures.Count == 0 {
		return t
	}
	switch cl := m.clientOf(e.g); {
	case m.suspended(cl) != nil:
		t.Warnings = append(t.Warnings, WarnClientSuspended)
	case e.ageNow() >= expiringAt(e.g) && (r.Unavailable || m.until(r.RetryAt) > 0 || e.g.Failures.failedAt(scopeVendor)):
		t.Warnings = append(t.Warnings, WarnVendorUnavailable)
	}
	return t
}

// renew gets a better token than the one there is, or says why not.
func (m *Manager) renew(ctx context.Context, t *target, d demand) (Token, error) {
	if e := t.entry; e != nil && !e.g.Forgotten {
		if err := m.unusable(ctx, t); err != nil {
			return Token{}, err
		}
		if left := e.serves(0); left > 0 && e.ageNow()-e.g.CommitAge < forcedWithin {
			w := WarnMinTTLUnmet
			if d.forced {
				w = WarnRefreshedRecently
			}
			tok := e.token(left)
			m.metrics.gave(ctx, &tok)
			tok.Warnings = append(tok.Warnings, w)
			return tok, nil
		}
	}
	if t.entry != nil {
		d.beyond, d.consent = t.entry.g.Generation, t.entry.g.Consent
	}
	_, err := m.refreshOnce(ctx, t, d)
	if ctx.Err() != nil {
		return Token{}, &Error{Code: TemporarilyUnavailable, Reason: "timeout", RetryAfter: time.Second,
			Description: "the refresh is still on its way and goes on without you; ask again", err: ctx.Err()}
	}
	e, lerr := m.load(ctx, t.id)
	if errors.Is(lerr, ErrNoRecord) && err != nil {
		return Token{}, m.refusal(ctx, nil, err)
	}
	if lerr != nil {
		return Token{}, m.storeError(ctx, lerr)
	}
	t.entry = e
	return m.answer(ctx, t, d, err)
}

// answer says how a refresh went. A token that lives is served with a warning where the refresh failed, unless it is
// the very one that the vendor was reported to refuse.
func (m *Manager) answer(ctx context.Context, t *target, d demand, err error) (Token, error) {
	e := t.entry
	if uerr := m.unusable(ctx, t); uerr != nil {
		return Token{}, uerr
	}
	stale := d.reported && e.g.Generation == d.beyond && e.g.Consent == d.consent
	left := e.serves(0)
	if left == 0 || stale {
		if err == nil {
			err = errAboutToEnd
		}
		return Token{}, m.refusal(ctx, e, err)
	}
	tok := e.token(left)
	m.metrics.gave(ctx, &tok)
	if e.serves(d.minTTL) == 0 {
		tok.Warnings = append(tok.Warnings, WarnMinTTLUnmet)
	}
	if err != nil {
		tok.Warnings = append(tok.Warnings, warningFor(err))
	}
	return tok, nil
}

func warningFor(err error) Warning {
	var v *VendorError
	if errors.As(err, &v) && ruleFor(v).scope == scopeClient {
		return WarnClientSuspended
	}
	return WarnVendorUnavailable
}

// unusable returns the error for a grant whose state lets no token be had, nil where one can.
func (m *Manager) unusable(ctx context.Context, t *target) error {
	g := t.entry.g
	switch {
	case g.Forgotten:
		return notFound()
	case g.State == Active, t.client.GrantType == ClientCredentials:
		return nil
	case g.State == AwaitingConfirmation:
		return &Error{Code: TemporarilyUnavailable, Reason: string(AwaitingConfirmation), RetryAfter: time.Minute,
			Description: "the account was created; its owner has not confirmed it at the vendor yet"}
	}
	e := &Error{Code: ReauthorizationRequired, Reason: g.Reason,
		Description: "the resource owner must authorize; send them to connect_url"}
	if e.Reason == "" {
		e.Reason = string(g.State)
	}
	a, err := m.openTicket(ctx, t, ticketAsk{})
	if err != nil {
		m.log.WarnContext(ctx, "no connect URL could be made; the caller is told to have the owner authorize, without one", "grant", g.ID,
			"client", g.Client, "vendor", g.Vendor, "error", err)
		return e
	}
	e.ConnectURL = a.ConnectURL
	return e
}

// refusal turns a failed refresh into the answer for a caller who gets no token.
func (m *Manager) refusal(ctx context.Context, e *entry, err error) error {
	var v *VendorError
	if !errors.As(err, &v) {
		return m.storeError(ctx, err)
	}
	out := &Error{Code: TemporarilyUnavailable, Reason: v.Code, RetryAfter: max(min(v.RetryAfter, maxRetryAfter), time.Second), err: v,
		Description: "the vendor gives no token at the moment; esignd goes on trying"}
	if e != nil && !e.g.Failures.Next.IsZero() {
		out.RetryAfter = max(out.RetryAfter, min(e.g.Failures.Next.Sub(m.now()), maxRetryAfter))
	}
	if ruleFor(v).scope == scopeClient {
		out.Code = InvalidClient
		out.Description = "the vendor refuses this client's credentials; the operator must mend them in the configuration"
	}
	if v.Code == CodeUnsupportedGrantType && v.Outcome == NotSent {
		out = Errorf(Unsupported, "the vendor's adapter does not support this: %s", v.Detail)
	}
	return out
}

// span starts a span of this package.
func (m *Manager) span(ctx context.Context, name string, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	return m.tracer.Start(ctx, name, trace.WithAttributes(attrs...))
}

// fail marks the span with the code of err and returns err. Descriptions stay out of spans.
func fail(span trace.Span, err error) error {
	if err == nil {
		return nil
	}
	code := errorType(err)
	span.SetAttributes(errorKey.String(code))
	span.SetStatus(codes.Error, code)
	return err
}
