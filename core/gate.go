package core

import (
	"context"
	"time"
)

// gate says why the vendor is not to be called now: a suspended client, a wait that the vendor asked for, an open
// breaker, a backoff. It is passed before a slot is taken. probe is true where this call finds out whether a
// suspended client is accepted again.
func (m *Manager) gate(ctx context.Context, cl *Client, e *entry, d demand) (probe bool, err error) {
	left := m.leftAlone(cl)
	if s := m.suspended(cl); s != nil {
		closed := &VendorError{Outcome: Refused, Code: s.Code, Detail: "the client is suspended", RetryAfter: max(0, m.until(s.ProbeAt))}
		if left != nil || m.until(s.ProbeAt) > 0 || !d.ahead && e.left() >= shortest {
			return false, closed
		}
		won, err := m.claimProbe(ctx, cl)
		if err != nil || won {
			return won, err
		}
		return false, closed
	}
	if left != nil {
		return false, left
	}
	if wait := m.until(m.backoffEnd(e.g, cl)); wait > 0 {
		return false, &VendorError{Outcome: NotSent, Code: e.g.Failures.Code, RetryAfter: wait, Detail: "an attempt failed a short while ago"}
	}
	return false, nil
}

// leftAlone says why and for how long a client's vendor is left alone; nil where it is not.
func (m *Manager) leftAlone(cl *Client) *VendorError {
	if wait := m.until(m.cache.client(cl.Name).RetryAt); wait > 0 {
		return &VendorError{Outcome: NotSent, Code: CodeRateLimited, RetryAfter: wait, Detail: "the vendor asked to be left alone"}
	}
	return m.breakers[cl.Name].shut()
}

// shut is how long the refreshes of a client's grants are held back; zero or less where they are not.
func (m *Manager) shut(cl *Client) time.Duration {
	var wait time.Duration
	if s := m.suspended(cl); s != nil {
		wait = m.until(s.ProbeAt)
		if since := m.now().Sub(s.ProbedAt); since >= 0 && since < claimDuration {
			wait = min(wait, trialPause) // it will soon be known
		}
	}
	if left := m.leftAlone(cl); left != nil {
		wait = max(wait, left.RetryAfter)
	}
	return wait
}

// until is how long a wait that was written down lasts on. One that is longer than any that is written was written by
// another clock, and does not count.
func (m *Manager) until(at time.Time) time.Duration {
	wait := at.Sub(m.now())
	if wait > 2*maxRetryAfter { // twice, since replicas' clocks differ a little
		return 0
	}
	return min(wait, maxRetryAfter)
}

// backoffEnd is the end of a grant's backoff. What was refused for credentials that are not ours any more does not hold
// us back, nor what a vendor failed at before it was found to answer again.
func (m *Manager) backoffEnd(g *grant, cl *Client) time.Time {
	r, f := m.cache.client(cl.Name), &g.Failures
	switch {
	case r.Suspended != nil && m.suspended(cl) == nil && f.failedAt(scopeClient),
		!r.Unavailable && r.VendorSince.After(f.At) && f.failedAt(scopeVendor):
		return time.Time{}
	}
	return f.Next
}
