package core

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
)

// flight is one refresh of a grant by this process; everybody who wants the grant refreshed waits for it.
type flight struct {
	done chan struct{} // closed when the outcome is committed, or there is none
	err  error         // read after done
	// followed says that something was committed, of which the flight does what comes after; read after done.
	followed bool
	// place is where the flight waits for a slot.
	place *place
}

// refreshWithin bounds a refresh with all that it may have to wait for: another replica's claim, a slot, the vendor.
const refreshWithin = 60 * time.Second

// errClosed is why nothing is begun any more.
var errClosed = &Error{Code: TemporarilyUnavailable, Reason: "stopping", RetryAfter: time.Second, Description: "esignd is stopping; ask again"}

// refreshOnce refreshes a grant, or waits for the refresh that is under way. The refresh has a context of its own: a
// caller that gives up does not cancel it, since the vendor may have acted already. followed reports whether an outcome
// was committed, whose events and timer are seen to.
func (m *Manager) refreshOnce(ctx context.Context, t *target, d demand) (followed bool, err error) {
	m.flightMu.Lock()
	if m.closed {
		m.flightMu.Unlock()
		return false, errClosed
	}
	f := m.flights[t.id]
	if f == nil {
		f = &flight{done: make(chan struct{}), place: newPlace(!d.ahead)}
		m.flights[t.id], t.place = f, f.place
		m.work.Go(func() { m.fly(context.WithoutCancel(ctx), f, t, d) })
	} else if !d.ahead {
		m.slots[t.client.Vendor].hurry(f.place)
	}
	m.flightMu.Unlock()
	select {
	case <-f.done:
		return f.followed, f.err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// fly runs a flight. Those who wait are let go as soon as the outcome is committed; events and timer come after.
func (m *Manager) fly(ctx context.Context, f *flight, t *target, d demand) {
	ctx, cancel := context.WithTimeout(ctx, refreshWithin)
	defer cancel()
	began := time.Now()
	ctx, span := m.span(ctx, "refresh", attribute.String("esignd.vendor", t.client.Vendor), attribute.String("esignd.client", t.client.Name))
	defer span.End()
	landed := false
	land := func(err error) {
		m.flightMu.Lock()
		delete(m.flights, t.id)
		m.flightMu.Unlock()
		m.metrics.landed(ctx, t.client, began, err)
		f.err, landed = fail(span, err), true
		close(f.done)
	}
	defer func() {
		if !landed { // a panic goes on, but leaves nobody waiting
			land(errors.New("the refresh ended without an outcome"))
		}
	}()
	e, err := m.refresh(ctx, t, d)
	f.followed = e != nil
	land(err)
	if e != nil {
		m.follow(ctx, e)
	}
}

// follow does what comes after a commit: it pays the debts and arms the timer.
func (m *Manager) follow(ctx context.Context, e *entry) {
	m.payOrLater(ctx, e)
	if err := m.rearm(ctx, e.g.ID); err != nil {
		m.log.WarnContext(ctx, "the grant's timer was not armed; the sweep finds it within a minute of when it is due", "grant", e.g.ID,
			"client", e.g.Client, "vendor", e.g.Vendor, "error", err)
	}
}

// errNotNow says that there is nothing to refresh at this moment, and that this is as it should be.
var errNotNow = errors.New("not refreshed now")

// refresh takes a grant through claim, call and commit. It returns the entry that it committed, and the error that
// those who wait get.
func (m *Manager) refresh(ctx context.Context, t *target, d demand) (*entry, error) {
	for {
		e, err := m.loadFor(ctx, t)
		if err != nil {
			return nil, err
		}
		waited, err := m.awaitClaim(ctx, t, e)
		if err != nil {
			return nil, err
		}
		if waited {
			continue
		}
		a, err := m.decide(ctx, t, e, d)
		if errors.Is(err, errNotNow) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		past, err := m.catchUp(ctx, e)
		if past || errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return nil, err
		}
		e, err = m.attempt(ctx, t, e, a)
		if errors.Is(err, ErrConflict) {
			continue
		}
		return e, err
	}
}

// loadFor returns the grant of a target; one of a client_credentials client that has no record is begun.
func (m *Manager) loadFor(ctx context.Context, t *target) (*entry, error) {
	e, err := m.load(ctx, t.id)
	gone := errors.Is(err, ErrNoRecord) || err == nil && e.g.Forgotten
	if !gone || t.client.GrantType != ClientCredentials {
		return e, err
	}
	t.entry = e
	g := t.blank()
	if err := g.move(causeStart); err != nil {
		return nil, err
	}
	return &entry{g: g, seen: time.Now(), first: time.Now()}, nil
}

// awaitClaim waits while somebody's claim lives, and settles a dead one. It reports whether the grant is to be read
// again.
func (m *Manager) awaitClaim(ctx context.Context, t *target, e *entry) (bool, error) {
	if e.g.Attempt == nil {
		return false, nil
	}
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("wait for the claim on grant %s: %w", e.g.ID, err)
	}
	if left := m.claimLeft(e); left > 0 {
		m.metrics.awaited(ctx, t)
		m.cache.awaitChange(ctx, e.g.ID, e.g.revision, min(left, time.Second))
		return true, nil
	}
	if _, err := m.settle(ctx, e); err != nil && !errors.Is(err, ErrConflict) {
		return false, err
	}
	return true, nil
}

// decide says which attempt is to be made now, if any.
func (m *Manager) decide(ctx context.Context, t *target, e *entry, d demand) (*attempt, error) {
	g, cl := e.g, t.client
	if g.State != Active && cl.GrantType != ClientCredentials {
		return nil, errNotNow
	}
	if g.Generation > d.beyond || g.Consent != d.consent {
		return nil, errNotNow // somebody was faster
	}
	_, md, err := m.adapterOf(ctx, cl)
	if err != nil {
		return nil, err
	}
	if !md.Supports(m.grantTypeFor(cl)) {
		return nil, &VendorError{Outcome: NotSent, Code: CodeUnsupportedGrantType, Detail: "grant type " + string(m.grantTypeFor(cl))}
	}
	a := &attempt{ID: randomID(), Owner: m.owner, Duration: claimDuration, reported: d.reported}
	if m.lastTryOnly(g, cl, md) {
		if e.left() > minTTLFor(g.Lifetime) && !d.reported {
			return nil, errNotNow // the token lives: the last try can wait
		}
		a.LastTry = true
	}
	if m.spent(g, cl) {
		if e.left() >= shortest && !d.reported {
			return nil, errNotNow
		}
		return nil, m.expire(ctx, e)
	}
	if a.Probe, err = m.gate(ctx, cl, e, d); err != nil {
		return nil, err
	}
	return a, nil
}

func (m *Manager) grantTypeFor(cl *Client) GrantType {
	if cl.GrantType == ClientCredentials {
		return ClientCredentials
	}
	return RefreshToken
}

// rotates reports whether presenting this grant's refresh token may end it.
func (m *Manager) rotates(g *grant, cl *Client, md Metadata) bool {
	return cl.GrantType != ClientCredentials && (md.RotatesRefreshTokens || g.Rotating || m.cache.client(cl.Name).Rotating)
}

func (m *Manager) consentOver(g *grant) bool {
	return !g.ConsentExpiresAt.IsZero() && !m.now().Before(g.ConsentExpiresAt)
}

// expire ends a grant whose consent or refresh token has run out, without a call that is known to fail.
func (m *Manager) expire(ctx context.Context, e *entry) error {
	expired, err := m.change(ctx, e.g.ID, func(_ *entry, g *grant) (bool, error) {
		if g.revision != e.g.revision {
			return false, nil
		}
		reason := ReasonRefreshExpired
		if m.consentOver(g) {
			reason = ReasonConsentExpired
		}
		return true, m.die(ctx, g, reason)
	})
	if err != nil {
		return err
	}
	m.payOrLater(ctx, expired)
	return errNotNow
}

// attempt claims the grant, calls the vendor, and commits what came of it.
func (m *Manager) attempt(ctx context.Context, t *target, e *entry, a *attempt) (*entry, error) {
	began := time.Now()
	release, err := m.takeSlot(ctx, t.client, t.place, e.ends())
	m.metrics.phase(ctx, t.client, phaseQueue, began)
	if err != nil {
		return nil, err
	}
	defer release()
	p, err := m.breakers[t.client.Name].admit()
	if err != nil {
		return nil, err
	}
	defer p.giveBack()
	began = time.Now()
	claimed, err := m.claim(ctx, e, a)
	m.metrics.claimed(ctx, t.client, err)
	m.metrics.phase(ctx, t.client, phaseClaim, began)
	if err != nil {
		return nil, err
	}
	acked := time.Now()
	if claimed.g.Attempt == nil || claimed.g.Attempt.ID != a.ID {
		// Another write was told before the acknowledgement came: the claim is over, and what is there now was not claimed.
		return nil, fmt.Errorf("claim grant %s: overtaken: %w", t.id, ErrConflict)
	}
	if err := m.arm(ctx, claimed.g, a.Duration); err != nil {
		m.log.DebugContext(ctx, "no timer at the end of the claim; the sweep takes its place", "grant", t.id, "vendor", t.client.Vendor, "error", err)
	}
	began = time.Now()
	vctx, waited := WithVendorTime(ctx)
	r := m.present(vctx, t, claimed, a, p, acked)
	m.metrics.called(ctx, t.client, time.Since(began), waited)
	began = time.Now()
	committed, err := m.commit(ctx, r)
	m.metrics.phase(ctx, t.client, phaseCommit, began)
	m.tellRefreshed(ctx, t, committed, r, err)
	if err != nil {
		return nil, err
	}
	m.learn(ctx, t.client, r)
	if r.failure != nil {
		return committed, r.failure
	}
	return committed, nil
}

// Refreshed tells of a refresh that was made.
type Refreshed struct {
	Tenant, Client, Vendor, Account, Grant string
	Generation                             uint64 // of the grant since
	AccessToken                            Secret // that came; none where Err is not nil
	Err                                    error  // why none came, or what came is not committed
}

// tellRefreshed tells what became of a call, with err where its outcome is not committed.
func (m *Manager) tellRefreshed(ctx context.Context, t *target, committed *entry, r result, err error) {
	told := Refreshed{Tenant: t.tenant, Client: t.client.Name, Vendor: t.client.Vendor, Account: t.account, Grant: t.id, Err: err}
	if committed != nil {
		told.Account, told.Generation = committed.g.Account, committed.g.Generation
	}
	switch {
	case err != nil:
	case r.failure != nil:
		told.Err = r.failure
	default:
		told.AccessToken = r.response.AccessToken
	}
	m.refreshed(ctx, told)
}

// takeCallerSlot is takeSlot for what no refresh is.
func (m *Manager) takeCallerSlot(ctx context.Context, cl *Client) (release func(), err error) {
	return m.takeSlot(ctx, cl, newPlace(true), time.Time{})
}

// takeSlot waits for the right to call a vendor, at p.
func (m *Manager) takeSlot(ctx context.Context, cl *Client, p *place, ends time.Time) (release func(), err error) {
	slots := m.slots[cl.Vendor]
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := slots.acquire(ctx, p, ends); err != nil {
		return nil, &VendorError{Outcome: NotSent, Code: CodeTimeout, Detail: "too many calls to this vendor are under way"}
	}
	return slots.release, nil
}

// claim writes the attempt into the grant's record, and owes token.expiring where it is due. Where the write's fate
// is not known the vendor is not called; a claim that did get through is taken back or dies by itself.
func (m *Manager) claim(ctx context.Context, e *entry, a *attempt) (*entry, error) {
	ctx, span := m.span(ctx, "claim")
	defer span.End()
	g := e.edit()
	a.Generation = g.Generation
	g.Attempt = a
	if !g.Expiring && g.State == Active && !g.tokens.Access.IsZero() && e.ageNow() >= expiringAt(g)-dueSlack {
		g.Expiring = true
		g.owe(m.event(ctx, TokenExpiring, ""))
	}
	claimed, err := m.write(ctx, g)
	if err == nil || errors.Is(err, ErrConflict) {
		return claimed, err
	}
	back := result{kind: byRefresh, grant: g.ID, attempt: *a, consent: g.Consent, generation: g.Generation, sent: time.Now(),
		unsure: true, failure: &VendorError{Outcome: NotSent, Code: CodeInternal, Detail: "the claim could not be written"}}
	if _, cerr := m.commit(ctx, back); cerr != nil {
		m.log.DebugContext(ctx, "a claim of unknown fate was not taken back; it dies by itself", "grant", g.ID, "error", cerr)
	}
	return nil, fail(span, err)
}
