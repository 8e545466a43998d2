package telemetry

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	logpb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	metricpb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// sink is an OTLP receiver that keeps what it gets.
type sink struct {
	tracepb.UnimplementedTraceServiceServer

	mu       sync.Mutex // guards messages
	messages []proto.Message
}

type logSink struct {
	logpb.UnimplementedLogsServiceServer
	*sink
}

type metricSink struct {
	metricpb.UnimplementedMetricsServiceServer
	*sink
}

func (s *sink) keep(m proto.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, m)
}

func (s *sink) Export(_ context.Context, r *tracepb.ExportTraceServiceRequest) (*tracepb.ExportTraceServiceResponse, error) {
	s.keep(r)
	return &tracepb.ExportTraceServiceResponse{}, nil
}

func (s logSink) Export(_ context.Context, r *logpb.ExportLogsServiceRequest) (*logpb.ExportLogsServiceResponse, error) {
	s.keep(r)
	return &logpb.ExportLogsServiceResponse{}, nil
}

func (s metricSink) Export(_ context.Context, r *metricpb.ExportMetricsServiceRequest) (*metricpb.ExportMetricsServiceResponse, error) {
	s.keep(r)
	return &metricpb.ExportMetricsServiceResponse{}, nil
}

// text is all that was received, readable.
func (s *sink) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all strings.Builder
	for _, m := range s.messages {
		all.WriteString(m.(interface{ String() string }).String())
	}
	return all.String()
}

func spans(s *sink) (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.messages {
		r, ok := m.(*tracepb.ExportTraceServiceRequest)
		if !ok {
			continue
		}
		for _, resource := range r.GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				for _, span := range scope.GetSpans() {
					names = append(names, span.GetName())
				}
			}
		}
	}
	return names
}

func startSink(t *testing.T) *sink {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{}
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
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+listener.Addr().String())
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	return s
}
