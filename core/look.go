package core

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// look does what the grant needs now and arms its timer for what it needs next.
func (m *Manager) look(ctx context.Context, id string) error {
	unpayable, failed := false, false
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
		s, wait := m.plan(e, unpayable)
		if s == rest {
			return m.armAndCheck(ctx, e, wait)
		}
		followed, err := m.do(ctx, e, s)
		if followed && err == nil {
			return nil // the flight pays and arms
		}
		if s == payDebts && err != nil {
			m.log.WarnContext(ctx, "an event could not be published; it stays owed, and goes out when the grant is looked at next", "grant", id,
				"client", e.g.Client, "vendor", e.g.Vendor, "error", err)
			unpayable, err = true, nil
		}
		var v *VendorError
		switch {
		case errors.Is(err, ErrConflict), errors.Is(err, errNotNow), err == nil:
		case errors.As(err, &v):
			// The failure is in the record, or the gate was shut and nothing was tried: the next plan is to wait for it.
			if failed {
				return m.arm(ctx, e.g, max(jitter(v.RetryAfter), time.Second))
			}
			failed = true
		default:
			return err
		}
	}
	return m.rearmLater(ctx, id)
}

// rearmLater ends a look that found ever more to do.
func (m *Manager) rearmLater(ctx context.Context, id string) error {
	if e := m.cache.look(id); e != nil {
		return m.arm(ctx, e.g, jitter(5*time.Second))
	}
	return nil
}

// do takes one step. followed reports whether it was a refresh that sees to events and timer itself.
func (m *Manager) do(ctx context.Context, e *entry, s step) (followed bool, err error) {
	g := e.g
	switch s {
	case payDebts:
		err = m.pay(ctx, e)
	case bury:
		_, err = m.settle(ctx, e)
	case renew:
		t := &target{id: g.ID, tenant: g.Tenant, account: g.Account, client: m.clients[g.Client], entry: e}
		return m.refreshOnce(ctx, t, demand{minTTL: DefaultMinTTL, ahead: true, beyond: g.Generation, consent: g.Consent})
	case expire:
		err = m.expire(ctx, e)
	case unsettle:
		_, err = m.finishRevocation(ctx, e)
	case announce, notice:
		err = m.announce(ctx, e, s)
	}
	return false, err
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
		now := m.cache.look(e.g.ID)
		if now == nil || now.g.revision == e.g.revision {
			return nil
		}
		e = now
		var s step
		if s, wait = m.plan(e, false); s != rest {
			wait = time.Millisecond // it fires at once
		}
	}
}

// rearm arms the grant's timer by what it needs next.
func (m *Manager) rearm(ctx context.Context, id string) error {
	e := m.cache.look(id)
	if e == nil {
		return nil
	}
	s, wait := m.plan(e, false)
	if s != rest {
		wait = time.Millisecond
	}
	return m.armAndCheck(ctx, e, wait)
}

// workTimers works the due timers of one vendor until Close.
func (m *Manager) workTimers(vendor string) {
	err := m.timers.Work(m.background, vendor, duePerVendor, func(ctx context.Context, d Due) error {
		if m.closing() {
			return errClosed
		}
		// A due message is a fresh word of the store's clock, unless it waited: the clock is read where it matters.
		if behind := m.now().Sub(d.Time); behind < -time.Second || behind > time.Minute {
			if err := m.readClock(ctx); err != nil {
				return err
			}
		}
		m.metrics.lagged(ctx, vendor, m.now().Sub(d.Time))
		if err := m.putOff(ctx, d.Grant); err != nil {
			return err
		}
		return m.look(ctx, d.Grant)
	})
	if err != nil && m.background.Err() == nil {
		m.log.Error("the timers of a vendor stopped; the sweep takes their place until esignd is restarted", "vendor", vendor, "error", err)
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

// overdue is a grant that a timer should have seen to, and when its token ends.
type overdue struct {
	id   string
	ends time.Time
}

// sweepOnce looks at the grants that needed something at the last sweep already and still do: a timer that works
// would have seen to them. It returns those that need something now.
func (m *Manager) sweepOnce(ctx context.Context, before map[string]uint64) map[string]uint64 {
	due := map[string]uint64{}
	late := map[string][]overdue{} // by vendor
	dead := map[population]int64{}
	for e := range m.cache.each() {
		if m.starved(e) {
			dead[population{Active, e.g.Vendor, e.g.Client}]++
		}
		if s, _ := m.plan(e, false); s == rest {
			continue
		}
		due[e.g.ID] = e.g.revision
		if rev, ok := before[e.g.ID]; ok && rev == e.g.revision {
			late[e.g.Vendor] = append(late[e.g.Vendor], overdue{e.g.ID, e.ends()})
		}
	}
	m.metrics.observed.swept(dead)
	for vendor, grants := range late {
		if !m.startSweep(vendor) {
			continue // it still looks at what it found before
		}
		m.tasks.Go(func() {
			defer m.endSweep(vendor)
			m.lookAll(ctx, vendor, grants)
		})
	}
	return due
}

// startSweep reports whether nobody sweeps a vendor's grants, who from then on does. Each vendor has a sweep of its own,
// so that one that hangs delays no other.
func (m *Manager) startSweep(vendor string) bool {
	m.flightMu.Lock()
	defer m.flightMu.Unlock()
	free := !m.sweeping[vendor]
	m.sweeping[vendor] = true
	return free
}

func (m *Manager) endSweep(vendor string) {
	m.flightMu.Lock()
	defer m.flightMu.Unlock()
	delete(m.sweeping, vendor)
}

// lookAll looks at grants, a few at once, that whose token ends first at the front.
func (m *Manager) lookAll(ctx context.Context, vendor string, grants []overdue) {
	slices.SortFunc(grants, func(a, b overdue) int { return a.ends.Compare(b.ends) })
	missed := missed{vendor: vendor}
	var group errgroup.Group
	group.SetLimit(8)
	for _, g := range grants {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			if err := m.look(ctx, g.id); err != nil && ctx.Err() == nil {
				missed.add(g.id, err)
			}
			return nil
		})
	}
	_ = group.Wait() // the functions return no error
	if attrs := missed.attrs(); attrs != nil && ctx.Err() == nil {
		m.log.WarnContext(ctx, "grants that are overdue could not be looked at; the next sweep looks again", attrs...)
	}
}

// armMissing arms the timers of the grants that have none, those of each vendor by themselves: an adapter that hangs
// delays no other.
func (m *Manager) armMissing(ctx context.Context) {
	armed, err := m.timers.Armed(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		m.log.WarnContext(ctx, "the timers that are armed could not be listed; every grant's is armed anew", "error", err)
		armed = map[string]bool{}
	}
	missing := map[string][]string{} // of every vendor that has grants
	for e := range m.cache.each() {
		ids := missing[e.g.Vendor]
		if !armed[e.g.ID] || m.mayBeDue(e.g) {
			ids = append(ids, e.g.ID)
		}
		missing[e.g.Vendor] = ids
	}
	var vendors sync.WaitGroup
	for vendor, ids := range missing {
		vendors.Go(func() { m.armThese(ctx, vendor, ids) })
	}
	vendors.Wait()
}

// mayBeDue reports whether a grant's timer may have been armed for what does not hold any more: the probe of a client
// that was suspended with other credentials, or the end of a claim whose owner this process takes the place of.
func (m *Manager) mayBeDue(g *grant) bool {
	cl := m.clients[g.Client]
	resumed := cl != nil && m.cache.client(cl.Name).Suspended != nil && m.suspended(cl) == nil
	return resumed || g.Attempt != nil && ownerFolder(g.Attempt.Owner) == m.folder
}

// armThese arms the timers of a vendor's grants.
func (m *Manager) armThese(ctx context.Context, vendor string, ids []string) {
	if a, err := m.adapters.Adapter(vendor); err == nil {
		if _, err := m.metadata(ctx, vendor, a); err != nil {
			m.log.WarnContext(ctx, "a vendor's adapter does not answer yet; its grants are looked at again when their timers are due", "vendor", vendor, "error", err)
		}
	}
	count, missed := 0, missed{vendor: vendor}
	for _, id := range ids {
		if ctx.Err() != nil {
			break // the next start arms those that are left
		}
		if err := m.rearm(ctx, id); err != nil {
			missed.add(id, err)
			continue
		}
		count++
	}
	if attrs := missed.attrs(); attrs != nil && ctx.Err() == nil {
		m.log.WarnContext(ctx, "timers of grants were not armed; the sweep finds the grants within a minute of when they are due", attrs...)
	}
	if count > 0 {
		m.log.InfoContext(ctx, "timers armed that were missing", "vendor", vendor, "count", count)
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
