package core

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"
)

// clientFormat is the format of a client's record that this release writes; the rule is that of grantFormat.
const clientFormat = 1

// clientRecord is what all replicas share of one client's troubles at its vendor.
type clientRecord struct {
	Format int    `json:"format"`
	Name   string `json:"name"`
	Vendor string `json:"vendor"`
	// Rotating says that the vendor was seen to rotate this client's refresh tokens, though its adapter does not
	// declare it.
	Rotating bool `json:"rotating,omitempty"`
	// Suspended is set while the vendor refuses the client itself.
	Suspended *suspension `json:"suspended,omitempty"`
	// RetryAt is when the vendor wants to hear from this client again, by the store's clock.
	RetryAt time.Time `json:"retry_at,omitzero"`
	// Unavailable says that vendor.unavailable was told and vendor.available was not, and VendorSince when the last of
	// the two was.
	Unavailable bool      `json:"unavailable,omitempty"`
	VendorSince time.Time `json:"vendor_since,omitzero"`
	Debts       []Event   `json:"debts,omitempty"`

	unknown  members // of the next format
	revision uint64
}

// suspension pauses the refreshes of every grant of a client.
type suspension struct {
	// Fingerprints are of the credentials that were refused, the newest last: a replica with others is not bound.
	Fingerprints []string  `json:"fingerprints"`
	Code         string    `json:"code"`
	Since        time.Time `json:"since"`
	// Probes counts the tries since, and ProbeAt is when the next may be made. Owner is who made the last, and ProbedAt
	// when; zero once it is known to be refused.
	Probes   int       `json:"probes"`
	ProbeAt  time.Time `json:"probe_at"`
	ProbedAt time.Time `json:"probed_at,omitzero"`
	Owner    string    `json:"owner,omitempty"`
	// Superseded says that other credentials were accepted since: the client works, and these still do not.
	Superseded bool `json:"superseded,omitempty"`
}

// maxFingerprints bounds the refused credentials that are remembered: replicas in the middle of a change have two.
const maxFingerprints = 4

func (s *suspension) binds(print string) bool { return slices.Contains(s.Fingerprints, print) }

// refuse adds credentials.
func (s *suspension) refuse(print string) {
	s.Fingerprints = append(s.Fingerprints, print)
	s.Fingerprints = s.Fingerprints[max(0, len(s.Fingerprints)-maxFingerprints):]
}

func (r *clientRecord) clone() *clientRecord {
	c := *r
	c.Debts = slices.Clone(r.Debts)
	if r.Suspended != nil {
		s := *r.Suspended
		s.Fingerprints = slices.Clone(s.Fingerprints)
		c.Suspended = &s
	}
	return &c
}

func decodeClient(rec Record) (*clientRecord, error) {
	c := &clientRecord{}
	var err error
	if c.unknown, err = decodePublic(rec, c, &c.Format, clientFormat); err != nil {
		return nil, err
	}
	c.revision = rec.Revision
	return c, nil
}

// updateClient changes a client's record by compare-and-set; change returns false where there is nothing to do. It
// returns the record as it then stands.
func (m *Manager) updateClient(ctx context.Context, cl *Client, change func(*clientRecord) bool) (*clientRecord, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	for {
		current, err := m.readClient(ctx, cl)
		if err != nil {
			return nil, err
		}
		next := current.clone()
		if !change(next) {
			m.cache.setClient(current)
			return current, nil
		}
		public, err := encodePublic(next, next.unknown)
		if err != nil {
			return nil, fmt.Errorf("encode client %s: %w", cl.Name, err)
		}
		next.revision, err = m.store.Put(ctx, Record{Key: kindClient + cl.Name, Public: public, Revision: current.revision})
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("write client %s: %w", cl.Name, err)
		}
		m.cache.setClient(next)
		return next, nil
	}
}

// readClient reads a client's record; one that is absent or damaged starts anew.
func (m *Manager) readClient(ctx context.Context, cl *Client) (*clientRecord, error) {
	fresh := &clientRecord{Format: clientFormat, Name: cl.Name, Vendor: cl.Vendor}
	rec, err := m.store.Get(ctx, kindClient+cl.Name)
	if errors.Is(err, ErrNoRecord) {
		return fresh, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read client %s: %w", cl.Name, err)
	}
	c, err := decodeClient(rec)
	if err != nil {
		m.log.WarnContext(ctx, "a client's record is damaged; it starts anew, and a suspension in it is found out again", "client", cl.Name,
			"vendor", cl.Vendor, "error", err)
		fresh.revision = rec.Revision
		return fresh, nil
	}
	return c, nil
}

// toldClient takes in a client's record. Grants whose refresh the vendor failed are looked at anew when it is told to
// answer again: they wait for the end of their own backoff.
func (m *Manager) toldClient(c *clientRecord) {
	m.cache.setClient(c)
	failing := m.unavailable[c.Name]
	m.unavailable[c.Name] = c.Unavailable
	if !failing || c.Unavailable {
		return
	}
	m.tasks.Go(func() {
		for _, e := range m.cache.all(func(g *grant) bool { return g.Client == c.Name && g.Failures.failedAt(scopeVendor) }) {
			if err := m.rearm(m.background, e.g.ID); err != nil {
				m.log.Debug("a grant waits for the end of its backoff, though the vendor answers again", "grant", e.g.ID,
					"client", e.g.Client, "vendor", e.g.Vendor, "error", err)
			}
		}
	})
}

// owe adds an event about the client, one for each of its tenants.
func (r *clientRecord) owe(cl *Client, e Event) {
	for _, tenant := range cl.Tenants {
		e.ID, e.Tenant, e.Client, e.Vendor = randomID(), tenant, cl.Name, cl.Vendor
		r.Debts = append(r.Debts, e)
	}
}

// suspended returns the suspension that binds this replica, nil where there is none.
func (m *Manager) suspended(cl *Client) *suspension {
	s := m.cache.client(cl.Name).Suspended
	if s == nil || !s.binds(m.fingerprint(cl)) {
		return nil
	}
	return s
}

// fingerprint tells credentials apart without telling them. The key is kept in the store, so that replicas agree.
func (m *Manager) fingerprint(cl *Client) string {
	mac := hmac.New(sha256.New, []byte(m.fingerprintKey.Reveal()))
	mac.Write([]byte(cl.ClientID))
	mac.Write([]byte{0})
	mac.Write([]byte(cl.ClientSecret.Reveal()))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// loadFingerprintKey reads the key that replicas share, and makes it where there is none.
func (m *Manager) loadFingerprintKey(ctx context.Context) error {
	const key = kindKey + "fingerprint"
	for {
		rec, err := m.store.Get(ctx, key)
		if err == nil {
			m.fingerprintKey = NewSecret(string(rec.Secret))
			return nil
		}
		if errors.Is(err, ErrDamaged) {
			// Fingerprints of this process then agree with no other's: a suspension binds only who wrote it.
			m.log.ErrorContext(ctx, "the record of the fingerprint key is damaged; suspended clients are not shared with other replicas until it is restored", "key", key, "error", err)
			m.fingerprintKey = NewSecret(randomSecret())
			return nil
		}
		if !errors.Is(err, ErrNoRecord) {
			return fmt.Errorf("read the fingerprint key: %w", err)
		}
		fresh := Record{Key: key, Public: []byte(`{"format":1}`), Secret: []byte(randomSecret())}
		if _, err := m.store.Put(ctx, fresh); err != nil && !errors.Is(err, ErrConflict) {
			return fmt.Errorf("write the fingerprint key: %w", err)
		}
	}
}

// noteSuccess clears what stood against the client when a call was sent that it made good: what was found out since
// stands. refused says that the vendor answered, and refused the client.
func (m *Manager) noteSuccess(ctx context.Context, cl *Client, sent time.Time, rotated, refused bool) {
	if r := m.cache.client(cl.Name); r.Suspended == nil && !r.Unavailable && (!rotated || r.Rotating) {
		return
	}
	print, at := m.fingerprint(cl), m.now().Add(-time.Since(sent))
	m.changeClient(ctx, cl, func(r *clientRecord) bool {
		changed := rotated && !r.Rotating
		r.Rotating = r.Rotating || rotated
		if s := r.Suspended; s != nil && !refused && !overtaken(at, s.Since) {
			if !s.Superseded {
				s.Superseded, changed = true, true
				r.owe(cl, m.event(ctx, ClientResumed, ""))
			}
			if s.binds(print) {
				s.Fingerprints = slices.DeleteFunc(s.Fingerprints, func(p string) bool { return p == print })
				changed = true
			}
			if len(s.Fingerprints) == 0 {
				r.Suspended = nil
			}
		}
		if r.Unavailable && !overtaken(at, r.VendorSince) {
			r.Unavailable, r.VendorSince, r.RetryAt, changed = false, m.now(), time.Time{}, true
			r.owe(cl, m.event(ctx, VendorAvailable, ""))
		}
		return changed
	})
}

// overtaken reports whether a call that was sent at one time says nothing of what is known since another. One that is
// long past is of a clock that was set back since.
func overtaken(sent, since time.Time) bool {
	return since.After(sent) && since.Sub(sent) < claimDuration
}

// noteFailure records what a failure says of the client or the vendor, for all replicas.
func (m *Manager) noteFailure(ctx context.Context, cl *Client, sent time.Time, e *VendorError, probe bool) {
	r := ruleFor(e)
	switch {
	case r.scope == scopeGrant:
		m.noteSuccess(ctx, cl, sent, false, false) // a vendor that refuses the grant has accepted the client
	case r.scope == scopeClient:
		m.noteSuccess(ctx, cl, sent, false, true)
		m.suspend(ctx, cl, e, r, probe)
	case e.RetryAfter > 0 && e.Outcome == Refused:
		at := m.now().Add(min(e.RetryAfter, maxRetryAfter))
		m.changeClient(ctx, cl, func(c *clientRecord) bool {
			later := at.Sub(c.RetryAt) > retryAfterSlack
			c.RetryAt = at
			return later
		})
	}
}

func (m *Manager) suspend(ctx context.Context, cl *Client, e *VendorError, r rule, probe bool) {
	print := m.fingerprint(cl)
	m.changeClient(ctx, cl, func(c *clientRecord) bool {
		s := c.Suspended
		if s != nil && s.binds(print) {
			if probe {
				s.ProbeAt, s.ProbedAt = m.now().Add(r.backoff(s.Probes+1, 0)), time.Time{}
			}
			return probe
		}
		if s != nil && !s.Superseded {
			s.refuse(print) // the client is suspended as it was: these do not work either
			return true
		}
		c.Suspended = &suspension{Code: e.Code, Since: m.now(), ProbeAt: m.now().Add(r.backoff(1, 0))}
		if s != nil {
			c.Suspended.Fingerprints = s.Fingerprints
		}
		c.Suspended.refuse(print)
		c.owe(cl, m.event(ctx, ClientSuspended, e.Code))
		return true
	})
}

// noteBreaker tells that the vendor does not answer, when the breaker opens.
func (m *Manager) noteBreaker(cl *Client) {
	ctx, cancel := context.WithTimeout(m.background, storeTimeout)
	defer cancel()
	m.changeClient(ctx, cl, func(c *clientRecord) bool {
		if c.Unavailable {
			return false
		}
		c.Unavailable, c.VendorSince = true, m.now()
		c.owe(cl, m.event(ctx, VendorUnavailable, CodeBreakerOpen))
		return true
	})
}

// changeClient is updateClient for what may fail: the grant's own record says the same, so that nothing is lost but
// an event about the client. It publishes what the change owes.
func (m *Manager) changeClient(ctx context.Context, cl *Client, change func(*clientRecord) bool) {
	r, err := m.updateClient(ctx, cl, change)
	if err != nil {
		m.log.WarnContext(ctx, "a client's state could not be shared with the other replicas; each finds out by itself", "client", cl.Name,
			"vendor", cl.Vendor, "error", err)
		return
	}
	m.log.DebugContext(ctx, "client state", "client", cl.Name, "vendor", cl.Vendor, "suspended", r.Suspended != nil, "unavailable", r.Unavailable)
	if len(r.Debts) > 0 {
		m.payClient(ctx, cl, r)
	}
}

// claimProbe takes the right to find out whether a suspended client is accepted again.
func (m *Manager) claimProbe(ctx context.Context, cl *Client) (bool, error) {
	won := false
	_, err := m.updateClient(ctx, cl, func(c *clientRecord) bool {
		s := c.Suspended
		won = s != nil && m.until(s.ProbeAt) <= 0
		if !won {
			return false
		}
		s.Probes++
		s.Owner, s.ProbedAt = m.owner, m.now()
		s.ProbeAt = m.now().Add(ruleFor(&VendorError{Outcome: Refused, Code: s.Code}).backoff(s.Probes+1, 0))
		return true
	})
	return won, err
}
