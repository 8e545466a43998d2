package client

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// wakingEvents is how many events wait for a WaitReady over NATS at most. One that is lost beyond them would have woken it
// twice.
const wakingEvents = 256

// natsEar hears for a waiter over NATS.
type natsEar struct {
	conn   *nats.Conn
	wanted func(Event) bool
	events chan *nats.Msg
	subs   []*nats.Subscription
	back   chan nats.Status // the connection is there again, or was closed
}

// listen begins to hear. What is asked afterwards is answered after the server knows what is to be heard, so that nothing
// is missed in between.
func (c *Client) listen(w *waiter) (*natsEar, error) {
	if !wire.ValidToken(w.id) {
		return nil, core.FieldErrorf("grant", "this is not the id of a grant")
	}
	e := &natsEar{conn: c.conn, wanted: w.wants, events: make(chan *nats.Msg, wakingEvents), back: c.conn.StatusChanged(nats.CONNECTED, nats.CLOSED)}
	for _, of := range []string{w.id, wire.NoGrant} {
		sub, err := c.conn.ChanSubscribe(wire.TenantEvents(c.prefix, c.tenant, "*.*.*."+of), e.events)
		if err != nil {
			e.close()
			return nil, err
		}
		e.subs = append(e.subs, sub)
	}
	return e, nil
}

func (e *natsEar) close() {
	for _, sub := range e.subs {
		_ = sub.Unsubscribe() // the connection may be closed by now
	}
	e.conn.RemoveStatusListener(e.back)
}

func (e *natsEar) hear(ctx context.Context, atMost time.Duration) (bool, error) {
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-timer.C:
			return false, nil
		case <-e.back:
			return true, nil
		case m := <-e.events:
			if event, err := wire.DecodeEvent(m.Data); err == nil && e.wanted(event) {
				e.forget()
				return true, nil
			}
		}
	}
}

func (e *natsEar) forget() {
	for range len(e.events) {
		<-e.events
	}
}

// localEar hears a Manager for a waiter.
type localEar struct {
	manager  *core.Manager
	wanted   func(Event) bool
	listener *core.Listener
}

func (e *localEar) listen() { e.listener = e.manager.Listen(e.wanted) }

func (e *localEar) close() { e.listener.Close() }

func (e *localEar) hear(ctx context.Context, atMost time.Duration) (bool, error) {
	limited, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	_, err := e.listener.Next(limited)
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return false, nil
	case err != nil:
		return false, err
	}
	// Whatever else has come, or was lost where it was too much, is older than the next answer.
	e.close()
	e.listen()
	return true, nil
}
