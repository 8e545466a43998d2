package client_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
)

// What NATS does not permit gets no answer. It ends at once all the same, and for good.
func TestRequestThatNATSDoesNotPermitIsAccessDenied(t *testing.T) {
	t.Parallel()
	auditor, opts := listed(t, "watch", wire.Auditor)
	e := startEsignd(t, func(e *esignd) { e.auth = bus.Auth{Callers: []bus.Caller{auditor}} })
	c := e.client(t, opts...)
	ctx := testContext(t)
	for range 2 { // the second is told of its own refusal, not of the first's
		_, err := c.Token(ctx, alice)
		if !errors.Is(err, client.AccessDenied) || !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("a token: %v", err)
		}
	}
	if err := c.WaitReady(ctx, alice); !errors.Is(err, client.AccessDenied) {
		t.Errorf("waiting for one: %v", err)
	}
	if _, err := c.Revoke(ctx, alice, ""); !errors.Is(err, client.AccessDenied) {
		t.Errorf("revoking one: %v", err)
	}
}

// A daemon that is restarted with its server takes the answers under way with it.
func TestRequestIsSentAgainAfterTheConnectionWasLost(t *testing.T) {
	t.Parallel()
	n := startNATS(t)
	var asked atomic.Int32
	silent := make(chan struct{}, 8)
	d := startDaemon(t, n, func(wire.Endpoint, *nats.Msg) (any, error) {
		if asked.Add(1) <= 2 {
			silent <- struct{}{}
			return nil, errSilent
		}
		return issue(1, ""), nil
	})
	c := newClient(t, dial(t, n))
	tokens, revoked := make(chan error, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(testContext(t))
	go func() { _, err := c.Token(testContext(t), alice); tokens <- err }()
	go func() { _, err := c.Revoke(ctx, alice, ""); revoked <- err }()
	<-silent
	<-silent
	n.stop()
	n.start(t)
	select {
	case err := <-tokens:
		// The daemon's subscription may not be back when the request comes again.
		if err != nil && !errors.Is(err, client.TemporarilyUnavailable) {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it waits for an answer that is lost")
	}
	cancel()
	if err := <-revoked; !errors.Is(err, context.Canceled) {
		t.Errorf("a revocation: %v", err)
	}
	if k := d.count(wire.TokenRevoke); k != 1 {
		t.Errorf("a revocation was asked for %d times", k)
	}
}
