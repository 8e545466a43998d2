package bus

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/esignd/esignd/bus/wire"
)

// messaging are the attributes of a span about a message, by OpenTelemetry's conventions. template is the subject with
// names in braces for what there are many of, and stands in the span's name too.
func messaging(operation, kind, subject, template string) trace.SpanStartEventOption {
	return trace.WithAttributes(
		attribute.String("messaging.system", "nats"),
		attribute.String("messaging.operation.name", operation),
		attribute.String("messaging.operation.type", kind),
		attribute.String("messaging.destination.name", subject),
		attribute.String("messaging.destination.template", template),
	)
}

// tracer makes a Bus's spans. nil is the global provider.
func tracer(tp trace.TracerProvider) trace.Tracer {
	if tp == nil {
		tp = otel.GetTracerProvider()
	}
	return tp.Tracer(scopeName)
}

// linkTo links to the trace that headers tell of, where they do.
func linkTo(h map[string][]string) []trace.SpanStartOption {
	sc := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), wire.Header(h)))
	if !sc.IsValid() {
		return nil
	}
	return []trace.SpanStartOption{trace.WithLinks(trace.Link{SpanContext: sc})}
}

// ended ends a span, with a code where it went wrong. What an error says stays out of it.
func ended(span trace.Span, err error) {
	if err != nil {
		code := operationError(err)
		span.SetAttributes(errorKey.String(code))
		span.SetStatus(codes.Error, code)
	}
	span.End()
}
