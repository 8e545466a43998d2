package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// never is a pace at which nothing but an event wakes a WaitReady.
const never = time.Hour

var alice = client.Selector{Client: "main", Account: "alice"}

// refused is how the demo vendor says that a refresh token is dead.
var refused = &core.VendorError{Outcome: core.Refused, Code: core.CodeInvalidGrant, Status: 400}

// ready is a WaitReady under way.
type ready struct{ done chan error }

// waiting is either way to ask.
type waiting interface {
	WaitReadyAsking(ctx context.Context, sel client.Selector, first time.Duration) error
}

func startReady(t *testing.T, c waiting, sel client.Selector, pace time.Duration) ready {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	t.Cleanup(cancel)
	r := ready{done: make(chan error, 1)}
	go func() { r.done <- c.WaitReadyAsking(ctx, sel, pace) }()
	return r
}

func (r ready) parked(t *testing.T) {
	t.Helper()
	select {
	case err := <-r.done:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
}

func (r ready) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(40 * time.Second):
		t.Fatal("it waits for ever")
		return nil
	}
}

// kill makes the vendor refuse the grant's refresh token.
func (e *esignd) kill(t *testing.T, g core.GrantInfo) {
	t.Helper()
	e.vendor.failWith(refused)
	defer e.vendor.failWith(nil)
	until(t, "the grant needs its owner", func() bool { // a report within a second of the token does not refresh
		_, err := e.manager.Report(testContext(t), core.Selector{Tenant: "default", Grant: g.Grant}, g.Generation)
		return errors.Is(err, core.ReauthorizationRequired)
	})
}

// asked is how many answers the endpoint gave.
func (e *esignd) asked(t *testing.T, endpoint wire.Endpoint) int {
	t.Helper()
	answer, err := e.bus.Conn().Request("$SRV.STATS.esignd", nil, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var stats micro.Stats
	if err := json.Unmarshal(answer.Data, &stats); err != nil {
		t.Fatal(err)
	}
	for _, s := range stats.Endpoints {
		if s.Name != strings.ReplaceAll(string(endpoint), ".", "-") {
			continue
		}
		var own bus.EndpointStats
		if err := json.Unmarshal(s.Data, &own); err != nil {
			t.Fatal(err)
		}
		return int(own.Answered)
	}
	t.Fatalf("there is no endpoint %s", endpoint)
	return 0
}

func TestWaitReadyReturnsAtOnceWhatWaitingDoesNotChange(t *testing.T) {
	t.Parallel()
	e := startEsignd(t, nil)
	c, local := e.client(t), newLocal(t, e.manager)
	e.connect(t, "alice", "r1")
	gone := e.connect(t, "bob", "r2")
	forgotten := e.connect(t, "carol", "r3")
	ctx := testContext(t)
	if _, err := c.Revoke(ctx, client.Selector{Grant: gone.Grant}, "bob left"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Forget(ctx, client.Selector{Grant: forgotten.Grant}); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		sel  client.Selector
		want error
	}{
		"a live grant":       {alice, nil},
		"client credentials": {client.Selector{Client: "app"}, nil},
		"revoked":            {client.Selector{Client: "main", Account: "bob"}, client.ReauthorizationRequired},
		"forgotten":          {client.Selector{Grant: forgotten.Grant}, client.NotFound},
		"no such account":    {client.Selector{Client: "main", Account: "dave"}, client.NotFound},
		"no such client":     {client.Selector{Client: "nobody", Account: "alice"}, client.NotFound},
		"no account":         {client.Selector{Client: "main"}, client.InvalidRequest},
		"no grant's id":      {client.Selector{Grant: "g.>"}, client.InvalidRequest},
	} {
		for way, c := range map[string]waiting{"over NATS": c, "in process": local} {
			if err := c.WaitReadyAsking(ctx, tc.sel, never); !errors.Is(err, tc.want) {
				t.Errorf("%s, %s: %v, want %v", name, way, err, tc.want)
			}
		}
	}
}

// Under nats.auth services a role may hear its tenant's events and make no consumer.
func TestWaitReadyIsWokenByTheEvent(t *testing.T) {
	t.Parallel()
	underEachAuth(t, func(t *testing.T, e *esignd, opts []nats.Option) {
		c := e.client(t, opts...)
		g := e.connect(t, "alice", "r1")
		e.kill(t, g)
		waits := []ready{startReady(t, c, alice, never), startReady(t, c, client.Selector{Grant: g.Grant}, never)}
		until(t, "both have their first answer", func() bool { return e.asked(t, wire.GrantGet) >= len(waits) })
		other := e.connect(t, "bob", "r2") // wakes nobody
		if _, err := c.Token(testContext(t), client.Selector{Grant: other.Grant}); err != nil {
			t.Fatal(err)
		}
		for _, w := range waits {
			w.parked(t)
		}
		e.connect(t, "alice", "r3")
		for _, w := range waits {
			if err := w.end(t); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestWaitReadyEndsWithTheGrant(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		end  func(*client.Client) error
		want error
	}{
		"revoked":   {func(c *client.Client) error { _, err := c.Revoke(testContext(t), alice, ""); return err }, client.ReauthorizationRequired},
		"forgotten": {func(c *client.Client) error { _, err := c.Forget(testContext(t), alice); return err }, client.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startEsignd(t, nil)
			c := e.client(t)
			g := e.connect(t, "alice", "r1")
			e.kill(t, g)
			w := startReady(t, c, alice, never)
			until(t, "it has its first answer", func() bool { return e.asked(t, wire.GrantGet) >= 1 })
			w.parked(t)
			if err := tc.end(c); err != nil {
				t.Fatal(err)
			}
			if err := w.end(t); !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
		})
	}
}

func TestWaitReadyEndsWithItsContext(t *testing.T) {
	t.Parallel()
	e := startEsignd(t, nil)
	e.kill(t, e.connect(t, "alice", "r1"))
	ctx, cancel := context.WithCancel(testContext(t))
	done := make(chan error, 1)
	c := e.client(t)
	go func() { done <- c.WaitReady(ctx, alice) }()
	until(t, "it waits", func() bool { return e.asked(t, wire.GrantGet) >= 1 })
	cancel()
	err := <-done
	if !errors.Is(err, context.Canceled) || errors.Is(err, client.ReauthorizationRequired) || !strings.Contains(err.Error(), string(client.ReauthorizationRequired)) {
		t.Errorf("got %v", err)
	}
}

// What comes between the first answer and the waiting is not missed, nor is an event that a replica is behind.
func TestWaitReadyMissesNothing(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		behind int32 // answers that say no although the event is out
		pace   time.Duration
	}{"the event overtakes the answer": {1, never}, "a replica is behind": {3, 20 * time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := startNATS(t)
			es := startEvents(t, n)
			var asked atomic.Int32
			startDaemon(t, n, func(e wire.Endpoint, _ *nats.Msg) (any, error) {
				if e == wire.GrantGet {
					return wire.Grant{Grant: "g_1", State: core.NeedsReauthorization}, nil
				}
				k := asked.Add(1)
				if k == 1 {
					es.publish(t, event("a", core.TokenIssued))
				}
				if k <= tc.behind {
					return nil, core.Errorf(core.ReauthorizationRequired, "not yet")
				}
				return issue(2, ""), nil
			})
			if err := startReady(t, newClient(t, dial(t, n)), client.Selector{Grant: "g_1"}, tc.pace).end(t); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWaitReadyOutlivesTheServer(t *testing.T) {
	t.Parallel()
	e := startEsignd(t, nil)
	c := e.client(t)
	g := e.connect(t, "alice", "r1")
	e.kill(t, g)
	w := startReady(t, c, alice, never)
	until(t, "it has its first answer", func() bool { return e.asked(t, wire.GrantGet) >= 1 })
	e.end(t)
	e.begin(t)
	e.connect(t, "alice", "r2")
	if err := w.end(t); err != nil {
		t.Error(err)
	}
}

func TestWaitReadyIsWokenByItsClientAndVendor(t *testing.T) {
	t.Parallel()
	for typ, no := range map[core.EventType]*core.Error{
		core.ClientResumed:   {Code: core.InvalidClient, RetryAfter: time.Hour},
		core.VendorAvailable: {Code: core.TemporarilyUnavailable, Reason: core.CodeBreakerOpen, RetryAfter: time.Hour},
	} {
		t.Run(string(typ), func(t *testing.T) {
			t.Parallel()
			n := startNATS(t)
			es := startEvents(t, n)
			var mended atomic.Bool
			d := startDaemon(t, n, func(wire.Endpoint, *nats.Msg) (any, error) {
				if !mended.Load() {
					return nil, no
				}
				return issue(2, ""), nil
			})
			w := startReady(t, newClient(t, dial(t, n)), alice, never)
			until(t, "it has asked", func() bool { return d.count(wire.TokenGet) == 1 })
			mine, others := event("mine", typ), event("others", typ)
			mine.Grant, others.Grant, others.Client = "", "", "another"
			es.publish(t, others)
			mended.Store(true)
			es.publish(t, mine)
			if err := w.end(t); err != nil {
				t.Error(err)
			}
			if k := d.count(wire.TokenGet); k != 2 {
				t.Errorf("it asked %d times", k)
			}
		})
	}
}

func TestWaitReadyEndsWithTheConnection(t *testing.T) {
	t.Parallel()
	n := startNATS(t)
	d := startDaemon(t, n, func(wire.Endpoint, *nats.Msg) (any, error) {
		return nil, core.Errorf(core.TemporarilyUnavailable, "not yet")
	})
	nc := dial(t, n)
	w := startReady(t, newClient(t, nc), alice, never)
	until(t, "it has asked", func() bool { return d.count(wire.TokenGet) == 1 })
	nc.Close()
	if err := w.end(t); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("got %v", err)
	}
}
