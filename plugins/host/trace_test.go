package host_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/esignd/esignd/plugins/host"
)

// traceOf passes on the trace of each record with its message.
type traceOf struct{ records chan<- [2]string }

func (traceOf) Enabled(context.Context, slog.Level) bool { return true }

func (h traceOf) Handle(ctx context.Context, r slog.Record) error {
	select {
	case h.records <- [2]string{r.Message, trace.SpanContextFromContext(ctx).TraceID().String()}:
	default:
	}
	return nil
}

func (h traceOf) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h traceOf) WithGroup(string) slog.Handler      { return h }

func TestTraceGoesOnInThePluginAndComesBackInItsLog(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	oldProvider, oldPropagator := otel.GetTracerProvider(), otel.GetTextMapPropagator()
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	defer func() {
		otel.SetTracerProvider(oldProvider)
		otel.SetTextMapPropagator(oldPropagator)
		_ = provider.Shutdown(context.Background())
	}()
	records := make(chan [2]string, 1000)
	p := newPlugin(t, host.Config{Env: raceEnv, Path: binary(t, "good"), Vendor: "good", Logger: slog.New(traceOf{records})})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close(t.Context()) }()

	ctx, span := provider.Tracer("test").Start(t.Context(), "refresh")
	if _, err := token(ctx, p.Adapter(), "log"); err != nil {
		t.Fatal(err)
	}
	span.End()
	want := span.SpanContext().TraceID().String()
	timeout := time.After(time.Minute)
	for found := false; !found; {
		select {
		case record := <-records:
			if found = record[0] == "from the adapter"; found && record[1] != want {
				t.Errorf("the record is of trace %s, want %s", record[1], want)
			}
		case <-timeout:
			t.Fatal("the adapter's record did not come")
		}
	}
	for _, s := range spans.GetSpans() {
		switch s.Name {
		case "refresh", "esignd.plugin.v1.Adapter/Metadata", "esignd.plugin.v1.Adapter/Token":
		default:
			t.Errorf("there is a span %q that is not of our calls", s.Name)
		}
	}
}
