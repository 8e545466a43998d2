package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

func event(id string, typ core.EventType) core.Event {
	return core.Event{ID: id, Type: typ, Time: at, Tenant: "default", Client: "main", Vendor: "acme", Account: "alice",
		Grant: "g_1", Generation: 3, Reason: "r"}
}

// events is the stream of events.
type events struct {
	conn   *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream
}

func startEvents(t *testing.T, n *natsServer) *events {
	t.Helper()
	e := &events{conn: dial(t, n)}
	var err error
	if e.js, err = jetstream.New(e.conn); err != nil {
		t.Fatal(err)
	}
	e.stream, err = e.js.CreateStream(testContext(t), jetstream.StreamConfig{Name: wire.EventStream, Subjects: []string{"esign.event.>"}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *events) publish(t *testing.T, evs ...core.Event) {
	t.Helper()
	for _, ev := range evs {
		subject, _, body, err := wire.EncodeEvent("esign", ev)
		if err != nil {
			t.Fatal(err)
		}
		// Without a Msg-Id the stream takes an event twice, as it does when the second comes after its window.
		if _, err := e.js.Publish(testContext(t), subject, body); err != nil {
			t.Fatal(err)
		}
	}
}

func (e *events) consumers(t *testing.T) []string {
	t.Helper()
	var names []string
	list := e.stream.ConsumerNames(testContext(t))
	for name := range list.Name() {
		names = append(names, name)
	}
	return names
}

// watching is a Watch that is running.
type watching struct {
	heard chan client.Event
	done  chan error
	stop  context.CancelFunc
}

func startWatch(t *testing.T, c *client.Client, cfg client.WatchConfig) *watching {
	t.Helper()
	return startWatchOf(t, c, cfg, func(client.Event) {})
}

// startWatchOf calls fn for each event too, before it counts as heard.
func startWatchOf(t *testing.T, c *client.Client, cfg client.WatchConfig, fn func(client.Event)) *watching {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	w := &watching{heard: make(chan client.Event, 1000), done: make(chan error, 1), stop: cancel}
	go func() {
		w.done <- c.Watch(ctx, cfg, func(e client.Event) error { fn(e); w.heard <- e; return nil })
	}()
	t.Cleanup(cancel)
	return w
}

func (w *watching) want(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		select {
		case e := <-w.heard:
			if e.ID != id {
				t.Fatalf("heard %s, want %s", e.ID, id)
			}
		case err := <-w.done:
			t.Fatalf("the watch ended before %s: %v", id, err)
		case <-time.After(20 * time.Second):
			t.Fatalf("did not hear %s", id)
		}
	}
}

func (w *watching) end(t *testing.T) {
	t.Helper()
	w.stop()
	if err := <-w.done; !errors.Is(err, context.Canceled) {
		t.Errorf("the watch ended with %v", err)
	}
	if n := len(w.heard); n != 0 {
		t.Errorf("%d events more were heard, the first %s", n, (<-w.heard).ID)
	}
}

func TestWatchHearsTheTenantsEventsInOrder(t *testing.T) {
	n := startNATS(t)
	es := startEvents(t, n)
	theirs := event("x", core.TokenIssued)
	theirs.Tenant = "other"
	es.publish(t, event("a", core.TokenIssued), theirs, event("b", core.TokenExpiring), event("a", core.TokenIssued),
		event("c", core.TokenRevoked))
	if _, err := es.js.Publish(testContext(t), "esign.event.default.token.issued.acme.g_1", []byte("not an event")); err != nil {
		t.Fatal(err)
	}
	es.publish(t, event("d", core.TokenIssued))
	c := newClient(t, dial(t, n))

	all := startWatch(t, c, client.WatchConfig{Since: at})
	all.want(t, "a", "b", "c", "d")
	all.end(t)
	some := startWatch(t, c, client.WatchConfig{Since: at, Types: []client.EventType{client.TokenIssued, client.TokenRevoked}})
	some.want(t, "a", "c", "d")
	some.end(t)
	if left := es.consumers(t); len(left) != 0 {
		t.Errorf("consumers %v are left behind", left)
	}
}

func TestWatchHearsWhatTheEventTells(t *testing.T) {
	n := startNATS(t)
	es := startEvents(t, n)
	want := event("a", core.TokenIssued)
	es.publish(t, want)
	w := startWatch(t, newClient(t, dial(t, n)), client.WatchConfig{Since: at})
	if got := <-w.heard; got.Reason != want.Reason || got.Grant != want.Grant || got.Generation != want.Generation || !got.Time.Equal(want.Time) {
		t.Errorf("got %+v", got)
	}
	w.end(t)
}

func TestWatchBeginsNow(t *testing.T) {
	n := startNATS(t)
	es := startEvents(t, n)
	es.publish(t, event("old", core.TokenIssued))
	w := startWatch(t, newClient(t, dial(t, n)), client.WatchConfig{})
	until(t, "the consumer is there", func() bool { return len(es.consumers(t)) == 1 })
	es.publish(t, event("new", core.TokenIssued))
	w.want(t, "new")
	w.end(t)
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestADurableWatchGoesOnWhereItEnded(t *testing.T) {
	n := startNATS(t)
	es := startEvents(t, n)
	c := newClient(t, dial(t, n))
	es.publish(t, event("a", core.TokenIssued), event("b", core.TokenIssued), event("c", core.TokenIssued))
	boom := errors.New("boom")
	var heard []string
	cfg := client.WatchConfig{Durable: "billing", Since: at}
	err := c.Watch(testContext(t), cfg, func(e client.Event) error {
		heard = append(heard, e.ID)
		if e.ID == "b" {
			return boom
		}
		return nil
	})
	if !errors.Is(err, boom) || !slices.Equal(heard, []string{"a", "b"}) {
		t.Fatalf("heard %v, ended with %v", heard, err)
	}
	es.publish(t, event("d", core.TokenIssued))
	w := startWatch(t, c, cfg)
	w.want(t, "b", "c", "d")
	w.end(t)
	if names := es.consumers(t); !slices.Equal(names, []string{"default_billing"}) {
		t.Errorf("consumers %v", names)
	}
}

func TestWatchOutlivesTheServer(t *testing.T) {
	for _, durable := range []string{"", "billing"} {
		t.Run("durable="+durable, func(t *testing.T) {
			n := startNATS(t)
			es := startEvents(t, n)
			w := startWatch(t, newClient(t, dial(t, n)), client.WatchConfig{Durable: durable, Since: at})
			es.publish(t, event("a", core.TokenIssued))
			w.want(t, "a")
			n.stop()
			n.start(t)
			// By now the connection may not have noticed, and would send what is published to the server that is gone.
			until(t, "connected again", func() bool { return es.conn.Stats().Reconnects > 0 && es.conn.IsConnected() })
			es.publish(t, event("b", core.TokenIssued), event("c", core.TokenIssued))
			w.want(t, "b", "c")
			w.end(t)
		})
	}
}

// line dials connections that can go deaf: what is written is lost from then on, as when the other end is about to die.
type line struct {
	deaf atomic.Bool
	lost chan string // what was
	last atomic.Pointer[net.Conn]
}

func (l *line) Dial(network, address string) (net.Conn, error) {
	conn, err := net.DialTimeout(network, address, 10*time.Second)
	if err != nil {
		return nil, err
	}
	l.deaf.Store(false)
	l.last.Store(&conn)
	return &deafConn{conn, l}, nil
}

type deafConn struct {
	net.Conn
	line *line
}

func (c *deafConn) Write(b []byte) (int, error) {
	if !c.line.deaf.Load() {
		return c.Conn.Write(b)
	}
	select {
	case c.line.lost <- string(b):
	default:
	}
	return len(b), nil
}

// NATS gives out nothing more while it waits for what was said of an event, which is for 30 seconds.
func TestWatchGoesOnAtOnceWhereItsWordWasLost(t *testing.T) {
	for _, durable := range []string{"", "billing"} {
		t.Run("durable="+durable, func(t *testing.T) {
			n := startNATS(t)
			es := startEvents(t, n)
			l := &line{lost: make(chan string, 100)}
			c := newClient(t, dial(t, n, nats.SetCustomDialer(l)))
			w := startWatchOf(t, c, client.WatchConfig{Durable: durable, Since: at}, func(e client.Event) { l.deaf.Store(e.ID == "a") })
			es.publish(t, event("a", core.TokenIssued))
			w.want(t, "a")
			for text := ""; !strings.Contains(text, "$JS.ACK."); {
				text = <-l.lost
			}
			if err := (*l.last.Load()).Close(); err != nil {
				t.Fatal(err)
			}
			es.publish(t, event("b", core.TokenIssued), event("c", core.TokenIssued))
			w.want(t, "b", "c")
			w.end(t)
		})
	}
}

func TestWatchMakesItsConsumerAgain(t *testing.T) {
	for _, cfg := range []client.WatchConfig{{}, {Durable: "billing"}} {
		t.Run("durable="+cfg.Durable, func(t *testing.T) {
			n := startNATS(t)
			es := startEvents(t, n)
			es.publish(t, event("old", core.TokenIssued))
			w := startWatch(t, newClient(t, dial(t, n)), cfg)
			until(t, "the consumer is there", func() bool { return len(es.consumers(t)) == 1 })
			// What comes while there is no consumer is not lost, not even before anything was heard.
			for i := range 2 {
				name := es.consumers(t)[0]
				if err := es.stream.DeleteConsumer(testContext(t), name); err != nil {
					t.Fatal(err)
				}
				a, b := fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i)
				es.publish(t, event(a, core.TokenIssued), event(b, core.TokenIssued))
				w.want(t, a, b)
			}
			w.end(t)
		})
	}
}

func TestWatchSaysAtOnceWhyItCannot(t *testing.T) {
	n := startNATS(t)
	c := newClient(t, dial(t, n))
	never := func(client.Event) error { return errors.New("called") }
	if err := c.Watch(testContext(t), client.WatchConfig{}, never); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("without a stream: %v", err)
	}
	if err := c.Watch(testContext(t), client.WatchConfig{Types: []client.EventType{"token.lost"}}, never); err == nil || !strings.Contains(err.Error(), "token.lost") {
		t.Errorf("with an unknown type: %v", err)
	}
	if err := c.Watch(testContext(t), client.WatchConfig{Durable: "a.b"}, never); err == nil || !strings.Contains(err.Error(), "a.b") {
		t.Errorf("with a bad name: %v", err)
	}
}
