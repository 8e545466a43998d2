package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// Event tells what happened to a token, a grant, a client or a vendor. It never holds a secret.
type Event = core.Event

// EventType names what happened.
type EventType = core.EventType

// The types of events.
const (
	TokenIssued                  = core.TokenIssued
	TokenExpiring                = core.TokenExpiring
	TokenRevoked                 = core.TokenRevoked
	TokenRefreshFailed           = core.TokenRefreshFailed
	GrantReauthorizationRequired = core.GrantReauthorizationRequired
	GrantAuthorizationFailed     = core.GrantAuthorizationFailed
	GrantExpiring                = core.GrantExpiring
	ClientSuspended              = core.ClientSuspended
	ClientResumed                = core.ClientResumed
	VendorUnavailable            = core.VendorUnavailable
	VendorAvailable              = core.VendorAvailable
)

// WatchConfig says which events to hear. The zero value hears those of every type from now on.
type WatchConfig struct {
	// Types of events. None: every type.
	Types []EventType
	// Durable is the name under which NATS remembers what was heard, so that a later Watch goes on where this one
	// ended. The consumer is <tenant>_<Durable>. Watches of one name share the events among them. Empty: nothing is
	// remembered beyond this Watch.
	//
	// A service that the daemon's nats.auth lists has one consumer, which the daemon made: Durable is the service's name.
	// Without it such a service hears what is published while it is connected, and misses the rest.
	Durable string
	// Since is from when on events are heard, where Durable does not say. Zero: from now on. They are kept seven days.
	// A service of nats.auth hears from now on, or where its consumer is.
	Since time.Time
}

const (
	// ackWait is how long fn may take before its event is given out again.
	ackWait = 30 * time.Second
	// forgetAfter is when NATS forgets a consumer that is not durable, once nobody asks for it.
	forgetAfter = 5 * time.Minute
	heartbeat   = 5 * time.Second
	reopenDelay = time.Second
	// remembered is how many ids of events are kept, to tell an event that comes twice.
	remembered = 4096
)

// Watch calls fn for each event of the tenant, one at a time and in order, until ctx ends or fn returns an error, and
// returns ctx's or fn's error. It goes on by itself after the connection or the consumer was lost, where it had
// stopped. An error at the start says why the events cannot be had.
//
// Each event is heard at least once; one that comes again during this Watch is skipped. An event counts as heard when fn
// returns nil: the one whose error ended a durable Watch comes again at the next. An event for which fn takes more than
// 30 seconds may be given to another Watch of the same name.
func (c *Client) Watch(ctx context.Context, cfg WatchConfig, fn func(Event) error) error {
	w, err := c.newWatch(cfg, fn)
	if err != nil {
		return err
	}
	if c.service != "" && cfg.Durable == "" {
		return w.live(ctx)
	}
	messages, err := w.open(ctx)
	defer w.remind()()
	for {
		if err != nil {
			return fmt.Errorf("watch the events of tenant %s: %w", c.tenant, err)
		}
		err = w.run(ctx, messages)
		w.giveBack(messages)
		var stop *stopError
		switch {
		case errors.As(err, &stop):
			return w.end(stop.err)
		case ctx.Err() != nil:
			return w.end(ctx.Err())
		}
		c.log.WarnContext(ctx, "the watch of esignd's events was interrupted; it is opened again where it stood", "consumer", w.name, "error", err)
		if messages, err = w.reopen(ctx); err != nil {
			return w.end(err)
		}
	}
}

// stopError is an error of fn.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }

// watch is one call of Watch.
type watch struct {
	client *Client
	js     jetstream.JetStream
	cfg    WatchConfig
	fn     func(Event) error
	name   string        // of the consumer
	failed jetstream.Msg // the one whose fn returned an error
	opened bool          // once, so that last counts
	last   uint64        // sequence in the stream up to which all was heard
	seen   recent

	said atomic.Pointer[string] // where it was said that the last message was heard
}

func (c *Client) newWatch(cfg WatchConfig, fn func(Event) error) (*watch, error) {
	if err := checkTypes(cfg.Types); err != nil {
		return nil, err
	}
	if cfg.Durable != "" && !wire.ValidToken(cfg.Durable) {
		return nil, fmt.Errorf("client: durable %q: letters, digits, - and _ are wanted", cfg.Durable)
	}
	if c.service != "" && cfg.Durable != "" && cfg.Durable != c.service {
		return nil, fmt.Errorf("client: durable %q: the one consumer of service %s has its name", cfg.Durable, c.service)
	}
	js, err := jetstream.New(c.conn)
	if err != nil {
		return nil, fmt.Errorf("watch the events of tenant %s: %w", c.tenant, err)
	}
	name := c.tenant + "_" + cfg.Durable
	if cfg.Durable == "" {
		name = c.tenant + "_" + nuid.Next()
	}
	return &watch{client: c, js: js, cfg: cfg, fn: fn, name: name, seen: newRecent(remembered)}, nil
}

func checkTypes(types []EventType) error {
	for _, t := range types {
		if !slices.Contains(core.EventTypes(), t) {
			return fmt.Errorf("client: there is no event type %q", t)
		}
	}
	return nil
}

// open finds the consumer or makes it, and begins to ask for messages.
func (w *watch) open(ctx context.Context) (jetstream.MessagesContext, error) {
	consumer, err := w.js.Consumer(ctx, wire.EventStream, w.name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		consumer, err = w.js.CreateOrUpdateConsumer(ctx, wire.EventStream, w.config())
	}
	if err != nil {
		return nil, err
	}
	// A consumer that has to be made again goes on from here, and not from what is new by then.
	w.opened, w.last = true, max(w.last, consumer.CachedInfo().AckFloor.Stream)
	return consumer.Messages(jetstream.PullHeartbeat(heartbeat))
}

// reopen is open, tried until it works or ctx ends.
func (w *watch) reopen(ctx context.Context) (jetstream.MessagesContext, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(reopenDelay):
		}
		if messages, err := w.open(ctx); err == nil {
			return messages, nil
		}
		if w.client.conn.IsClosed() {
			return nil, errors.New("the NATS connection was closed")
		}
	}
}

// config is that of a consumer that is not there yet. One filter over all types keeps within the permissions of a
// service, whose server compares it; one message on its way keeps them in order when one comes again.
func (w *watch) config() jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		FilterSubject: wire.TenantEvents(w.client.prefix, w.client.tenant, ">"),
		AckPolicy:     jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: 1,
		DeliverPolicy: jetstream.DeliverNewPolicy,
	}
	if w.cfg.Durable != "" {
		cfg.Durable = w.name
	} else {
		cfg.Name, cfg.InactiveThreshold = w.name, forgetAfter
	}
	switch {
	case w.opened:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, w.last+1
	case !w.cfg.Since.IsZero():
		since := w.cfg.Since
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &since
	}
	return cfg
}

// run takes messages until one cannot be had. A *stopError is one of fn.
func (w *watch) run(ctx context.Context, messages jetstream.MessagesContext) error {
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		if err := w.take(ctx, m); err != nil {
			return err
		}
	}
}

// take hands one message to fn, once, and says that it was heard.
func (w *watch) take(ctx context.Context, m jetstream.Msg) error {
	e, err := wire.DecodeEvent(m.Data())
	switch {
	case err != nil:
		w.client.log.WarnContext(ctx, "a message on the subject of events cannot be read; it is skipped", "subject", m.Subject(), "error", err)
	case w.seen.has(e.ID), len(w.cfg.Types) > 0 && !slices.Contains(w.cfg.Types, e.Type):
	default:
		if err := w.hear(ctx, m.Subject(), e); err != nil {
			w.failed = m
			return &stopError{err}
		}
		w.seen.add(e.ID)
	}
	if md, err := m.Metadata(); err == nil {
		w.last = max(w.last, md.Sequence.Stream)
	}
	said := m.Reply()
	w.said.Store(&said)
	return m.Ack()
}

// remind says once more that the last message was heard, whenever the connection is there again, until stop. What was said
// may have been lost with the connection, and NATS gives out nothing more before it hears it, or for ackWait.
func (w *watch) remind() (stop func()) {
	back := w.client.conn.StatusChanged(nats.CONNECTED)
	var reminding sync.WaitGroup
	reminding.Go(func() {
		for range back {
			if said := w.said.Load(); said != nil {
				_ = w.client.conn.Publish(*said, nil) // the connection may be lost again, and come again
			}
		}
	})
	return func() {
		w.client.conn.RemoveStatusListener(back) // closes it
		reminding.Wait()
	}
}

// giveBack ends the subscription and says of what was not heard that it may be given out again at once, so that whoever
// asks next need not wait for it. That comes after the end: it would be given to this subscription.
func (w *watch) giveBack(messages jetstream.MessagesContext) {
	ctx, cancel := context.WithTimeout(context.Background(), reopenDelay)
	defer cancel()
	messages.Drain()
	var unheard []jetstream.Msg
	if w.failed != nil {
		unheard, w.failed = append(unheard, w.failed), nil
	}
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			break
		}
		unheard = append(unheard, m)
	}
	for _, m := range unheard {
		// It is given out again after ackWait where this does not work.
		_ = m.Nak()
	}
}

// end removes a consumer that nobody will ask for again, and sees that what was acknowledged reaches the server.
func (w *watch) end(err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), reopenDelay)
	defer cancel()
	if w.cfg.Durable == "" {
		// NATS forgets it by itself where this does not work.
		_ = w.js.DeleteConsumer(ctx, wire.EventStream, w.name)
		return err
	}
	_ = w.client.conn.FlushWithContext(ctx)
	return err
}
