package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// grantOne is the grant of event and issue.
var grantOne = client.Selector{Grant: "g_1"}

// caching is a Cached Client of a daemon that answers the token of a generation.
type caching struct {
	*client.Client
	nats   *natsServer
	daemon *daemon
	events *events
	close  func()
	heard  *watching // a Watch of the Client; what it heard, the cache has heard

	generation atomic.Uint64
	answer     atomic.Pointer[func(wire.Endpoint, *nats.Msg) (any, error)] // nil: the token
}

func startCaching(t *testing.T) *caching {
	t.Helper()
	k := &caching{nats: startNATS(t)}
	k.events = startEvents(t, k.nats)
	k.generation.Store(1)
	k.daemon = startDaemon(t, k.nats, func(e wire.Endpoint, m *nats.Msg) (any, error) {
		if fn := k.answer.Load(); fn != nil {
			return (*fn)(e, m)
		}
		if e == wire.TokenRevoke || e == wire.GrantForget {
			return wire.Grant{Grant: "g_1", State: core.Revoked, Generation: k.generation.Load()}, nil
		}
		return issue(k.generation.Load(), ""), nil
	})
	k.Client, k.close = cached(t, newClient(t, dial(t, k.nats)))
	k.heard = startWatch(t, k.Client, client.WatchConfig{})
	until(t, "the watch listens", func() bool { return len(k.events.consumers(t)) == 1 })
	return k
}

func cached(t testing.TB, c *client.Client) (*client.Client, func()) {
	t.Helper()
	out, stop, err := c.Cached(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return out, stop
}

func (k *caching) answers(fn func(wire.Endpoint, *nats.Msg) (any, error)) { k.answer.Store(&fn) }

// tell publishes an event and returns when the cache has heard it.
func (k *caching) tell(t *testing.T, e core.Event) {
	t.Helper()
	k.events.publish(t, e)
	k.heard.want(t, e.ID)
}

// want asks for the token, and compares its generation and how many requests the daemon has had for it. What is kept is young
// then, however slow the machine.
func (k *caching) want(t *testing.T, generation uint64, requests int, opts ...client.TokenOption) client.Token {
	t.Helper()
	return k.wantAged(t, 0, generation, requests, opts...)
}

// wantAged is want where what is kept has that age.
func (k *caching) wantAged(t *testing.T, age time.Duration, generation uint64, requests int, opts ...client.TokenOption) client.Token {
	t.Helper()
	k.Age(age)
	tok, err := k.Token(testContext(t), grantOne, opts...)
	if err != nil {
		t.Fatal(err)
	}
	if n := k.daemon.count(wire.TokenGet); tok.Generation != generation || n != requests {
		t.Fatalf("generation %d after %d requests, want %d after %d", tok.Generation, n, generation, requests)
	}
	return tok
}

func TestCachedTokenIsHandedOutWithoutAsking(t *testing.T) {
	t.Parallel()
	k := startCaching(t)
	first := k.want(t, 1, 1)
	again := k.wantAged(t, 5*time.Second, 1, 1)
	if again.AccessToken.Reveal() != first.AccessToken.Reveal() || again.ExpiresIn > time.Hour-5*time.Second || again.ExpiresIn < 50*time.Minute {
		t.Errorf("%+v, and five seconds later %+v", first, again)
	}
	k.wantAged(t, 10*time.Second, 1, 2)
	k.want(t, 1, 2)
	k.close()
	if tokens, room := k.Kept(); tokens != 0 || room != 0 {
		t.Errorf("closed, it keeps %d tokens, and room for %d", tokens, room)
	}
	k.want(t, 1, 3)
	k.want(t, 1, 4)
}

func TestCachedTokenLivesForItsMinTTL(t *testing.T) {
	t.Parallel()
	k := startCaching(t)
	k.want(t, 1, 1, client.MinTTL(30*time.Minute))
	k.want(t, 1, 1, client.MinTTL(59*time.Minute))
	k.want(t, 1, 1, client.MinTTL(0))
	k.want(t, 1, 2, client.MinTTL(time.Hour))
	k.answers(func(wire.Endpoint, *nats.Msg) (any, error) {
		short := issue(2, "")
		short.ExpiresIn = 30
		return short, nil
	})
	k.want(t, 2, 3, client.MinTTL(2*time.Hour))
	k.want(t, 2, 3, client.MinTTL(20*time.Second))
	k.want(t, 2, 4) // as nobody knows whether it would do without a min_ttl
	k.wantAged(t, 5*time.Second, 2, 4, client.MinTTL(20*time.Second))
	k.wantAged(t, 5*time.Second, 2, 5, client.MinTTL(26*time.Second))
}

func TestCachedTokenIsDroppedByEvents(t *testing.T) {
	t.Parallel()
	k := startCaching(t)
	n := 1
	k.want(t, 1, n)
	told := func(typ core.EventType, generation uint64) core.Event {
		e := event(fmt.Sprint(typ, generation, n), typ)
		e.Generation = generation
		return e
	}
	for _, typ := range []core.EventType{core.TokenExpiring, core.TokenRefreshFailed, core.GrantExpiring, core.GrantAuthorizationFailed} {
		k.tell(t, told(typ, k.generation.Load()))
		n++
		k.want(t, 1, n)
		k.want(t, 1, n)
	}
	for _, typ := range []core.EventType{core.ClientSuspended, core.ClientResumed, core.VendorUnavailable, core.VendorAvailable} {
		e := told(typ, 0)
		e.Grant, e.Account = "", ""
		k.tell(t, e)
		n++
		k.want(t, 1, n)
		k.want(t, 1, n)
	}
	k.tell(t, told(core.TokenIssued, 1)) // of the token itself
	k.want(t, 1, n)
	other := told(core.TokenRevoked, 1)
	other.Grant = "g_2"
	k.tell(t, other)
	k.want(t, 1, n)
	k.generation.Store(2)
	k.want(t, 1, n)
	k.tell(t, told(core.TokenIssued, 2))
	n++
	k.want(t, 2, n)
	k.want(t, 2, n)
	for _, typ := range []core.EventType{core.TokenRevoked, core.GrantReauthorizationRequired} {
		generation := k.generation.Add(1) - 1
		k.tell(t, told(typ, generation))
		n++
		k.want(t, generation+1, n)
		k.want(t, generation+1, n)
	}
}

// An answer that a replica gave before it knew, or that an event overtook, is not kept.
func TestCacheKeepsNoAnswerThatIsOlderThanAnEvent(t *testing.T) {
	t.Parallel()
	t.Run("the event overtakes the answer", func(t *testing.T) {
		t.Parallel()
		k := startCaching(t)
		var asked atomic.Int32
		k.answers(func(wire.Endpoint, *nats.Msg) (any, error) {
			generation := uint64(1)
			if asked.Add(1) == 1 {
				e := event("overtakes", core.TokenIssued)
				e.Generation = 2
				k.tell(t, e)
			} else {
				generation = 2
			}
			return issue(generation, ""), nil
		})
		k.want(t, 1, 1)
		k.want(t, 2, 2)
		k.want(t, 2, 2)
	})
	t.Run("the answer follows the event", func(t *testing.T) {
		t.Parallel()
		k := startCaching(t)
		e := event("first", core.TokenIssued)
		e.Generation = 2
		k.tell(t, e)
		k.want(t, 1, 1)
		k.want(t, 1, 2) // the replica is behind still
		k.generation.Store(2)
		k.want(t, 2, 3)
		k.want(t, 2, 3)
	})
	t.Run("a revocation overtakes the answer", func(t *testing.T) {
		t.Parallel()
		k := startCaching(t)
		e := event("revoked", core.TokenRevoked)
		e.Generation = 1
		k.answers(func(wire.Endpoint, *nats.Msg) (any, error) {
			k.tell(t, e)
			return issue(1, ""), nil
		})
		k.want(t, 1, 1)
		k.answers(func(wire.Endpoint, *nats.Msg) (any, error) {
			return nil, core.Errorf(core.ReauthorizationRequired, "over")
		})
		if _, err := k.Token(testContext(t), grantOne); !errors.Is(err, client.ReauthorizationRequired) {
			t.Errorf("got %v", err)
		}
	})
}

func TestCacheKeepsNoTokenWithAWarning(t *testing.T) {
	t.Parallel()
	k := startCaching(t)
	k.answers(func(wire.Endpoint, *nats.Msg) (any, error) {
		warned := issue(1, "")
		warned.Warnings = []core.Warning{core.WarnVendorUnavailable}
		return warned, nil
	})
	k.want(t, 1, 1)
	k.want(t, 1, 2)
}

func TestCachedTokenIsDroppedByWhatItsClientDoes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		do   func(context.Context, *caching) error
		asks int // requests for the token afterwards
	}{
		"report": {func(ctx context.Context, k *caching) error {
			k.generation.Store(2)
			_, err := k.Report(ctx, grantOne, 1)
			return err
		}, 0},
		"refresh": {func(ctx context.Context, k *caching) error {
			k.generation.Store(2)
			_, err := k.Refresh(ctx, grantOne)
			return err
		}, 0},
		"revoke": {func(ctx context.Context, k *caching) error {
			_, err := k.Revoke(ctx, grantOne, "")
			k.generation.Store(2)
			return err
		}, 1},
		"forget": {func(ctx context.Context, k *caching) error {
			_, err := k.Forget(ctx, grantOne)
			k.generation.Store(2)
			return err
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := startCaching(t)
			k.want(t, 1, 1)
			if err := tc.do(testContext(t), k); err != nil {
				t.Fatal(err)
			}
			k.want(t, 2, 1+tc.asks)
			k.want(t, 2, 1+tc.asks)
		})
	}
	t.Run("a report that fails", func(t *testing.T) {
		t.Parallel()
		k := startCaching(t)
		k.want(t, 1, 1)
		k.answers(func(e wire.Endpoint, _ *nats.Msg) (any, error) {
			if e == wire.TokenReport {
				return nil, core.Errorf(core.TemporarilyUnavailable, "the vendor fails")
			}
			return issue(1, ""), nil
		})
		if _, err := k.Report(testContext(t), grantOne, 1); !errors.Is(err, client.TemporarilyUnavailable) {
			t.Fatal(err)
		}
		k.want(t, 1, 2)
		k.want(t, 1, 3) // the vendor refused this generation: it is not kept again
	})
}

func TestCacheIsDroppedWithTheConnection(t *testing.T) {
	t.Parallel()
	k := startCaching(t)
	k.want(t, 1, 1)
	k.nats.stop()
	until(t, "nothing is kept", func() bool { tokens, _ := k.Kept(); return tokens == 0 })
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, err := k.Token(ctx, grantOne); err == nil {
		t.Error("a token was handed out while nothing is heard")
	}
	k.generation.Store(2)
	k.nats.start(t)
	until(t, "the daemon is back, and a token is kept again", func() bool {
		asked := k.daemon.count(wire.TokenGet)
		tok, err := k.Token(testContext(t), grantOne)
		if err == nil && tok.Generation != 2 {
			t.Fatal("a token of before was handed out")
		}
		return err == nil && k.daemon.count(wire.TokenGet) == asked
	})
}

func TestCacheIsDroppedWhenEventsAreLost(t *testing.T) {
	t.Parallel()
	k := startCaching(t)
	nc := dial(t, k.nats)
	c, _ := cached(t, newClient(t, nc))
	if _, err := c.Token(testContext(t), grantOne); err != nil {
		t.Fatal(err)
	}
	release := c.HoldEvents()
	_, _, body, err := wire.EncodeEvent("esign", event("flood", core.TokenExpiring))
	if err != nil {
		t.Fatal(err)
	}
	const flood = 6000 // more than wait for it
	before := nc.Stats().InMsgs
	for range flood {
		if err := k.daemon.conn.Publish("esign.event.default.token.expiring.acme.g_2", body); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the flood has come", func() bool { return nc.Stats().InMsgs >= before+flood })
	release()
	k.generation.Store(2)
	until(t, "what was kept is dropped", func() bool {
		c.Age(0) // so that it is dropped by nothing else
		tok, err := c.Token(testContext(t), grantOne)
		return err == nil && tok.Generation == 2
	})
}
