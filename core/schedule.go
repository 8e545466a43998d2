package core

import (
	"hash/fnv"
	"time"
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

// tellWithin is how long token.expiring may wait for the claim of a refresh that has its turn soon, which then owes it: to
// tell of it before takes two more writes, of as many grants as wait. Half of what the token lives on is the most.
const tellWithin = 30 * time.Second

// consentNotices are the days ahead of a consent's end at which grant.expiring is owed.
var consentNotices = []int{30, 7, 1}

// expiringAt is the age at which a token counts as expiring: a point in the last third of its life, before the last
// sixth, different for each grant and generation, and the same for every replica.
func expiringAt(g *grant) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(g.ID))
	_, _ = h.Write([]byte{byte(g.Generation), byte(g.Generation >> 8), byte(g.Generation >> 16)}) //nolint:gosec // its lowest bytes
	spread := time.Duration(float64(g.Lifetime) / 6 * float64(h.Sum32()) / float64(^uint32(0)))
	return g.Lifetime*2/3 + spread
}

// keepAliveAt is the age of a token set at which its refresh token is used lest it die of disuse.
func keepAliveAt(idle time.Duration) time.Duration { return idle * 5 / 6 }

// plan says what a grant needs, or, with rest, how long it needs nothing; zero is for ever. unpayable says that what it
// owes cannot be published at the moment, which keeps nothing else from being done.
func (m *Manager) plan(e *entry, unpayable bool) (step, time.Duration) {
	g := e.g
	var wakes wakes
	if len(g.Debts) > 0 {
		wait := min(claimDuration-m.now().Sub(g.Debts[0].Time), claimDuration)
		if wait <= 0 && !unpayable {
			return payDebts, 0
		}
		if unpayable {
			wait = claimDuration
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
	cl := m.clientOf(g)
	switch {
	case g.Forgotten:
		return rest, wakes.next()
	case g.State == Revoked && g.ForgetOwed && !g.RevocationOwed:
		return unsettle, 0
	case cl == nil:
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
	wait := m.until(at)
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
	if m.spent(g, cl) {
		if e.left() < shortest {
			return expire, 0
		}
		w.add(e.left())
		return rest, w.next()
	}
	if cl.Policy == Lazy && !g.Expiring && !g.tokens.Access.IsZero() && !m.lastTryOnly(g, cl, md) {
		until := expiringAt(g) - e.ageNow()
		if until <= dueSlack {
			return announce, 0
		}
		w.add(until)
	}
	wait, planned := m.refreshIn(e, cl, md)
	if !planned {
		return rest, w.next()
	}
	if wait > dueSlack {
		w.add(wait)
		return rest, w.next()
	}
	if wait = m.heldBack(e, cl); wait <= 0 {
		return renew, 0
	}
	if !g.Expiring && !g.tokens.Access.IsZero() && e.ageNow() >= expiringAt(g)-dueSlack && wait > min(tellWithin, e.left()/2) {
		return announce, 0 // the refresh has to wait, and who holds the token is to know
	}
	if m.lineups[cl.Name].comesTo(e) {
		wait += walkLead
	}
	w.add(wait)
	return rest, w.next()
}

// spent reports whether there is nothing to refresh the grant with.
func (m *Manager) spent(g *grant, cl *Client) bool {
	return cl.GrantType != ClientCredentials && (g.tokens.Refresh.IsZero() || m.consentOver(g))
}

// refreshIn is when the grant is refreshed ahead, if nothing holds it back; planned is false where it waits to be asked
// for.
func (m *Manager) refreshIn(e *entry, cl *Client, md Metadata) (wait time.Duration, planned bool) {
	g := e.g
	switch {
	case g.tokens.Access.IsZero():
		return 0, true
	case m.lastTryOnly(g, cl, md):
		return e.left() - minTTLFor(g.Lifetime), true
	case cl.Policy != Lazy:
		return expiringAt(g) - e.ageNow(), true
	case md.RefreshIdleLifetime <= 0 || cl.GrantType == ClientCredentials:
		return 0, false
	}
	return keepAliveAt(md.RefreshIdleLifetime) - e.ageNow(), true
}

// heldBack is how long a refresh that is due waits: for the end of the grant's backoff, and for its turn where the
// grants of the client have to wait. A grant that finds out whether a suspended client is accepted again does not wait
// for its own backoff.
func (m *Manager) heldBack(e *entry, cl *Client) time.Duration {
	wait := m.turn(e, cl)
	if m.suspended(cl) != nil {
		return wait
	}
	return max(wait, m.until(m.backoffEnd(e.g, cl)))
}
