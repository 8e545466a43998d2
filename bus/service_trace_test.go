package bus

import (
	"bufio"
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
)

const (
	sampledParent   = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	unsampledParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	parentsTrace    = "0af7651916cd43dd8448eb211c80319c"
)

// A caller's trace is read as the propagator reads it, but for the state.
func TestParentIsReadAsThePropagatorReadsIt(t *testing.T) {
	t.Parallel()
	texts := []string{"", sampledParent, unsampledParent, "00", strings.ToUpper(sampledParent), sampledParent + "-more", sampledParent + "1", "0" + sampledParent,
		"00-00000000000000000000000000000000-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"}
	for i := range sampledParent {
		for _, by := range "0129afgF-_ é" {
			texts = append(texts, sampledParent[:i]+string(by)+sampledParent[i+1:])
		}
	}
	for _, text := range texts {
		for _, name := range []string{"traceparent", "Traceparent"} {
			h := map[string][]string{name: {text}}
			want := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), wire.Header(h)))
			if got := parentOf(h); !got.Equal(want) {
				t.Errorf("%s %q: %v, want %v", name, text, got, want)
			}
		}
	}
}

// asked is a request for a token as it comes from NATS.
type asked struct {
	micro.Request
	headers micro.Headers
}

func (asked) Subject() string          { return "esign.api.default.token.get" }
func (asked) Reply() string            { return "_INBOX.caller.1" }
func (asked) Data() []byte             { return []byte(`{"client":"app"}`) }
func (a asked) Headers() micro.Headers { return a.headers }

func askedBy(parent string) asked {
	a := asked{headers: micro.Headers{}}
	if parent != "" {
		a.headers[wire.HeaderTraceParent] = []string{parent}
	}
	return a
}

// drawn is a provider that samples as callers do, and of those without a trace every second: it draws the id that it is given.
type drawn struct {
	*sdktrace.TracerProvider
	id trace.TraceID
}

func newDrawn(t *testing.T, spans sdktrace.SpanProcessor, id byte) drawn {
	t.Helper()
	p := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(.5))), sdktrace.WithSpanProcessor(spans))
	t.Cleanup(func() { _ = p.Shutdown(context.Background()) })
	return drawn{TracerProvider: p, id: trace.TraceID{0: 1, 8: id}}
}

// Ids of traces that are sampled, and that are not.
const below, above = 0x7f, 0x80

// Sample implements Sampler.
func (d drawn) Sample(parent trace.SpanContext) (trace.SpanContext, bool) {
	if parent.IsValid() {
		return parent, parent.IsSampled()
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: d.id}), d.id[8] == below
}

// deaf is a NATS server that takes what it is sent, and does nothing.
type deaf struct{}

// Dial implements nats.CustomDialer.
func (deaf) Dial(string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		defer ours.Close()
		_, _ = ours.Write([]byte("INFO {\"max_payload\":1048576,\"headers\":true}\r\n"))
		for lines := bufio.NewScanner(ours); lines.Scan(); {
			if bytes.Equal(lines.Bytes(), []byte("PING")) {
				_, _ = ours.Write([]byte("PONG\r\n"))
			}
		}
	}()
	return theirs, nil
}

// toDeaf is a connection on which answers go to nobody.
func toDeaf(t *testing.T) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("nats://deaf", nats.SetCustomDialer(deaf{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// asking returns what hands a request to a Service that was not started, which answers on nc.
func asking(t *testing.T, d *daemon, nc *nats.Conn, log *slog.Logger, tp trace.TracerProvider) func(asked) {
	t.Helper()
	s, err := NewService(ServiceConfig{Conn: d.Conn, Manager: d.manager, Logger: log, TracerProvider: tp, MeterProvider: metricnoop.NewMeterProvider()})
	if err != nil {
		t.Fatal(err)
	}
	return func(a asked) { s.take(nc, s.endpoints[0], a) }
}

// withToken starts a daemon that has a token in memory.
func withToken(t *testing.T) *daemon {
	t.Helper()
	d := startDaemon(t, openBus(t, embeddedConfig(t.TempDir())), nil)
	c, _ := d.caller(t, "default")
	if _, err := c.Token(testContext(t), client.Selector{Client: "app"}); err != nil {
		t.Fatal(err)
	}
	return d
}

// A request that is not sampled is answered from memory at no other cost than with tracing off. One that is takes more.
func TestUnsampledRequestTakesNoMoreMemoryThanAnUntracedOne(t *testing.T) {
	d := withToken(t)
	nc, spans := toDeaf(t), tracetest.NewSpanRecorder()
	count := func(tp trace.TracerProvider, parent string) float64 {
		ask, a := asking(t, d, nc, quiet(), tp), askedBy(parent)
		return testing.AllocsPerRun(1000, func() { ask(a) })
	}
	off := count(tracenoop.NewTracerProvider(), unsampledParent)
	if off == 0 {
		t.Error("nothing was measured")
	}
	if on := count(newDrawn(t, spans, below), unsampledParent); on != off {
		t.Errorf("the caller is not sampled: %v allocations, and %v with tracing off", on, off)
	}
	if on := count(newDrawn(t, spans, above), ""); on != off {
		t.Errorf("no caller, and no sample: %v allocations, and %v with tracing off", on, off)
	}
	if n := len(spans.Started()); n != 0 {
		t.Errorf("%d spans were begun", n)
	}
	if on := count(newDrawn(t, spans, above), sampledParent); on <= off {
		t.Errorf("a sampled request: %v allocations, and %v with tracing off", on, off)
	}
}

// A request without a trace is decided on once: the span of one that is sampled is the first of the trace that was drawn.
func TestRequestBeginsTheTraceThatWasDecidedOn(t *testing.T) {
	d := withToken(t)
	nc := toDeaf(t)
	for _, c := range []struct {
		id     byte
		parent string
		trace  trace.TraceID // of the span, if there is one
	}{
		{below, "", trace.TraceID{0: 1, 8: below}},
		{above, "", trace.TraceID{}},
		{below, unsampledParent, trace.TraceID{}},
		{above, sampledParent, parentOf(askedBy(sampledParent).headers).TraceID()},
	} {
		spans := tracetest.NewSpanRecorder()
		asking(t, d, nc, quiet(), newDrawn(t, spans, c.id))(askedBy(c.parent))
		ended := spans.Ended()
		if !c.trace.IsValid() {
			if len(ended) > 0 {
				t.Errorf("%+v: there is a span", c)
			}
			continue
		}
		if len(ended) != 1 || ended[0].SpanContext().TraceID() != c.trace || ended[0].Parent().HasSpanID() != (c.parent != "") {
			t.Errorf("%+v: the spans are %v", c, ended)
		}
	}
}

// traces keeps the trace ids of what is logged.
type traces struct {
	slog.Handler
	ids *[]string
}

func (h traces) Handle(ctx context.Context, _ slog.Record) error {
	*h.ids = append(*h.ids, trace.SpanContextFromContext(ctx).TraceID().String())
	return nil
}

// A request that has no span is logged in its caller's trace nevertheless.
func TestAnswerThatIsNotSentIsLoggedInTheCallersTrace(t *testing.T) {
	d, gone := withToken(t), toDeaf(t)
	gone.Close()
	for what, tp := range map[string]trace.TracerProvider{"off": tracenoop.NewTracerProvider(), "on": newDrawn(t, tracetest.NewSpanRecorder(), above)} {
		for _, parent := range []string{unsampledParent, sampledParent} {
			var logged []string
			asking(t, d, gone, slog.New(traces{quiet().Handler(), &logged}), tp)(askedBy(parent))
			if len(logged) != 1 || logged[0] != parentsTrace {
				t.Errorf("tracing %s, %s: logged in %q", what, parent, logged)
			}
		}
	}
}
