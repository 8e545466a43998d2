package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	collectlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collecttraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracespb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/esignd/esignd/tests/system"
	"github.com/esignd/esignd/tests/witness"
)

// leak lets a secret come to light at a place, and looks there.
type leak struct {
	place string
	plant func(t *testing.T, p *places, secret string)
}

// leaks has each kind of place that the tests of secrets look at, with each way in which a secret can stand there.
var leaks = []leak{
	{"command line", func(t *testing.T, p *places, secret string) { leakyProcess(t, p, nil, secret) }},
	{"environment", func(t *testing.T, p *places, secret string) { leakyProcess(t, p, []string{"A=b", "SECRET=" + secret}) }},
	{"file", func(t *testing.T, p *places, secret string) { leakyFile(t, p, []byte("x"+secret+"y")) }},
	{"file in base64", func(t *testing.T, p *places, secret string) {
		leakyFile(t, p, []byte(base64.StdEncoding.EncodeToString([]byte(`{"a":"`+secret+`"}`))))
	}},
	{"file in gzip", func(t *testing.T, p *places, secret string) { leakyFile(t, p, zipped(secret)) }},
	{"name of a file", func(t *testing.T, p *places, secret string) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, secret), 0o700); err != nil {
			t.Fatal(err)
		}
		p.files("folder", dir)
	}},
	{"page", func(t *testing.T, p *places, secret string) {
		leakyPage(t, p, func(w http.ResponseWriter) { _, _ = fmt.Fprintf(w, "<p>%q</p>", secret) })
	}},
	{"header of a page", func(t *testing.T, p *places, secret string) {
		leakyPage(t, p, func(w http.ResponseWriter) { w.Header().Set("X-Debug", secret) })
	}},
	{"redirect", func(t *testing.T, p *places, secret string) {
		leakyPage(t, p, func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://127.0.0.1:1/back?code="+secret)
			w.WriteHeader(http.StatusSeeOther)
		})
	}},
	{"message", func(_ *testing.T, p *places, secret string) {
		p.message("events", &nats.Msg{Subject: "esign.event.x", Data: []byte(`{"data":{"reason":"` + secret + `"}}`)})
	}},
	{"header of a message", func(_ *testing.T, p *places, secret string) {
		p.message("replies", &nats.Msg{Header: nats.Header{"Nats-Service-Error": {"no such token: " + secret}}})
	}},
	{"subject of a message", func(_ *testing.T, p *places, secret string) {
		p.message("events", &nats.Msg{Subject: "esign.event." + secret})
	}},
	{"output of a command", func(t *testing.T, p *places, secret string) { leakyCommand(t, p, `printf %s "$0"`, secret) }},
	{"error of a command", func(t *testing.T, p *places, secret string) { leakyCommand(t, p, `printf %s "$0" >&2; exit 1`, secret) }},
	{"log", func(t *testing.T, p *places, secret string) {
		leakyCommand(t, p, `printf '{"msg":"dump","bytes":"%s"}' "$0"`, hex.EncodeToString([]byte(secret)))
	}},
	{"attribute of a span", func(t *testing.T, p *places, secret string) {
		leakyTelemetry(t, p, func(ctx context.Context, conn *grpc.ClientConn) error {
			span := &tracespb.Span{Name: "POST", Attributes: attribute(secret)}
			_, err := collecttraces.NewTraceServiceClient(conn).Export(ctx, &collecttraces.ExportTraceServiceRequest{
				ResourceSpans: []*tracespb.ResourceSpans{{ScopeSpans: []*tracespb.ScopeSpans{{Spans: []*tracespb.Span{span}}}}}})
			return err
		})
	}},
	{"label of a metric", func(t *testing.T, p *places, secret string) {
		leakyTelemetry(t, p, func(ctx context.Context, conn *grpc.ClientConn) error {
			sum := &metricspb.Sum{DataPoints: []*metricspb.NumberDataPoint{{Attributes: attribute(secret)}}}
			metric := &metricspb.Metric{Name: "m", Data: &metricspb.Metric_Sum{Sum: sum}}
			_, err := collectmetrics.NewMetricsServiceClient(conn).Export(ctx, &collectmetrics.ExportMetricsServiceRequest{
				ResourceMetrics: []*metricspb.ResourceMetrics{{ScopeMetrics: []*metricspb.ScopeMetrics{{Metrics: []*metricspb.Metric{metric}}}}}})
			return err
		})
	}},
	{"exported log record", func(t *testing.T, p *places, secret string) {
		leakyTelemetry(t, p, func(ctx context.Context, conn *grpc.ClientConn) error {
			body := &commonpb.AnyValue{Value: &commonpb.AnyValue_BytesValue{BytesValue: []byte("request: " + secret)}}
			_, err := collectlogs.NewLogsServiceClient(conn).Export(ctx, &collectlogs.ExportLogsServiceRequest{
				ResourceLogs: []*logspb.ResourceLogs{{ScopeLogs: []*logspb.ScopeLogs{{LogRecords: []*logspb.LogRecord{{Body: body}}}}}}})
			return err
		})
	}},
}

// TestEachPlaceShowsWhatIsPlanted holds that the tests of secrets would find one at each kind of place that they look at,
// and that they do not find what is not there.
func TestEachPlaceShowsWhatIsPlanted(t *testing.T) {
	t.Parallel()
	secret, other := rand.Text(), rand.Text()
	for _, l := range leaks {
		t.Run(l.place, func(t *testing.T) {
			t.Parallel()
			secrets := witness.New()
			secrets.Note("refresh_token", secret)
			clean, dirty := newPlaces(t), newPlaces(t)
			l.plant(t, clean, other)
			l.plant(t, dirty, secret)
			if got := clean.found(secrets, nil); len(got) > 0 {
				t.Errorf("nothing is there, and found is %v", got)
			}
			got := dirty.found(secrets, nil)
			if len(got) != 1 {
				t.Errorf("planted once, and found is %q", got)
			}
			everywhere := map[string][]string{}
			for place := range dirty.text {
				everywhere[place] = []string{"refresh_token"}
			}
			if got := dirty.found(secrets, everywhere); len(got) > 0 {
				t.Errorf("it belongs there, and found is %q", got)
			}
		})
	}
}

// leakyProcess looks at a process while it runs.
func leakyProcess(t *testing.T, p *places, env []string, args ...string) {
	t.Helper()
	c := exec.Command("sh", append([]string{"-c", "read line"}, args...)...)
	c.Env = env
	in := system.Must(c.StdinPipe())(t)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	p.process("process", c.Process.Pid)
	_ = in.Close() // at which it ends
	_ = c.Wait()
}

func leakyFile(t *testing.T, p *places, content []byte) {
	t.Helper()
	dir := t.TempDir()
	deep := filepath.Join(dir, "data", "nats")
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(deep, "1.blk"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	p.files("folder", dir)
}

func zipped(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.Bytes()
}

func leakyPage(t *testing.T, p *places, answer func(http.ResponseWriter)) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w) }))
	defer s.Close()
	p.open("page", s.URL)
}

func leakyCommand(t *testing.T, p *places, script string, args ...string) {
	t.Helper()
	p.run("command", exec.CommandContext(t.Context(), "sh", append([]string{"-c", script}, args...)...))
}

func attribute(secret string) []*commonpb.KeyValue {
	return []*commonpb.KeyValue{{Key: "url.full", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: "/?code=" + secret}}}}
}

func leakyTelemetry(t *testing.T, p *places, export func(context.Context, *grpc.ClientConn) error) {
	t.Helper()
	s := startSink(t)
	conn := system.Must(grpc.NewClient(s.address, grpc.WithTransportCredentials(insecure.NewCredentials())))(t)
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := export(ctx, conn); err != nil {
		t.Fatal(err)
	}
	p.telemetry(s)
}
