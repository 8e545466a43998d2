package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"go.opentelemetry.io/otel/trace"
)

// stderrHandler returns the handler that writes to w, and the level from which it does.
func stderrHandler(cfg LogConfig, w io.Writer) (slog.Handler, slog.Level, error) {
	var level slog.Level
	if cfg.Level != "" {
		if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
			return nil, 0, fmt.Errorf("log.level %q is none of debug, info, warn, error", cfg.Level)
		}
	}
	options := &slog.HandlerOptions{Level: level}
	switch cfg.Format {
	case "", "json":
		return newTraced(slog.NewJSONHandler(w, options)), level, nil
	case "text":
		return newTraced(slog.NewTextHandler(w, options)), level, nil
	default:
		return nil, 0, fmt.Errorf("log.format %q is neither json nor text", cfg.Format)
	}
}

// traced adds trace_id and span_id of the context's span, at the top of the record also where the logger has a group.
type traced struct {
	root slog.Handler // as it was before any attribute or group
	next slog.Handler // root with all of them
	// scopes are the steps from root to next.
	scopes  []func(slog.Handler) slog.Handler
	grouped bool
}

func newTraced(root slog.Handler) traced { return traced{root: root, next: root} }

func (h traced) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

func (h traced) Handle(ctx context.Context, r slog.Record) error {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() {
		return h.next.Handle(ctx, r)
	}
	ids := []slog.Attr{
		slog.String("trace_id", span.TraceID().String()),
		slog.String("span_id", span.SpanID().String()),
	}
	if !h.grouped {
		r = r.Clone()
		r.AddAttrs(ids...)
		return h.next.Handle(ctx, r)
	}
	next := h.root.WithAttrs(ids)
	for _, enter := range h.scopes {
		next = enter(next)
	}
	return next.Handle(ctx, r)
}

func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.enter(func(next slog.Handler) slog.Handler { return next.WithAttrs(attrs) }, h.grouped)
}

func (h traced) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.enter(func(next slog.Handler) slog.Handler { return next.WithGroup(name) }, true)
}

func (h traced) enter(step func(slog.Handler) slog.Handler, grouped bool) slog.Handler {
	scopes := append(h.scopes[:len(h.scopes):len(h.scopes)], step)
	return traced{root: h.root, next: step(h.next), scopes: scopes, grouped: grouped}
}

// redactor hands on records of its level and above, redacted.
type redactor struct {
	level slog.Level
	next  slog.Handler
}

func (h redactor) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level && h.next.Enabled(ctx, l)
}

func (h redactor) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, scrub(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(redactAttr(a))
		return true
	})
	return h.next.Handle(ctx, clean)
}

func (h redactor) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = redactAttr(a)
	}
	return redactor{level: h.level, next: h.next.WithAttrs(clean)}
}

func (h redactor) WithGroup(name string) slog.Handler {
	return redactor{level: h.level, next: h.next.WithGroup(name)}
}

func redactAttr(a slog.Attr) slog.Attr {
	value := a.Value.Resolve()
	switch value.Kind() {
	case slog.KindGroup:
		members := value.Group()
		clean := make([]slog.Attr, len(members))
		for i, m := range members {
			clean[i] = redactAttr(m)
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(clean...)}
	case slog.KindString:
		return slog.String(a.Key, redactValue(a.Key, value.String()))
	case slog.KindAny:
		return slog.Attr{Key: a.Key, Value: redactAny(a.Key, value.Any())}
	default: // numbers, booleans and times hold no secret
		return slog.Attr{Key: a.Key, Value: value}
	}
}

// redactAny turns a value of any other type into text, since a struct or a map may hold anything.
func redactAny(key string, v any) slog.Value {
	switch v := v.(type) {
	case nil:
		return slog.AnyValue(nil)
	case []string:
		clean := make([]string, len(v))
		for i, s := range v {
			clean[i] = redactValue(key, s)
		}
		return slog.AnyValue(clean)
	case error:
		return slog.StringValue(redactValue(key, v.Error()))
	case url.Values:
		return namesOnly(v)
	case http.Header:
		return namesOnly(v)
	case []byte:
		return slog.StringValue(fmt.Sprintf("[%d bytes]", len(v)))
	default:
		return slog.StringValue(redactValue(key, fmt.Sprintf("%+v", v)))
	}
}

// namesOnly shows which parameters or headers there were, and none of their values.
func namesOnly(values map[string][]string) slog.Value {
	return slog.AnyValue(slices.Sorted(maps.Keys(values)))
}
