package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/otel/propagation"
)

// event returns an event of now, in the trace of ctx.
func (m *Manager) event(ctx context.Context, t EventType, reason string) Event {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return Event{ID: randomID(), Type: t, Time: m.now().Truncate(time.Millisecond), Reason: reason, TraceParent: carrier["traceparent"]}
}

// pay publishes what the grant owes, oldest first, and clears it by a second compare-and-set. What cannot be
// published stays owed.
func (m *Manager) pay(ctx context.Context, e *entry) error {
	if len(e.g.Debts) == 0 {
		return nil
	}
	paid, perr := m.publish(ctx, e.g.Debts)
	if len(paid) == 0 {
		return perr
	}
	_, err := m.change(ctx, e.g.ID, func(_ *entry, g *grant) (bool, error) {
		before := len(g.Debts)
		g.Debts = unpaid(g.Debts, paid)
		return len(g.Debts) < before, nil
	})
	if err != nil && !errors.Is(err, ErrNoRecord) {
		err = fmt.Errorf("clear the debts of grant %s: %w", e.g.ID, err)
		return errors.Join(perr, err)
	}
	return perr
}

// payOrLater pays; what stays owed is paid when the grant is looked at next.
func (m *Manager) payOrLater(ctx context.Context, e *entry) {
	if err := m.pay(ctx, e); err != nil {
		m.log.WarnContext(ctx, "an event could not be published; it stays owed, and goes out when the grant is looked at next", "grant", e.g.ID,
			"client", e.g.Client, "vendor", e.g.Vendor, "error", err)
	}
}

// publish publishes events in order and returns the ids of those that are out. It stops at the first that is not.
func (m *Manager) publish(ctx context.Context, events []Event) (paid []string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	for i, e := range events {
		if !m.isOut(ctx, events[i:]) {
			if err := m.publishOne(ctx, e); err != nil {
				return paid, err
			}
			m.logEvent(ctx, e, i > 0 && e.Grant == "" && e.Client == events[i-1].Client && e.Type == events[i-1].Type)
		}
		paid = append(paid, e.ID)
	}
	return paid, nil
}

// isOut reports whether the first of some debts was published already. One that has been owed for long may be, and
// longer ago than the publisher remembers: the last event of its subject is then itself, or one that is owed after it.
func (m *Manager) isOut(ctx context.Context, debts []Event) bool {
	if m.now().Sub(debts[0].Time) <= claimDuration {
		return false
	}
	last, err := m.publisher.Last(ctx, debts[0])
	return err == nil && slices.ContainsFunc(debts, func(e Event) bool { return e.ID == last.ID })
}

// publishOne publishes one event.
func (m *Manager) publishOne(ctx context.Context, e Event) error {
	if err := m.publisher.Publish(ctx, e); err != nil {
		return fmt.Errorf("publish %s: %w", e.Type, err)
	}
	m.metrics.told(ctx, e)
	m.listeners.tell(e)
	return nil
}

func unpaid(debts []Event, paid []string) []Event {
	return slices.DeleteFunc(debts, func(e Event) bool { return slices.Contains(paid, e.ID) })
}

// payClient publishes what a client's record owes.
func (m *Manager) payClient(ctx context.Context, cl *Client, r *clientRecord) {
	paid, err := m.publish(ctx, r.Debts)
	if err == nil {
		_, err = m.updateClient(ctx, cl, func(c *clientRecord) bool {
			before := len(c.Debts)
			c.Debts = unpaid(c.Debts, paid)
			return len(c.Debts) < before
		})
	}
	if err != nil {
		m.log.WarnContext(ctx, "an event about a client could not be published; it stays owed, and goes out at one of the next sweeps",
			"client", cl.Name, "vendor", cl.Vendor, "error", err)
	}
}
