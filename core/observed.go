package core

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
)

// observed are the instruments that are read when somebody looks at the metrics. Nothing walks all grants for that.
type observed struct {
	meter metric.Meter

	grants, expired, owed, uncommitted metric.Int64ObservableUpDownCounter
	breaker, suspended                 metric.Int64ObservableUpDownCounter
	refreshing, calls, queued          metric.Int64ObservableUpDownCounter
	silence                            metric.Float64ObservableGauge
	mu                                 sync.Mutex
	dead                               map[population]int64 // as of the last sweep; guarded by mu
}

func (o *observed) make(i *Instruments) {
	o.meter = i.Meter
	o.grants = i.Count("esignd.grant.count", "{grant}", "Grants that there are.", vendorKey, clientKey, stateKey)
	o.expired = i.Count("esignd.grant.expired", "{grant}", "Active grants of eager clients without a live access token, as of the last sweep.", vendorKey, clientKey)
	o.owed = i.Count("esignd.event.owed", "{event}", "Events that are to be published.", vendorKey)
	o.uncommitted = i.Count("esignd.outcome.uncommitted", "{outcome}", "Outcomes of calls to vendors that wait to be written to the store.")
	o.breaker = i.Count("esignd.breaker.count", "{breaker}", "Breakers that are in a state.", vendorKey, clientKey, breakerKey)
	o.suspended = i.Count("esignd.client.suspended", "{client}", "Clients whose credentials the vendor refuses.", vendorKey, clientKey)
	o.refreshing = i.Count("esignd.refresh.active", "{refresh}", "Refreshes that are under way.")
	o.calls = i.Count("esignd.vendor.call.active", "{call}", "Calls to a vendor that are under way.", vendorKey)
	o.queued = i.Count("esignd.vendor.call.queued", "{call}", "Calls to a vendor that wait for others to end.", vendorKey)
	o.silence = i.Seconds("esignd.store.silence", "Time since the watch of the store was last heard.")
}

// observe has the instruments read until the registration ends.
func (m *Manager) observe() (metric.Registration, error) {
	o := &m.metrics.observed
	return o.meter.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		m.observeGrants(to)
		m.observeClients(to)
		m.observeWork(to)
		m.metrics.remaining.Flush()
		return nil
	}, o.grants, o.expired, o.owed, o.uncommitted, o.breaker, o.suspended, o.refreshing, o.calls, o.queued, o.silence)
}

// unobserve ends what observe began.
func (m *Manager) unobserve() {
	if m.observing != nil {
		_ = m.observing.Unregister() // it fails where it was not registered
	}
}

func (m *Manager) observeGrants(to metric.Observer) {
	o := &m.metrics.observed
	counts, owed := m.cache.census()
	for name, cl := range m.clients {
		for _, state := range States() {
			p := population{state, cl.Vendor, name}
			counts[p] += 0 // shown although there is none
		}
		for _, e := range m.cache.client(name).Debts {
			owed[e.Vendor]++
		}
	}
	for p, n := range counts {
		to.ObserveInt64(o.grants, n, metric.WithAttributes(vendorKey.String(p.vendor), clientKey.String(p.client), stateKey.String(string(p.state))))
	}
	for vendor := range m.slots {
		owed[vendor] += 0
	}
	for vendor, n := range owed {
		to.ObserveInt64(o.owed, n, metric.WithAttributes(vendorKey.String(vendor)))
	}
	o.mu.Lock()
	dead := o.dead
	o.mu.Unlock()
	for name, cl := range m.clients {
		to.ObserveInt64(o.expired, dead[population{Active, cl.Vendor, name}], metric.WithAttributes(of(cl)...))
	}
}

func (m *Manager) observeClients(to metric.Observer) {
	o := &m.metrics.observed
	for name, cl := range m.clients {
		now := m.breakers[name].state()
		for _, state := range breakerStates {
			to.ObserveInt64(o.breaker, truth(state == now), metric.WithAttributes(append(of(cl), breakerKey.String(state))...))
		}
		to.ObserveInt64(o.suspended, truth(m.suspended(cl) != nil), metric.WithAttributes(of(cl)...))
	}
}

func (m *Manager) observeWork(to metric.Observer) {
	o := &m.metrics.observed
	for vendor, s := range m.slots {
		taken, waiting := s.load()
		to.ObserveInt64(o.calls, taken, metric.WithAttributes(vendorKey.String(vendor)))
		to.ObserveInt64(o.queued, waiting, metric.WithAttributes(vendorKey.String(vendor)))
	}
	m.flightMu.Lock()
	flights, kept := len(m.flights), len(m.kept)
	m.flightMu.Unlock()
	to.ObserveInt64(o.refreshing, int64(flights))
	to.ObserveInt64(o.uncommitted, int64(kept))
	if silent, heard := m.cache.silence(); heard {
		to.ObserveFloat64(o.silence, silent.Seconds())
	}
}

func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// swept takes in what a sweep found.
func (o *observed) swept(dead map[population]int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dead = dead
}

// starved reports whether a grant that is refreshed ahead has no live token.
func (m *Manager) starved(e *entry) bool {
	cl := m.clients[e.g.Client]
	return cl != nil && cl.Policy == Eager && e.g.State == Active && !e.g.Forgotten && e.left() <= 0
}

// silence is how long ago the watch was heard, if ever.
func (c *cache) silence() (time.Duration, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return time.Since(c.heard), !c.heard.IsZero()
}

// The states of a breaker.
const (
	breakerClosed = "closed"
	breakerOpen   = "open"
	breakerTrying = "half_open" // one call finds out
)

var breakerStates = []string{breakerClosed, breakerOpen, breakerTrying}

func (b *breaker) state() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.open:
		return breakerClosed
	case b.trying:
		return breakerTrying
	}
	return breakerOpen
}

// load is how many calls are under way, and how many wait.
func (s *slots) load() (taken, waiting int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(s.all - s.free), int64(len(s.waiting))
}
