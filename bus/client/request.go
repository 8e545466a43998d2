package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// attendEvery is how often a request that has no answer yet is looked at.
const attendEvery = 100 * time.Millisecond

// errLost is why a request is sent again.
var errLost = errors.New("the NATS connection was lost before the answer came")

// repeatable reports whether asking twice is as good as asking once.
func repeatable(e wire.Endpoint) bool {
	return slices.Contains([]wire.Endpoint{wire.TokenGet, wire.TokenReport, wire.GrantGet, wire.GrantList, wire.AccountVerify}, e)
}

// request sends m and returns the answer, opened where the Client wants it sealed. Each request has a key of its own: an
// answer to another one does not open, nor does what was recorded once the request is over.
func (c *Client) request(ctx context.Context, m *nats.Msg, again bool) (*nats.Msg, error) {
	if !c.sealed {
		return c.send(ctx, m, again)
	}
	key, err := wire.NewCurveKey()
	if err != nil {
		return nil, err
	}
	m.Header.Set(wire.HeaderSealTo, key.Public())
	answer, err := c.send(ctx, m, again)
	if err != nil {
		return nil, err
	}
	by := wire.Header(answer.Header).Get(wire.HeaderSealedBy)
	switch {
	case by != "":
		answer.Data, err = key.Open(answer.Data, by)
		return answer, err
	case wire.DecodeError(answer.Header, nil) != nil:
		return answer, nil // an error in the clear gives nothing away
	}
	return nil, errors.New("the answer is not sealed, and not used: this esignd does not seal answers, or another program answers in its place")
}

// send sends m and returns the answer. Where the connection was lost in between, the answer may be lost with it: where
// asking again is as good, m is sent again.
func (c *Client) send(ctx context.Context, m *nats.Msg, again bool) (*nats.Msg, error) {
	for {
		answer, err := c.try(ctx, m, again)
		if !errors.Is(err, errLost) {
			return answer, err
		}
	}
}

// try is send, once. It ends with errLost, where that is asked for, or with what NATS has against the request: NATS does
// not answer what it does not permit.
func (c *Client) try(ctx context.Context, m *nats.Msg, mayEnd bool) (*nats.Msg, error) {
	reconnects, before := c.conn.Stats().Reconnects, c.conn.LastError()
	attempt, end := context.WithCancelCause(ctx)
	attended := make(chan struct{})
	// Most answers come before the first look, and cost no goroutine.
	late := time.AfterFunc(attendEvery, func() {
		defer close(attended)
		tick := time.NewTicker(attendEvery)
		defer tick.Stop()
		for attempt.Err() == nil {
			if err := c.conn.LastError(); forbids(err, m.Subject) && !errors.Is(err, before) {
				end(core.Errorf(AccessDenied, "NATS does not let this service ask on %s: %w", m.Subject, err))
			}
			if mayEnd && c.conn.Stats().Reconnects != reconnects {
				end(errLost)
			}
			select {
			case <-attempt.Done():
			case <-tick.C:
			}
		}
	})
	answer, err := c.conn.RequestMsgWithContext(attempt, m)
	if cause := context.Cause(attempt); err != nil && cause != nil && ctx.Err() == nil {
		err = cause
	}
	end(nil)
	if !late.Stop() {
		<-attended
	}
	return answer, err
}

// forbids reports whether an error of the connection is that it may not publish on the subject.
func forbids(err error, subject string) bool {
	return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), fmt.Sprintf("Publish to %q", subject))
}
