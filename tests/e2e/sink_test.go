package e2e

import (
	"context"
	"encoding/hex"
	"errors"
	"maps"
	"net"
	"sync"
	"testing"

	logpb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	metricpb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spanpb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/esignd/esignd/tests/system"
)

// sink is an OpenTelemetry Collector that keeps what it gets.
type sink struct {
	tracepb.UnimplementedTraceServiceServer
	address string

	mu    sync.Mutex // guards what follows
	spans []span
	text  map[string][]byte // all of it, readable, by what it is
}

// span is a span with the service that made it.
type span struct {
	*spanpb.Span
	service string
}

func (s span) trace() string  { return hex.EncodeToString(s.TraceId) }
func (s span) id() string     { return hex.EncodeToString(s.SpanId) }
func (s span) parent() string { return hex.EncodeToString(s.ParentSpanId) }

type logSink struct {
	logpb.UnimplementedLogsServiceServer
	*sink
}

type metricSink struct {
	metricpb.UnimplementedMetricsServiceServer
	*sink
}

func startSink(t testing.TB) *sink {
	t.Helper()
	listener := system.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
	s := &sink{address: listener.Addr().String(), text: map[string][]byte{}}
	server := grpc.NewServer()
	tracepb.RegisterTraceServiceServer(server, s)
	logpb.RegisterLogsServiceServer(server, logSink{sink: s})
	metricpb.RegisterMetricsServiceServer(server, metricSink{sink: s})
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	return s
}

// env makes a daemon send everything to the sink, soon.
func (s *sink) env() []string { return exportTo(s.address) }

// exportTo makes a daemon send everything to an address, soon.
func exportTo(address string) []string {
	return []string{
		"OTEL_TRACES_EXPORTER=otlp", "OTEL_METRICS_EXPORTER=otlp", "OTEL_LOGS_EXPORTER=otlp",
		"OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_EXPORTER_OTLP_ENDPOINT=http://" + address,
		"OTEL_BSP_SCHEDULE_DELAY=100", "OTEL_METRIC_EXPORT_INTERVAL=1000",
	}
}

func (s *sink) keep(kind string, m proto.Message, spans ...span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, _ := protojson.Marshal(m) // of a message that was just received
	s.text[kind] = append(s.text[kind], text...)
	s.spans = append(s.spans, spans...)
}

func (s *sink) Export(_ context.Context, r *tracepb.ExportTraceServiceRequest) (*tracepb.ExportTraceServiceResponse, error) {
	var spans []span
	for _, resource := range r.GetResourceSpans() {
		service := ""
		for _, a := range resource.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range resource.GetScopeSpans() {
			for _, sp := range scope.GetSpans() {
				spans = append(spans, span{Span: sp, service: service})
			}
		}
	}
	s.keep("traces", r, spans...)
	return &tracepb.ExportTraceServiceResponse{}, nil
}

func (s logSink) Export(_ context.Context, r *logpb.ExportLogsServiceRequest) (*logpb.ExportLogsServiceResponse, error) {
	s.keep("logs", r)
	return &logpb.ExportLogsServiceResponse{}, nil
}

func (s metricSink) Export(_ context.Context, r *metricpb.ExportMetricsServiceRequest) (*metricpb.ExportMetricsServiceResponse, error) {
	s.keep("metrics", r)
	return &metricpb.ExportMetricsServiceResponse{}, nil
}

// received is all that came, as JSON, by what it is: traces, metrics and logs.
func (s *sink) received() map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.text) // what is there is not changed, only added to
}

// of returns the spans of a trace.
func (s *sink) of(trace string) []span {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []span
	for _, sp := range s.spans {
		if sp.trace() == trace {
			list = append(list, sp)
		}
	}
	return list
}
