package telemetry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	logpb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"go.uber.org/goleak"

	"github.com/esignd/esignd/tests/transcript"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, cfg Config) (*Telemetry, *transcript.Transcript) {
	t.Helper()
	cfg.Global = true // the tests make spans as programs do
	// What of another test still runs writes to the log that is the process's by now.
	var out transcript.Transcript
	cfg.Stderr = &out
	if cfg.Service == "" {
		cfg.Service = "esignd"
	}
	tel, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tel.Shutdown(context.Background()) })
	return tel, &out
}

func shutdown(t *testing.T, tel *Telemetry) {
	t.Helper()
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNothingIsExportedByDefault(t *testing.T) {
	before := goleak.IgnoreCurrent()
	tel, out := start(t, Config{})
	if _, ok := tel.TracerProvider().(tracenoop.TracerProvider); !ok {
		t.Errorf("spans are recorded by %T", tel.TracerProvider())
	}
	_, span := otel.Tracer("test").Start(t.Context(), "span")
	if span.IsRecording() {
		t.Error("the span is recording")
	}
	span.End()
	tel.Logger().Info("hello")
	goleak.VerifyNone(t, before)
	if len(tel.closers) != 1 || tel.closers[0].name != "metrics" {
		t.Errorf("started %v", tel.closers)
	}
	if !strings.Contains(out.String(), `"msg":"hello"`) {
		t.Errorf("logged %q", out)
	}
}

func TestNoopSpansHandOnTheCallersTrace(t *testing.T) {
	tel, out := start(t, Config{})
	ctx, span := tel.TracerProvider().Tracer("test").Start(spanContext(), "span")
	defer span.End()
	tel.Logger().InfoContext(ctx, "hello")
	if !strings.Contains(out.String(), `"trace_id":"01000000000000000000000000000000"`) {
		t.Errorf("logged %q", out)
	}
}

func TestDisabledSDKStartsNothing(t *testing.T) {
	t.Setenv("OTEL_SDK_DISABLED", "TRUE")
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_METRICS_EXPORTER", "otlp")
	t.Setenv("OTEL_LOGS_EXPORTER", "otlp")
	before := goleak.IgnoreCurrent()
	tel, _ := start(t, Config{})
	goleak.VerifyNone(t, before)
	if _, ok := tel.MeterProvider().(metricnoop.MeterProvider); !ok || len(tel.closers) != 0 {
		t.Errorf("started %T, %v", tel.MeterProvider(), tel.closers)
	}
	w := httptest.NewRecorder()
	tel.MetricsHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("metrics answer %d", w.Code)
	}
}

func TestSpansArriveRedacted(t *testing.T) {
	received := startSink(t)
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	tel, _ := start(t, Config{Version: "1.2.3"})

	link := "https://vendor.example/token?code=" + secret
	_, span := otel.Tracer("test").Start(t.Context(), "exchange "+link, trace.WithLinks(trace.Link{
		SpanContext: trace.SpanContextFromContext(spanContext()),
		Attributes:  []attribute.KeyValue{attribute.String("url.full", link)},
	}))
	span.SetAttributes(
		attribute.String("url.full", link),
		attribute.String("url.query", "code="+secret),
		attribute.String("http.request.header.authorization", "Bearer "+secret),
		attribute.StringSlice("links", []string{link}),
		attribute.Slice("slice", attribute.StringValue(link)),
		attribute.Map("map", attribute.String("client_secret", secret)),
		attribute.ByteSlice("bytes", []byte(secret)),
		attribute.Int("http.response.status_code", 200),
	)
	span.RecordError(errors.New("Post \"" + link + "\": EOF"))
	span.AddEvent("refresh_token=" + secret)
	span.SetStatus(codes.Error, "Post \""+link+"\": EOF")
	span.End()
	shutdown(t, tel)

	got := received.text()
	if strings.Contains(got, secret) {
		t.Errorf("a secret was exported: %s", got)
	}
	for _, want := range []string{
		"esignd", "1.2.3", "deployment.environment.name", "service.instance.id",
		"https://vendor.example/token", "http.response.status_code", "exception.message",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q did not arrive in %s", want, got)
		}
	}
}

func TestServiceNameComesFromTheEnvironmentButNotInAPlugin(t *testing.T) {
	for _, plugin := range []bool{false, true} {
		received := startSink(t)
		t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
		t.Setenv("OTEL_SERVICE_NAME", "from-environment")
		tel, _ := start(t, Config{Service: "from-config", Plugin: plugin})
		_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "span")
		span.End()
		shutdown(t, tel)
		got := received.text()
		if strings.Contains(got, "from-config") != plugin || strings.Contains(got, "from-environment") == plugin {
			t.Errorf("plugin %v: %s", plugin, got)
		}
	}
}

func TestPluginSendsSpansWithinASecondOrSo(t *testing.T) {
	received := startSink(t)
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	tel, _ := start(t, Config{Plugin: true})
	_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "early")
	span.End()
	deadline := time.After(4 * time.Second) // the SDK's own delay is 5 s
	for len(spans(received)) == 0 {
		select {
		case <-deadline:
			t.Fatal("the span did not arrive without a shutdown")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestLogsArriveWithTheirTraceAndRedacted(t *testing.T) {
	received := startSink(t)
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_LOGS_EXPORTER", "otlp")
	tel, out := start(t, Config{})
	ctx, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "span")
	tel.Logger().InfoContext(ctx, "hello", "access_token", secret, "grant", "g_1")
	tel.Logger().DebugContext(ctx, "below the level")
	span.End()
	shutdown(t, tel)

	id := span.SpanContext().TraceID()
	var records int
	for _, m := range received.messages {
		r, ok := m.(*logpb.ExportLogsServiceRequest)
		if !ok {
			continue
		}
		record := r.GetResourceLogs()[0].GetScopeLogs()[0].GetLogRecords()[0]
		records += len(r.GetResourceLogs()[0].GetScopeLogs()[0].GetLogRecords())
		if !bytes.Equal(record.GetTraceId(), id[:]) || record.GetBody().GetStringValue() != "hello" {
			t.Errorf("got %v", record)
		}
	}
	if records != 1 {
		t.Errorf("%d records arrived", records)
	}
	if strings.Contains(received.text(), secret) || strings.Contains(out.String(), secret) {
		t.Error("a secret got out")
	}
	if !strings.Contains(out.String(), id.String()) {
		t.Errorf("the log lacks the trace: %s", out)
	}
}

func TestMetricsAreOnThePageAndPushed(t *testing.T) {
	received := startSink(t)
	t.Setenv("OTEL_METRICS_EXPORTER", "otlp")
	tel, _ := start(t, Config{})
	counter, err := otel.Meter("test").Int64Counter("esignd.test.calls")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(t.Context(), 3)
	w := httptest.NewRecorder()
	tel.MetricsHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{"esignd_test_calls_total", "go_goroutine_count", `service_name="esignd"`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	shutdown(t, tel)
	for _, want := range []string{"esignd.test.calls", "go.goroutine.count"} {
		if !strings.Contains(received.text(), want) {
			t.Errorf("%s was not pushed", want)
		}
	}
}

func TestPluginHasNoMetricsUnlessAskedFor(t *testing.T) {
	tel, _ := start(t, Config{Plugin: true})
	if _, ok := tel.MeterProvider().(metricnoop.MeterProvider); !ok {
		t.Errorf("metrics are kept by %T", tel.MeterProvider())
	}
}

func TestConsoleExportersWriteToStderr(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "console")
	t.Setenv("OTEL_METRICS_EXPORTER", "console")
	t.Setenv("OTEL_LOGS_EXPORTER", "console")
	tel, out := start(t, Config{Plugin: true})
	_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "the-span")
	span.SetAttributes(attribute.String("code", secret))
	span.End()
	tel.Logger().Info("the-record")
	shutdown(t, tel)
	for _, want := range []string{"the-span", "go.goroutine.count", "the-record"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is not on standard error", want)
		}
	}
	if strings.Contains(out.String(), secret) {
		t.Error("a secret got out")
	}
}

func TestUnknownExporterIsNamed(t *testing.T) {
	for _, variable := range []string{"OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, "jaegar")
			_, err := Start(t.Context(), Config{Service: "esignd", Stderr: &bytes.Buffer{}})
			if err == nil || !strings.Contains(err.Error(), variable) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestShutdownIsBoundedWhenTheCollectorHangs(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // accepts by its backlog, never answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+listener.Addr().String())
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_METRICS_EXPORTER", "otlp")
	t.Setenv("OTEL_LOGS_EXPORTER", "otlp")
	tel, _ := start(t, Config{ShutdownTimeout: 200 * time.Millisecond})
	_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "span")
	span.End()
	tel.Logger().Info("hello")
	began := time.Now()
	if err := tel.Shutdown(t.Context()); err == nil {
		t.Error("nothing was sent and nothing was said")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("shutdown took %s", took)
	}
}

func TestErrorsOfTheSDKAreLoggedSeldom(t *testing.T) {
	_, out := start(t, Config{})
	for range 50 {
		otel.Handle(errors.New("traces export: https://collector.example/?api_key=" + secret))
	}
	if n := strings.Count(out.String(), "telemetry is not getting out"); n != 3 {
		t.Errorf("%d lines", n)
	}
	if strings.Contains(out.String(), secret) {
		t.Error("a secret got out")
	}
}

func ExampleStart() {
	ctx := context.Background()
	tel, err := Start(ctx, Config{Service: "esignd", Version: "1.0.0", Stderr: io.Discard})
	if err != nil {
		panic(err)
	}
	defer func() { _ = tel.Shutdown(ctx) }()

	ctx, span := tel.TracerProvider().Tracer("example").Start(ctx, "work")
	defer span.End()
	tel.Logger().InfoContext(ctx, "working", "access_token", "never shown")
	// Output:
}

func TestTelemetryThatIsNotGlobalLeavesTheProgramsAlone(t *testing.T) {
	tracers, meters := otel.GetTracerProvider(), otel.GetMeterProvider()
	tel, err := Start(t.Context(), Config{Service: "esignd", Stderr: &bytes.Buffer{}})
	if err != nil {
		t.Fatal(err)
	}
	if otel.GetTracerProvider() != tracers || otel.GetMeterProvider() != meters {
		t.Error("the globals were changed")
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
