package core

import (
	"context"
	"errors"
	"hash/fnv"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// step is what a grant needs next.
type step int

const (
	rest     step = iota
	payDebts      // publish what is owed
	bury          // settle a dead claim
	announce      // owe token.expiring, without a refresh
	renew         // refresh
	notice        // owe grant.expiring
	expire        // the consent or the refresh token has run out
	unsettle      // tell the vendor of a revocation
)

// dueSlack is how much early a timer counts as due: clocks and latencies differ by less.
const dueSlack = 250 * time.Millisecond

// consentNotices are the days ahead of a consent's end at which grant.expiring is owed.
var consentNotices = []int{30, 7, 1}

// expiringAt is the age at which a token counts as expiring: a point in the last third of its life, before the last
// sixth, different for each grant and generation, and the same for every replica.
func expiringAt(g *grant) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(g.ID))
	_, _ = h.Write([]byte{byte(g.Generation), byte(g.Generation >> 8), byte(g.Generation >> 16)})
	spread := time.Duration(float64(g.Lifetime) / 6 * float64(h.Sum32()) / float64(^uint32(0)))
	return g.Lifetime*2/3 + spread
}

// keepAliveAt is the age of a token set at which its refresh token is used lest it die of disuse.
func keepAliveAt(idle time.Duration) time.Duration { return idle * 5 / 6 }

// plan says what a grant needs, or, with rest, how long it needs nothing; zero is for ever.
func (m *Manager) plan(e *entry) (step, time.Duration) {
	g := e.g
	var wakes wakes
	if len(g.Debts) > 0 {
		wait := claimDuration - m.now().Sub(g.Debts[0].Time)
		if wait <= 0 {
			return payDebts, 0
		}
		wakes.add(wait)
	}
	if g.Attempt != nil {
		left := m.claimLeft(e)
		if left <= 0 {
			return bury, 0
		}
		wakes.add(left)
		return rest, wakes.next()
	}
	cl := m.clientFor(g.Tenant, g.Client)
	switch {
	case g.Forgotten, cl == nil:
		return rest, wakes.next()
	case g.RevocationOwed:
		return m.planWait(unsettle, g.Failures.Next, &wakes)
	case g.State != Active:
		return rest, wakes.next()
	}
	md, known := m.knownMetadata(cl.Vendor)
	if !known {
		wakes.add(5 * time.Second)
		return rest, wakes.next()
	}
	if s := m.planConsent(g, e, &wakes); s != rest {
		return s, 0
	}
	return m.planRefresh(e, cl, md, &wakes)
}

// wakes collects times to look again.
type wakes struct{ soonest time.Duration }

func (w *wakes) add(d time.Duration) {
	d = max(d, time.Millisecond)
	if w.soonest == 0 || d < w.soonest {
		w.soonest = d
	}
}

func (w *wakes) next() time.Duration { return w.soonest }

// planWait returns s once the time at has come.
func (m *Manager) planWait(s step, at time.Time, w *wakes) (step, time.Duration) {
	wait := min(at.Sub(m.now()), maxRetryAfter) // a stepped clock puts nothing off for longer
	if wait <= 0 {
		return s, 0
	}
	w.add(wait)
	return rest, w.next()
}

// planConsent looks at the hard end of a consent.
func (m *Manager) planConsent(g *grant, e *entry, w *wakes) step {
	if g.ConsentExpiresAt.IsZero() {
		return rest
	}
	left := g.ConsentExpiresAt.Sub(m.now())
	if left <= 0 {
		if e.left() < shortest {
			return expire
		}
		w.add(e.left())
		return rest
	}
	w.add(left)
	if n := noticeDue(g, left); n != 0 {
		return notice
	}
	for _, days := range consentNotices {
		if until := left - time.Duration(days)*24*time.Hour; until > 0 {
			w.add(until)
		}
	}
	return rest
}

// noticeDue returns the notice, in days ahead, that is to be given and was not; 0 where there is none.
func noticeDue(g *grant, left time.Duration) int {
	due := 0
	for _, days := range consentNotices {
		if left <= time.Duration(days)*24*time.Hour {
			due = days
		}
	}
	if g.ConsentNotice != 0 && g.ConsentNotice <= due {
		return 0
	}
	return due
}

// planRefresh says when the grant is refreshed ahead.
func (m *Manager) planRefresh(e *entry, cl *Client, md Metadata, w *wakes) (step, time.Duration) {
	g := e.g
	if cl.GrantType != ClientCredentials && (g.tokens.Refresh.IsZero() || m.consentOver(g)) {
		if e.left() < shortest {
			return expire, 0
		}
		w.add(e.left())
		return rest, w.next()
	}
	var wait time.Duration
	switch {
	case g.tokens.Access.IsZero():
		wait = 0
	case g.Uncertain && m.rotates(g, cl, md):
		wait = e.left() - minTTLFor(g.Lifetime)
	case cl.Policy == Lazy:
		if until := expiringAt(g) - e.ageNow(); !g.Expiring && until <= dueSlack {
			return announce, 0
		} else if !g.Expiring {
			w.add(until)
		}
		if md.RefreshIdleLifetime <= 0 || cl.GrantType == ClientCredentials {
			return rest, w.next()
		}
		wait = keepAliveAt(md.RefreshIdleLifetime) - e.ageNow()
	default:
		wait = expiringAt(g) - e.ageNow()
	}
	if wait > dueSlack {
		w.add(wait)
		return rest, w.next()
	}
	return m.planGate(e, cl, w)
}

// planGate puts a refresh that is due off while the vendor is not to be called for it.
func (m *Manager) planGate(e *entry, cl *Client, w *wakes) (step, time.Duration) {
	at := e.g.Failures.Next
	if s := m.suspended(cl); s != nil {
		if m.now().Before(s.ProbeAt) {
			return m.planWait(rest, s.ProbeAt, w)
		}
		if !m.expiresFirst(e) {
			w.add(sweepEvery)
			return rest, w.next()
		}
		at = time.Time{}
	} else if r := m.cache.client(cl.Name); r.RetryAt.After(at) {
		at = r.RetryAt
	}
	return m.planWait(renew, at, w)
}

// expiresFirst reports whether no other grant of the client ends before this one: that grant probes a suspended
// client.
func (m *Manager) expiresFirst(e *entry) bool {
	others := m.cache.all(func(g *grant) bool { return g.Client == e.g.Client && g.State == Active && g.ID != e.g.ID })
	return !slices.ContainsFunc(others, func(o *entry) bool {
		return o.left() < e.left() || o.left() == e.left() && o.g.ID < e.g.ID
	})
}

// look does what the grant needs now and arms its timer for what it needs next.
func (m *Manager) look(ctx context.Context, id string) error {
	for range 16 {
		e, err := m.load(ctx, id)
		if errors.Is(err, ErrNoRecord) {
			return nil
		}
		if err != nil {
			return err
		}
		if cl := m.clients[e.g.Client]; cl != nil {
			if _, _, err := m.adapterOf(ctx, cl); err != nil {
				m.log.DebugContext(ctx, "no metadata yet", "vendor", cl.Vendor)
			}
		}
		s, wait := m.plan(e)
		if s == rest {
			return m.armAndCheck(ctx, e, wait)
		}
		err = m.do(ctx, e, s)
		var v *VendorError
		switch {
		case errors.Is(err, ErrConflict), errors.Is(err, errNotNow), err == nil:
		case errors.As(err, &v):
			// The failure is in the record, or the gate was shut and nothing was tried: look again after it.
			if v.RetryAfter > 0 {
				return m.arm(ctx, e.g, max(jitter(v.RetryAfter), time.Second))
			}
		default:
			return err
		}
	}
	return m.rearmLater(ctx, id)
}

// rearmLater ends a look that found ever more to do.
func (m *Manager) rearmLater(ctx context.Context, id string) error {
	if e := m.cache.get(id); e != nil {
		return m.arm(ctx, e.g, jitter(5*time.Second))
	}
	return nil
}

// do takes one step.
func (m *Manager) do(ctx context.Context, e *entry, s step) error {
	g := e.g
	switch s {
	case payDebts:
		return m.pay(ctx, e)
	case bury:
		_, err := m.settle(ctx, e)
		return err
	case renew:
		t := &target{id: g.ID, tenant: g.Tenant, account: g.Account, client: m.clients[g.Client], entry: e}
		return m.refreshOnce(ctx, t, demand{minTTL: DefaultMinTTL, ahead: true, beyond: g.Generation, consent: g.Consent})
	case expire:
		return m.expire(ctx, e)
	case unsettle:
		_, err := m.finishRevocation(ctx, e)
		return err
	case announce, notice:
		return m.announce(ctx, e, s)
	default:
		return nil
	}
}

// announce owes token.expiring or grant.expiring, and pays it.
func (m *Manager) announce(ctx context.Context, e *entry, s step) error {
	g := e.edit()
	if s == announce {
		g.Expiring = true
		g.owe(m.event(ctx, TokenExpiring, ""))
	} else {
		left := g.ConsentExpiresAt.Sub(m.now())
		g.ConsentNotice = noticeDue(g, left)
		ev := m.event(ctx, GrantExpiring, ReasonConsentExpired)
		end := g.ConsentExpiresAt
		ev.ConsentExpiresAt = &end
		g.owe(ev)
	}
	written, err := m.write(ctx, g)
	if err != nil {
		return err
	}
	return m.pay(ctx, written)
}

// arm sets the grant's timer to fire in d.
func (m *Manager) arm(ctx context.Context, g *grant, d time.Duration) error {
	if g.Vendor == "" {
		return nil // a tombstone has nothing to be looked at for
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	return m.timers.Arm(ctx, g.Vendor, g.ID, m.now().Add(d))
}

// armAndCheck arms the timer of a grant that rests, and looks again where the grant changed meanwhile: the timer of
// an older revision must not stand.
func (m *Manager) armAndCheck(ctx context.Context, e *entry, wait time.Duration) error {
	for {
		if wait > 0 {
			if err := m.arm(ctx, e.g, wait); err != nil {
				return err
			}
		}
		now := m.cache.get(e.g.ID)
		if now == nil || now.g.revision == e.g.revision {
			return nil
		}
		e = now
		var s step
		if s, wait = m.plan(e); s != rest {
			wait = time.Millisecond // it fires at once
		}
	}
}

// rearm arms the grant's timer by what it needs next.
func (m *Manager) rearm(ctx context.Context, id string) error {
	e := m.cache.get(id)
	if e == nil {
		return nil
	}
	s, wait := m.plan(e)
	if s != rest {
		wait = time.Millisecond
	}
	return m.armAndCheck(ctx, e, wait)
}

// workTimers works the due timers of one vendor until Close.
func (m *Manager) workTimers(vendor string) {
	err := m.timers.Work(m.background, vendor, duePerVendor, func(ctx context.Context, d Due) error {
		m.flightMu.Lock()
		closed := m.closed
		m.flightMu.Unlock()
		if closed {
			return errClosed
		}
		// A due message is a fresh word of the store's clock, unless it waited: the clock is read where it matters.
		if behind := m.now().Sub(d.Time); behind < -time.Second || behind > time.Minute {
			if err := m.readClock(ctx); err != nil {
				return err
			}
		}
		return m.look(ctx, d.Grant)
	})
	if err != nil && m.background.Err() == nil {
		m.log.Error("the timers of a vendor stopped; the sweep takes their place until a restart", "vendor", vendor, "error", err)
	}
}

// sweep arms what has no timer at the start, and from then on finds grants that are overdue: their timer was lost, or
// the store's clock was set back.
func (m *Manager) sweep() {
	m.armMissing(m.background)
	m.payClients(m.background)
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	overdue := map[string]uint64{}
	for {
		select {
		case <-m.background.Done():
			return
		case <-ticker.C:
			overdue = m.sweepOnce(m.background, overdue)
			m.payClients(m.background)
		}
	}
}

// sweepOnce looks at the grants that needed something at the last sweep already and still do: a timer that works
// would have seen to them. It returns those that need something now.
func (m *Manager) sweepOnce(ctx context.Context, before map[string]uint64) map[string]uint64 {
	due := map[string]uint64{}
	var late []string
	for _, e := range m.cache.all(func(*grant) bool { return true }) {
		if s, _ := m.plan(e); s == rest {
			continue
		}
		due[e.g.ID] = e.g.revision
		if rev, ok := before[e.g.ID]; ok && rev == e.g.revision {
			late = append(late, e.g.ID)
		}
	}
	m.lookAll(ctx, late)
	return due
}

// lookAll looks at grants, a few at once.
func (m *Manager) lookAll(ctx context.Context, ids []string) {
	var group errgroup.Group
	group.SetLimit(8)
	for _, id := range ids {
		group.Go(func() error {
			if err := m.look(ctx, id); err != nil && ctx.Err() == nil {
				m.log.WarnContext(ctx, "a grant that is overdue could not be looked at", "grant", id, "error", err)
			}
			return nil
		})
	}
	_ = group.Wait() // the functions return no error
}

// armMissing arms the timers of the grants that have none. Grants of a client that was suspended with other
// credentials are looked at at once: their timers wait for a probe that is no longer needed.
func (m *Manager) armMissing(ctx context.Context) {
	for _, vendor := range m.vendors() {
		if a, err := m.adapters.Adapter(vendor); err == nil {
			if _, err := m.metadata(ctx, vendor, a); err != nil {
				m.log.WarnContext(ctx, "a vendor's adapter does not answer yet", "vendor", vendor, "error", err)
			}
		}
	}
	armed, err := m.timers.Armed(ctx)
	if err != nil {
		if ctx.Err() == nil {
			m.log.WarnContext(ctx, "the timers that are armed could not be listed; every grant's is armed anew", "error", err)
		}
		armed = map[string]bool{}
	}
	count := 0
	for _, e := range m.cache.all(func(*grant) bool { return true }) {
		cl := m.clients[e.g.Client]
		resumed := cl != nil && m.cache.client(cl.Name).Suspended != nil && m.suspended(cl) == nil
		inherited := e.g.Attempt != nil && ownerFolder(e.g.Attempt.Owner) == m.folder
		if armed[e.g.ID] && !resumed && !inherited {
			continue
		}
		if err := m.rearm(ctx, e.g.ID); err != nil {
			m.log.WarnContext(ctx, "the grant's timer was not armed; the sweep finds it", "grant", e.g.ID, "error", err)
			continue
		}
		count++
	}
	if count > 0 {
		m.log.InfoContext(ctx, "timers armed that were missing", "count", count)
	}
}

// payClients pays what the records of clients owe for longer than a claim.
func (m *Manager) payClients(ctx context.Context) {
	for _, cl := range m.clients {
		r := m.cache.client(cl.Name)
		if len(r.Debts) > 0 && m.now().Sub(r.Debts[0].Time) > claimDuration {
			m.payClient(ctx, cl, r)
		}
	}
}
