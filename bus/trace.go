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
		systemKey.String("nats"),
		messageOperationKey.String(operation),
		attribute.String("messaging.operation.type", kind),
		attribute.String("messaging.destination.name", subject),
		templateKey.String(template),
	)
}

// tracer makes a Bus's spans. nil is the global provider.
func tracer(tp trace.TracerProvider) trace.Tracer {
	if tp == nil {
		tp = otel.GetTracerProvider()
	}
	return tp.Tracer(scopeName)
}

// Sampler is what a TracerProvider may be, too: one that decides on a span before it is begun. A request that is not sampled
// and that is answered from memory then costs no span.
type Sampler interface {
	// Sample decides on a span of a remote parent, or, where parent is not valid, on the first of a new trace. It returns the
	// context in which that span is to be begun: parent, or the id of the new trace. It takes no memory.
	Sample(parent trace.SpanContext) (begin trace.SpanContext, sampled bool)
}

// parentOf returns the caller's span, which is not valid where there is none, without its state. For what callers write
// today it takes no memory.
func parentOf(h map[string][]string) trace.SpanContext {
	const length, traceEnd, spanEnd = 55, 35, 52 // 00-<trace>-<span>-<flags>
	text := wire.Header(h).Get(wire.HeaderTraceParent)
	if text == "" {
		return trace.SpanContext{}
	}
	if len(text) == length && text[:3] == "00-" && text[traceEnd] == '-' && text[spanEnd:54] == "-0" && text[54] >= '0' && text[54] <= '3' {
		of, err := trace.TraceIDFromHex(text[3:traceEnd])
		id, ierr := trace.SpanIDFromHex(text[traceEnd+1 : spanEnd])
		if err == nil && ierr == nil {
			return trace.NewSpanContext(trace.SpanContextConfig{TraceID: of, SpanID: id, TraceFlags: trace.TraceFlags(text[54] - '0'), Remote: true})
		}
	}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), wire.Header(h)))
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
