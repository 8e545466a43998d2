package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// pace is how often a WaitReady that hears nothing asks: after first, then after twice as long each time, at most after longest.
type pace struct{ first, longest time.Duration }

const (
	// mostHeeded bounds what a WaitReady heeds of a RetryAfter. What esignd asks for itself is shorter; a vendor is not
	// asked sooner because esignd is.
	mostHeeded = 2 * time.Second
	// wakingEvents is how many events wait for a WaitReady at most. One that is lost beyond them would have woken it twice.
	wakingEvents = 256
)

// WaitReady waits until a token of the grant can be had, and returns nil: at once where one can. It is woken by the
// events of the grant, of its client and of its vendor, and by a connection that came back. Since events can be lost, and a
// replica can be some moments behind an event, it also asks by itself: after half a second, then less and less often,
// at last every half minute.
//
// What waiting does not heal is returned at once, as Token returns it: a grant that was revoked (ReauthorizationRequired)
// or that nobody knows (NotFound), a client that is not this tenant's, a fault of the daemon. A grant that is revoked or
// forgotten meanwhile ends the waiting in the same way. When ctx ends, the error wraps ctx's, and tells the last answer.
func (c *Client) WaitReady(ctx context.Context, sel Selector) error {
	return c.waitReady(ctx, sel, pace{first: 500 * time.Millisecond, longest: 30 * time.Second})
}

func (c *Client) waitReady(ctx context.Context, sel Selector, p pace) error {
	w, err := c.newWaiter(sel)
	if err != nil {
		return fmt.Errorf("wait for a token: %w", err)
	}
	defer w.close()
	pause := p.first
	for {
		answer, err := w.look(ctx)
		if answer == nil {
			return err
		}
		woken, err := w.sleep(ctx, max(pause, min(answer.RetryAfter, mostHeeded)))
		switch {
		case err != nil:
			return fmt.Errorf("wait for a token: %w (the last answer: %s)", err, answer.Error())
		case woken:
			pause = p.first
		default:
			pause = min(2*pause, p.longest)
		}
	}
}

// waiter is one call of WaitReady.
type waiter struct {
	client *Client
	sel    Selector
	events chan *nats.Msg
	subs   []*nats.Subscription
	back   chan nats.Status // the connection is there again, or was closed
}

// newWaiter begins to hear. What it asks afterwards is answered after the server knows what it wants to hear, so
// that nothing is missed in between.
func (c *Client) newWaiter(sel Selector) (*waiter, error) {
	grant := sel.Grant
	if grant == "" {
		grant = core.GrantID(c.tenant, sel.Client, sel.Account)
	}
	if !wire.ValidToken(grant) {
		return nil, core.FieldErrorf("grant", "this is not the id of a grant")
	}
	w := &waiter{client: c, sel: sel, events: make(chan *nats.Msg, wakingEvents), back: c.conn.StatusChanged(nats.CONNECTED, nats.CLOSED)}
	for _, of := range []string{grant, wire.NoGrant} {
		sub, err := c.conn.ChanSubscribe(wire.TenantEvents(c.prefix, c.tenant, "*.*.*."+of), w.events)
		if err != nil {
			w.close()
			return nil, err
		}
		w.subs = append(w.subs, sub)
	}
	return w, nil
}

func (w *waiter) close() {
	for _, sub := range w.subs {
		_ = sub.Unsubscribe() // the connection may be closed by now
	}
	w.client.conn.RemoveStatusListener(w.back)
}

// look asks for a token. It returns nil or the error that ends the waiting; parked is the answer where none does.
func (w *waiter) look(ctx context.Context) (parked *Error, end error) {
	_, err := w.client.token(ctx, wire.TokenGet, wire.SelectorOf(w.sel))
	var e *Error
	if !errors.As(err, &e) {
		return nil, err
	}
	switch e.Code {
	case TemporarilyUnavailable, InvalidClient:
		return e, nil
	case ReauthorizationRequired:
		return w.healing(ctx, e)
	}
	return nil, err
}

// healing tells a grant that awaits its owner from one that was ended, which the answer for a token does not.
func (w *waiter) healing(ctx context.Context, e *Error) (parked *Error, end error) {
	g, err := w.client.Grant(ctx, w.sel)
	switch {
	case errors.Is(err, NotFound):
		return nil, err
	case err == nil && g.State == core.Revoked:
		return nil, e
	}
	return e, nil
}

// sleep waits for what may have changed the answer, and says whether something has.
func (w *waiter) sleep(ctx context.Context, atMost time.Duration) (woken bool, ended error) {
	// The waiters of a fleet that an outage woke together do not go on together.
	timer := time.NewTimer(atMost + rand.N(atMost/4+1)) //nolint:gosec // spreads load, guards nothing
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-timer.C:
			return false, nil
		case <-w.back:
			return true, nil
		case m := <-w.events:
			if w.matters(m) {
				w.forget()
				return true, nil
			}
		}
	}
}

// matters reports whether after an event the daemon may answer otherwise.
func (w *waiter) matters(m *nats.Msg) bool {
	e, err := wire.DecodeEvent(m.Data)
	if err != nil || e.Tenant != w.client.tenant {
		return false
	}
	switch e.Type {
	case TokenIssued, TokenRevoked:
		return true
	case ClientResumed, VendorAvailable:
		return w.sel.Client == "" || w.sel.Client == e.Client
	}
	return false
}

// forget drops the events that the next question comes after.
func (w *waiter) forget() {
	for range len(w.events) {
		<-w.events
	}
}
