//go:build heavy

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	attr "go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/tests/system"
	"github.com/esignd/esignd/tests/transcript"
	"github.com/esignd/esignd/tests/witness"
)

// collector is a running OpenTelemetry Collector that writes what it gets to files.
type collector struct {
	t       testing.TB
	address string
	folder  string
}

// startCollector starts the Collector that is on the PATH, or builds the one of tests/otelcol.
func startCollector(t testing.TB) *collector {
	t.Helper()
	path, err := exec.LookPath("otelcol")
	if err != nil {
		path = filepath.Join(t.TempDir(), "otelcol")
		if out, err := exec.Command("go", "build", "-C", filepath.Join("..", "otelcol"), "-o", path, ".").CombinedOutput(); err != nil {
			t.Fatalf("build the Collector: %v\n%s", err, out)
		}
	}
	c := &collector{t: t, address: system.FreeAddress(t), folder: t.TempDir()}
	output := &transcript.Transcript{}
	cmd := exec.Command(path, "--config", "file:"+filepath.Join("..", "otelcol", "collector.yaml"))
	cmd.Env = append(os.Environ(), "OTLP="+c.address, "OUT="+c.folder)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait()); err != nil || t.Failed() {
			t.Logf("the Collector ended: %v\n%s", err, output.Tail(2000))
		}
	})
	system.Await(t, time.Minute, "the Collector listens", func() bool {
		conn, err := net.Dial("tcp", c.address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return c
}

// file returns what was written of a signal so far.
func (c *collector) file(signal string) []byte {
	b, err := os.ReadFile(filepath.Join(c.folder, signal+".jsonl"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		c.t.Fatal(err)
	}
	return b
}

// attributes are those of OTLP in JSON.
type attributes []struct {
	Key   string
	Value map[string]any
}

func (a attributes) get(key string) string {
	for _, kv := range a {
		if kv.Key == key {
			for _, v := range kv.Value {
				return fmt.Sprint(v)
			}
		}
	}
	return ""
}

// batch is a line of any of the files.
type batch struct {
	ResourceSpans []struct {
		Resource   struct{ Attributes attributes }
		ScopeSpans []struct{ Spans []exportedSpan }
	}
	ResourceMetrics []struct {
		Resource     struct{ Attributes attributes }
		ScopeMetrics []struct{ Metrics []exportedMetric }
	}
	ResourceLogs []struct {
		Resource  struct{ Attributes attributes }
		ScopeLogs []struct {
			LogRecords []struct {
				TraceID string
				Body    struct{ StringValue string }
			}
		}
	}
}

type exportedSpan struct {
	TraceID, SpanID, ParentSpanID, Name string
	Kind                                int
	Attributes                          attributes
	Links                               []struct{ TraceID, SpanID string }

	resource attributes
}

type exportedMetric struct {
	Name, Unit            string
	Sum, Gauge, Histogram struct {
		DataPoints []struct {
			Attributes attributes
			Exemplars  []struct{ TraceID string }
		}
	}
}

// batches reads the whole lines of a signal's file.
func (c *collector) batches(signal string) []batch {
	c.t.Helper()
	var all []batch
	for line := range bytes.Lines(c.file(signal)) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // it is being written
		}
		var b batch
		if err := json.Unmarshal(line, &b); err != nil {
			c.t.Fatalf("%s: %v", signal, err)
		}
		all = append(all, b)
	}
	return all
}

func (c *collector) spans() []exportedSpan {
	c.t.Helper()
	var all []exportedSpan
	for _, b := range c.batches("traces") {
		for _, r := range b.ResourceSpans {
			for _, scope := range r.ScopeSpans {
				for _, s := range scope.Spans {
					s.resource = r.Resource.Attributes
					all = append(all, s)
				}
			}
		}
	}
	return all
}

// pathOf names the spans from the top of the trace down to s, as service and name.
func pathOf(all []exportedSpan, s exportedSpan) []string {
	var names []string
	for {
		names = append(names, strings.TrimPrefix(s.resource.get("service.name"), "esignd-plugin-")+": "+s.Name)
		up := slices.IndexFunc(all, func(p exportedSpan) bool { return p.TraceID == s.TraceID && p.SpanID == s.ParentSpanID })
		if up < 0 {
			slices.Reverse(names)
			return names
		}
		s = all[up]
	}
}

// The span of a request and those that come of it, each with those above it.
var refreshPaths = []string{
	"esignd: process esign.api.{tenant}.token.get > esignd: token > esignd: refresh > esignd: claim",
	"esignd: process esign.api.{tenant}.token.get > esignd: token > esignd: refresh > esignd: call vendor > esignd: esignd.plugin.v1.Adapter/Token > " +
		"adobesign: esignd.plugin.v1.Adapter/Token > adobesign: POST",
	"esignd: process esign.api.{tenant}.token.get > esignd: token > esignd: refresh > esignd: commit",
	"esignd: process esign.api.{tenant}.token.get > esignd: token > esignd: refresh > esignd: publish esign.event.{tenant}.token.issued.{vendor}.{grant}",
}

// TestACollectorGetsEverything runs the daemon and a plugin with a real Collector: the spans of a refresh over all
// processes, links of timers and of consumers, who sends, metrics as they are documented, logs with their trace; and no
// secret in any of it.
func TestACollectorGetsEverything(t *testing.T) {
	t.Parallel()
	c, seen := startCollector(t), witness.New()
	box := system.World{Lifetime: 4 * time.Second, Watch: seen.Watch}.Open(t, "adobesign")
	d := startDaemon(t, system.Options{Env: exportTo(c.address), LogLevel: "debug", Clients: []system.Registration{
		{Name: "lazy", Vendor: "adobesign", Box: box, Policy: "lazy"}, {Name: "eager", Vendor: "adobesign", Box: box},
	}})
	callers := tracetest.NewInMemoryExporter()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSyncer(callers))
	nc := system.Must(nats.Connect(d.NATSURL()))(t)
	t.Cleanup(nc.Close)
	cl := system.Must(client.New(client.Config{Conn: nc, Tenant: "default", TracerProvider: tp}))(t)
	events := record(t, cl)
	for _, name := range []string{"lazy", "eager"} {
		connect(t, cl, name, "traced@example.com")
	}
	sel := client.Selector{Client: "lazy", Account: "traced@example.com"}
	tok := system.Must(cl.Token(t.Context(), sel))(t)
	awaitExpired(t, tok)
	ctx, span := tp.Tracer("test").Start(t.Context(), "caller")
	again := system.Must(cl.Token(ctx, sel))(t)
	span.End()
	trace := span.SpanContext().TraceID().String()
	events.await(t, again.Grant, client.TokenIssued, again.Generation)

	wantPaths(t, c, trace)
	wantConsumerLink(t, callers, trace)
	wantTimerLink(t, c)
	wantResources(t, c)
	wantLogs(t, c, trace)
	wantMetrics(t, c)
	d.Stop()
	for _, signal := range []string{"traces", "metrics", "logs"} {
		if found := seen.Search(c.file(signal)); len(found) > 0 {
			t.Errorf("%s hold %v", signal, found)
		}
	}
	if len(seen.Kinds()) < 4 {
		t.Errorf("only %v were looked for", seen.Kinds())
	}
}

func wantPaths(t *testing.T, c *collector, trace string) {
	t.Helper()
	var got []string
	defer func() {
		if t.Failed() {
			t.Logf("of the trace there is %q", got)
		}
	}()
	for _, want := range refreshPaths {
		found := func() bool {
			all := c.spans()
			got = nil
			for _, s := range all {
				if s.TraceID == trace {
					got = append(got, strings.Join(pathOf(all, s), " > "))
				}
			}
			return slices.Contains(got, want)
		}
		system.Await(t, time.Minute, "the span "+want, found)
	}
}

// wantConsumerLink holds that the consumer's span of the event is linked to the trace that the event came of.
func wantConsumerLink(t *testing.T, callers *tracetest.InMemoryExporter, trace string) {
	t.Helper()
	system.Await(t, time.Minute, "the consumer's span is linked to the refresh", func() bool {
		return slices.ContainsFunc(callers.GetSpans(), func(s tracetest.SpanStub) bool {
			return s.Name == "process esign.event.{tenant}.token.issued.{vendor}.{grant}" && s.SpanContext.TraceID().String() != trace &&
				len(s.Links) == 1 && s.Links[0].SpanContext.TraceID().String() == trace &&
				slices.Contains(s.Attributes, attr.String("messaging.system", "nats"))
		})
	})
}

// wantTimerLink holds that a timer's work is a trace of its own, linked to a span of the trace that armed it.
func wantTimerLink(t *testing.T, c *collector) {
	t.Helper()
	system.Await(t, time.Minute, "a due timer is linked to who armed it", func() bool {
		all := c.spans()
		return slices.ContainsFunc(all, func(s exportedSpan) bool {
			return s.Name == "process esign.timer.due.{vendor}.{grant}" && s.ParentSpanID == "" && len(s.Links) == 1 &&
				slices.ContainsFunc(all, func(by exportedSpan) bool {
					return by.SpanID == s.Links[0].SpanID && by.TraceID == s.Links[0].TraceID && by.TraceID != s.TraceID
				}) &&
				slices.ContainsFunc(all, func(of exportedSpan) bool { return of.Name == "refresh" && of.TraceID == s.TraceID })
		})
	})
}

func wantResources(t *testing.T, c *collector) {
	t.Helper()
	// The other plugins tell of the call for their metadata.
	missing := map[string]bool{"esignd": true, "esignd-plugin-adobesign": true, "esignd-plugin-dropboxsign": true, "esignd-plugin-esignglobal": true}
	expected := maps.Clone(missing)
	system.Await(t, time.Minute, "spans of every process come", func() bool {
		for _, s := range c.spans() {
			service := s.resource.get("service.name")
			delete(missing, service)
			if !expected[service] {
				t.Fatalf("a span came of %s", service)
			}
			for _, key := range []string{"service.name", "service.version", "service.instance.id", "host.name", "process.pid", "telemetry.sdk.language"} {
				if s.resource.get(key) == "" {
					t.Fatalf("a span of %s does not tell %s", service, key)
				}
			}
		}
		return len(missing) == 0
	})
}

func wantLogs(t *testing.T, c *collector, trace string) {
	t.Helper()
	system.Await(t, time.Minute, "a log record of the trace", func() bool {
		for _, b := range c.batches("logs") {
			for _, r := range b.ResourceLogs {
				for _, scope := range r.ScopeLogs {
					for _, record := range scope.LogRecords {
						if record.TraceID == trace && record.Body.StringValue == string(client.TokenIssued) {
							return true
						}
					}
				}
			}
		}
		return false
	})
}

var documentedRow = regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)` \\| [a-z]+ \\| `([^`]+)` \\| ([^|]*) \\|")

// wantMetrics holds that what the daemon sends is documented, with its unit and its attributes, that what must be there is,
// and that a measurement tells its trace.
func wantMetrics(t *testing.T, c *collector) {
	t.Helper()
	documented := map[string][2]string{}
	for _, row := range documentedRow.FindAllStringSubmatch(string(system.Must(os.ReadFile("../../docs/metrics.md"))(t)), -1) {
		documented[row[1]] = [2]string{row[2], row[3]}
	}
	seen, exemplars := map[string]bool{}, 0
	look := func() {
		for _, b := range c.batches("metrics") {
			for _, r := range b.ResourceMetrics {
				if r.Resource.Attributes.get("service.name") != "esignd" {
					continue
				}
				for _, scope := range r.ScopeMetrics {
					for _, m := range scope.Metrics {
						seen[m.Name] = true
						exemplars += wantDocumented(t, m, documented)
					}
				}
			}
		}
	}
	required := []string{
		"esignd.grant.count", "esignd.token.issued", "esignd.token.remaining", "esignd.refresh.duration", "esignd.refresh.phase.duration",
		"esignd.timer.lag", "esignd.claim.attempts", "esignd.event.published", "esignd.event.owed", "esignd.breaker.count", "esignd.key.age",
		"messaging.process.duration", "http.server.request.duration", "esignd.jetstream.operation.duration", "esignd.stream.messages",
		"esignd.nats.server.connections", "esignd.jetstream.storage.usage", "system.filesystem.usage",
		"esignd.plugin.up", "esignd.plugin.memory.usage", "rpc.client.call.duration", "go.goroutine.count",
	}
	system.Await(t, time.Minute, "the metrics are there", func() bool {
		look()
		return !slices.ContainsFunc(required, func(name string) bool { return !seen[name] }) && exemplars > 0
	})
}

// wantDocumented compares a metric with its row, and returns how many exemplars it has.
func wantDocumented(t *testing.T, m exportedMetric, documented map[string][2]string) (exemplars int) {
	t.Helper()
	row, ok := documented[m.Name]
	if !ok || row[0] != m.Unit {
		t.Errorf("docs/metrics.md says of %s, in %s: %q", m.Name, m.Unit, row)
		return 0
	}
	for _, p := range slices.Concat(m.Sum.DataPoints, m.Gauge.DataPoints, m.Histogram.DataPoints) {
		for _, a := range p.Attributes {
			if !strings.Contains(row[1], "`"+a.Key+"`") {
				t.Errorf("docs/metrics.md does not say that %s has the attribute %s", m.Name, a.Key)
			}
		}
		exemplars += len(p.Exemplars)
	}
	return exemplars
}
