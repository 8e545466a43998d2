package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// redactingExporter redacts every span before it is exported. It has to be the exporter that does so: attributes are
// set while a span lives, by any library, after every hook of a span processor that could still change them.
type redactingExporter struct{ next sdktrace.SpanExporter }

// ExportSpans implements sdktrace.SpanExporter.
func (e redactingExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	clean := make([]sdktrace.ReadOnlySpan, len(spans))
	for i, s := range spans {
		clean[i] = redactedSpan{s}
	}
	return e.next.ExportSpans(ctx, clean)
}

// Shutdown implements sdktrace.SpanExporter.
func (e redactingExporter) Shutdown(ctx context.Context) error { return e.next.Shutdown(ctx) }

// redactedSpan shows a span without its secrets. It changes copies: another processor may hold the same span.
type redactedSpan struct{ sdktrace.ReadOnlySpan }

func (s redactedSpan) Name() string { return scrub(s.ReadOnlySpan.Name()) }

func (s redactedSpan) Attributes() []attribute.KeyValue {
	return redactAttributes(s.ReadOnlySpan.Attributes())
}

func (s redactedSpan) Events() []sdktrace.Event {
	events := s.ReadOnlySpan.Events()
	clean := make([]sdktrace.Event, len(events))
	for i, e := range events {
		e.Name, e.Attributes = scrub(e.Name), redactAttributes(e.Attributes)
		clean[i] = e
	}
	return clean
}

func (s redactedSpan) Links() []sdktrace.Link {
	links := s.ReadOnlySpan.Links()
	clean := make([]sdktrace.Link, len(links))
	for i, l := range links {
		l.Attributes = redactAttributes(l.Attributes)
		clean[i] = l
	}
	return clean
}

func (s redactedSpan) Status() sdktrace.Status {
	status := s.ReadOnlySpan.Status()
	status.Description = scrub(status.Description)
	return status
}

func redactAttributes(attrs []attribute.KeyValue) []attribute.KeyValue {
	clean := make([]attribute.KeyValue, len(attrs))
	for i, a := range attrs {
		clean[i] = attribute.KeyValue{Key: a.Key, Value: redactAttribute(string(a.Key), a.Value)}
	}
	return clean
}

func redactAttribute(key string, v attribute.Value) attribute.Value {
	switch v.Type() {
	case attribute.STRING:
		return attribute.StringValue(redactValue(key, v.AsString()))
	case attribute.STRINGSLICE:
		texts := v.AsStringSlice()
		for i, text := range texts {
			texts[i] = redactValue(key, text)
		}
		return attribute.StringSliceValue(texts)
	case attribute.SLICE:
		values := v.AsSlice()
		for i, value := range values {
			values[i] = redactAttribute(key, value)
		}
		return attribute.SliceValue(values...)
	case attribute.MAP:
		return attribute.MapValue(redactAttributes(v.AsMap())...)
	case attribute.BYTESLICE:
		return attribute.StringValue(redacted)
	default: // numbers and booleans hold no secret
		return v
	}
}
