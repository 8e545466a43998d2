package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	spanpb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/tests/system"
	"github.com/esignd/esignd/tests/witness"
)

// TestOneTrace asks for a token that needs a refresh, in a trace of the caller's. All that comes of it is in that trace:
// the request, the claim, the call through the plugin's process to the vendor, the commit, and the event; and it is the
// exemplar of what is measured. Nothing else is sampled.
func TestOneTrace(t *testing.T) {
	t.Parallel()
	const trace, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	collector, seen := startSink(t), witness.New()
	box := system.World{Lifetime: 3 * time.Second, Watch: seen.Watch}.Open(t, "adobesign")
	d := startDaemon(t, system.Options{Clients: []system.Registration{{Name: "adobe", Vendor: "adobesign", Box: box, Policy: "lazy"}}, Env: append(collector.env(), "OTEL_TRACES_SAMPLER=parentbased_always_off")})
	cl, nc := d.Dial(), connectPlain(t, d)
	connect(t, cl, "adobe", "traced@example.com")
	tok := system.Must(cl.Token(t.Context(), client.Selector{Client: "adobe", Account: "traced@example.com"}))(t)
	awaitExpired(t, tok)

	issued := system.Must(nc.SubscribeSync("esign.event.default.token.issued.>"))(t)
	request := &nats.Msg{Subject: "esign.api.default.token.get", Data: []byte(selector("adobe", "traced@example.com")), Header: nats.Header{}}
	request.Header["traceparent"] = []string{"00-" + trace + "-" + caller + "-01"}
	var generation uint64
	system.Await(t, time.Minute, "a token of the same generation is served from memory", func() bool {
		reply := system.Must(nc.RequestMsg(request, 15*time.Second))(t)
		if code := reply.Header.Get("Nats-Service-Error-Code"); code != "" {
			t.Fatalf("answered %s", code)
		}
		before := generation
		if err := json.Unmarshal(reply.Data, &struct{ Generation *uint64 }{&generation}); err != nil {
			t.Fatal(err)
		}
		return generation == before
	})
	event := system.Must(issued.NextMsg(time.Minute))(t)
	wantTracedEvent(t, event, trace)
	wantExemplars(t, d, trace)

	const daemon, plugin = "esignd", "esignd-plugin-adobesign"
	wanted := []struct {
		service, name string
		kind          spanpb.Span_SpanKind
		under         string // the name of a span above it
	}{
		{daemon, "process esign.api.{tenant}.token.get", spanpb.Span_SPAN_KIND_CONSUMER, ""},
		{daemon, "refresh", spanpb.Span_SPAN_KIND_INTERNAL, "process esign.api.{tenant}.token.get"},
		{daemon, "claim", spanpb.Span_SPAN_KIND_INTERNAL, "refresh"},
		{daemon, "call vendor", spanpb.Span_SPAN_KIND_INTERNAL, "refresh"},
		{daemon, "/Token", spanpb.Span_SPAN_KIND_CLIENT, "call vendor"},
		{plugin, "/Token", spanpb.Span_SPAN_KIND_SERVER, "call vendor"},
		{plugin, "POST", spanpb.Span_SPAN_KIND_CLIENT, "/Token"},
		{daemon, "commit", spanpb.Span_SPAN_KIND_INTERNAL, "refresh"},
		{daemon, "publish esign.event.{tenant}.token.issued.{vendor}.{grant}", spanpb.Span_SPAN_KIND_PRODUCER, "refresh"},
	}
	for _, w := range wanted {
		system.Await(t, time.Minute, fmt.Sprintf("span %s of %s (%s)", w.name, w.service, w.kind), func() bool {
			spans := collector.of(trace)
			for _, s := range spans {
				if s.service == w.service && s.Kind == w.kind && strings.HasSuffix(s.Name, w.name) && below(spans, s, w.under, caller) {
					return true
				}
			}
			return false
		})
	}
	told := newPlaces(t)
	told.telemetry(collector)
	for _, found := range told.found(seen, nil) {
		t.Error(found)
	}
	if len(seen.Kinds()) < 4 {
		t.Errorf("only %v were looked for", seen.Kinds())
	}
}

// below reports whether the span has one of that name above it (any, where name is empty), and the caller's at the top.
func below(spans []span, s span, name, caller string) bool {
	met := name == ""
	for range spans {
		if s.parent() == caller {
			return met
		}
		found := false
		for _, p := range spans {
			if p.id() == s.parent() {
				s, found = p, true
				met = met || strings.HasSuffix(p.Name, name)
				break
			}
		}
		if !found {
			return false
		}
	}
	return false
}

// wantTracedEvent checks that an event carries the trace in its header and its body.
func wantTracedEvent(t *testing.T, m *nats.Msg, trace string) {
	t.Helper()
	var body struct{ TraceParent string }
	if err := json.Unmarshal(m.Data, &body); err != nil {
		t.Fatal(err)
	}
	header := ""
	if h := m.Header["traceparent"]; len(h) > 0 {
		header = h[0]
	}
	for where, traceparent := range map[string]string{"header": header, "body": body.TraceParent} {
		if parts := strings.Split(traceparent, "-"); len(parts) != 4 || parts[1] != trace {
			t.Errorf("the event's %s has the traceparent %q", where, traceparent)
		}
	}
}
