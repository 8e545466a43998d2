package client

import (
	"context"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/esignd/esignd/bus/wire"
)

// scopeName is the instrumentation scope of this package's spans.
const scopeName = "github.com/esignd/esignd/bus/client"

func tracer(tp trace.TracerProvider) trace.Tracer {
	if tp == nil {
		tp = otel.GetTracerProvider()
	}
	return tp.Tracer(scopeName)
}

// messaging are the attributes of a span about a message, by OpenTelemetry's conventions.
func messaging(operation, kind, subject, template string) trace.SpanStartEventOption {
	return trace.WithAttributes(
		attribute.String("messaging.system", "nats"),
		attribute.String("messaging.operation.name", operation),
		attribute.String("messaging.operation.type", kind),
		attribute.String("messaging.destination.name", subject),
		attribute.String("messaging.destination.template", template),
	)
}

// traceRequest begins the span of a request, which the message carries on, and returns what ends it.
func (c *Client) traceRequest(ctx context.Context, m *nats.Msg, e wire.Endpoint) (context.Context, func(*nats.Msg, error)) {
	template := wire.APISubject(c.prefix, "{tenant}", e)
	ctx, span := c.tracer.Start(ctx, "request "+template, trace.WithSpanKind(trace.SpanKindClient), messaging("request", "send", m.Subject, template))
	propagation.TraceContext{}.Inject(ctx, wire.Header(m.Header))
	return ctx, func(answer *nats.Msg, err error) {
		code := ""
		if err != nil {
			code = "no_answer"
		} else if refused := wire.DecodeError(answer.Header, nil); refused != nil {
			code = string(refused.Code)
		}
		if code != "" {
			span.SetAttributes(attribute.String("error.type", code))
			span.SetStatus(codes.Error, code)
		}
		span.End()
	}
}

// hear hands an event to fn, in a span that is linked to the trace in which the event came to be.
func (w *watch) hear(ctx context.Context, subject string, e Event) error {
	if w.client.cache != nil {
		w.client.cache.hear(e) // whatever fn asks for is not older than the event
	}
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer)}
	template := wire.TenantEvents(w.client.prefix, "{tenant}", string(e.Type)+".{vendor}.{grant}")
	options = append(options, messaging("process", "process", subject, template), trace.WithAttributes(attribute.String("messaging.message.id", e.ID)))
	told := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": e.TraceParent})
	if sc := trace.SpanContextFromContext(told); sc.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: sc}))
	}
	_, span := w.client.tracer.Start(ctx, "process "+template, options...)
	defer span.End()
	err := w.fn(e)
	if err != nil {
		span.SetAttributes(attribute.String("error.type", "_OTHER"))
		span.SetStatus(codes.Error, "")
	}
	return err
}
