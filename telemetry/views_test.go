package telemetry

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// The name of a plugin's socket is neither in what is measured of calls to it nor in the exemplars of that, for which it
// would be too long.
func TestCallsToPluginsHaveExemplarsWithoutTheSocket(t *testing.T) {
	tel, out := start(t, Config{})
	h, err := tel.MeterProvider().Meter("test").Float64Histogram("rpc.client.call.duration", metric.WithUnit("s"))
	if err != nil {
		t.Fatal(err)
	}
	sampled := parents()["sampled"]
	socket := "unix:/var/lib/esignd/plugins/" + strings.Repeat("s", 120)
	h.Record(trace.ContextWithSpanContext(t.Context(), sampled), .003,
		metric.WithAttributes(attribute.String("server.address", socket), attribute.String("rpc.method", "Token")))
	request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	page := httptest.NewRecorder()
	tel.MetricsHandler().ServeHTTP(page, request)
	text := page.Body.String()
	if !strings.Contains(text, `trace_id="`+sampled.TraceID().String()+`"`) || !strings.Contains(text, `rpc_method="Token"`) {
		t.Errorf("the trace is no exemplar: %s", text)
	}
	if strings.Contains(text, "sssss") || strings.Contains(out.String(), "exemplar") {
		t.Errorf("the socket is in what is measured, or could not be: %s %s", text, out)
	}
}
