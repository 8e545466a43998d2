package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// pace is how often a WaitReady that hears nothing asks: after first, then after twice as long each time, at most after longest.
type pace struct{ first, longest time.Duration }

const (
	firstPause   = 500 * time.Millisecond
	longestPause = 30 * time.Second
	// mostHeeded bounds what a WaitReady heeds of a RetryAfter. What esignd asks for itself is shorter; a vendor is not
	// asked sooner because esignd is.
	mostHeeded = 2 * time.Second
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
	return c.waitReady(ctx, sel, pace{firstPause, longestPause})
}

func (c *Client) waitReady(ctx context.Context, sel Selector, p pace) error {
	w := newWaiter(c.tenant, sel)
	ear, err := c.listen(w)
	if err != nil {
		return fmt.Errorf("wait for a token: %w", err)
	}
	defer ear.close()
	w.hear = ear.hear
	w.token = func(ctx context.Context) error {
		_, err := c.token(ctx, wire.TokenGet, wire.SelectorOf(sel)) // never what a Cached one keeps
		return err
	}
	w.grant = func(ctx context.Context) (Grant, error) { return c.Grant(ctx, sel) }
	return w.run(ctx, p)
}

// WaitReady is described at Client. It is woken by what the Manager publishes; what other processes do it finds when it asks
// by itself. It ends with TemporarilyUnavailable when the Manager is closed.
func (l *Local) WaitReady(ctx context.Context, sel Selector) error {
	return l.waitReady(ctx, sel, pace{firstPause, longestPause})
}

func (l *Local) waitReady(ctx context.Context, sel Selector, p pace) error {
	sel, err := l.own(sel)
	if err != nil {
		return fmt.Errorf("wait for a token: %w", err)
	}
	w := newWaiter(l.tenant, sel)
	ear := &localEar{manager: l.manager, wanted: w.wants}
	ear.listen()
	defer ear.close()
	w.hear = ear.hear
	w.token = func(ctx context.Context) error { _, err := l.Token(ctx, sel); return err }
	w.grant = func(ctx context.Context) (Grant, error) { return l.manager.Grant(ctx, sel) }
	return w.run(ctx, p)
}

// waiter is one call of WaitReady.
type waiter struct {
	tenant, id, client string // client is empty where the caller named the grant by its id
	token              func(context.Context) error
	grant              func(context.Context) (Grant, error)
	// hear waits for what may change the answer, at most for some time, and says whether it came. It hears from before the
	// first answer is asked for, and forgets what came before the next. An error, such as ctx's, ends the waiting.
	hear func(ctx context.Context, atMost time.Duration) (bool, error)
}

func newWaiter(tenant string, sel Selector) *waiter {
	w := &waiter{tenant: tenant, id: sel.Grant, client: sel.Client}
	if w.id == "" {
		w.id = core.GrantID(tenant, sel.Client, sel.Account)
	}
	return w
}

// run waits until there is a token, or waiting does not help.
func (w *waiter) run(ctx context.Context, p pace) error {
	pause := p.first
	for {
		answer, err := w.look(ctx)
		if answer == nil {
			return err
		}
		atMost := max(pause, min(answer.RetryAfter, mostHeeded))
		// The waiters of a fleet that an outage woke together do not go on together.
		woken, err := w.hear(ctx, atMost+rand.N(atMost/4+1)) //nolint:gosec // spreads load, guards nothing
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

// look asks for a token. It returns nil or the error that ends the waiting; parked is the answer where none does.
func (w *waiter) look(ctx context.Context) (parked *Error, end error) {
	err := w.token(ctx)
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
	g, err := w.grant(ctx)
	switch {
	case errors.Is(err, NotFound):
		return nil, err
	case err == nil && g.State == core.Revoked:
		return nil, e
	}
	return e, nil
}

// wants reports whether after an event the answer may be another.
func (w *waiter) wants(e Event) bool {
	if e.Tenant != w.tenant {
		return false
	}
	switch e.Type {
	case TokenIssued, TokenRevoked:
		return e.Grant == w.id
	case ClientResumed, VendorAvailable:
		return w.client == "" || w.client == e.Client
	}
	return false
}
