package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// publisher is the core.Publisher on the stream of events.
type publisher struct{ bus *Bus }

var _ core.Publisher = publisher{}

// Publish sends the event with its id as Nats-Msg-Id, by which the stream knows one that it has.
func (p publisher) Publish(ctx context.Context, e core.Event) (err error) {
	defer func(began time.Time) { p.bus.metrics.operated(ctx, opPublish, began, err) }(time.Now())
	ses, err := p.bus.opened()
	if err != nil {
		return err
	}
	subject, headers, body, err := wire.EncodeEvent(p.bus.cfg.Prefix, e)
	if err != nil {
		return fmt.Errorf("encode event %s %s: %w", e.Type, e.ID, err)
	}
	template := wire.TenantEvents(p.bus.cfg.Prefix, "{tenant}", string(e.Type)+".{vendor}.{grant}")
	ctx, span := p.bus.tracer.Start(ctx, "publish "+template, append(linkTo(wire.Header{wire.HeaderTraceParent: {e.TraceParent}}),
		trace.WithSpanKind(trace.SpanKindProducer), messaging("publish", "send", subject, template),
		trace.WithAttributes(attribute.String("messaging.message.id", e.ID), attribute.Int("messaging.message.body.size", len(body))))...)
	defer func() { ended(span, err) }()
	m := &nats.Msg{Subject: subject, Data: body, Header: nats.Header{}}
	for name, value := range headers {
		// Set keeps the name as it is; header names are case-sensitive here.
		m.Header.Set(name, value)
	}
	if _, err := ses.publicJS.PublishMsg(ctx, m); err != nil {
		return fmt.Errorf("publish event %s %s: %w", e.Type, e.ID, err)
	}
	return nil
}

// Last reads the last message on the event's subject, or on those of every type.
func (p publisher) Last(ctx context.Context, e core.Event) (core.Event, error) {
	ses, err := p.bus.opened()
	if err != nil {
		return core.Event{}, err
	}
	subject, err := wire.LastEventSubject(p.bus.cfg.Prefix, e)
	if err != nil {
		return core.Event{}, fmt.Errorf("look for the last event: %w", err)
	}
	m, err := ses.events.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return core.Event{}, nil
	}
	if err != nil {
		return core.Event{}, fmt.Errorf("read the last event on %s: %w", subject, err)
	}
	last, err := wire.DecodeEvent(m.Data)
	if err != nil {
		// Another hand wrote it: it says nothing of the grant.
		p.bus.log.WarnContext(ctx, "the last event on a subject is not one of ours; it is taken to say nothing of the grant", "subject", subject, "error", err)
		return core.Event{ID: m.Header.Get(jetstream.MsgIDHeader)}, nil
	}
	return last, nil
}
