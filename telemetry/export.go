package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	runtimemetrics "go.opentelemetry.io/contrib/instrumentation/runtime"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/exporters/stdout/stdoutlog"
	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// The variables that choose an exporter. Unset and "none" choose none, unlike the specification's default.
const (
	tracesVariable  = "OTEL_TRACES_EXPORTER"
	metricsVariable = "OTEL_METRICS_EXPORTER"
	logsVariable    = "OTEL_LOGS_EXPORTER"
)

// scope is the instrumentation scope of log records.
const scope = "github.com/esignd/esignd"

const (
	maxAttributeLength = 4096 // of a span's attribute, where OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT says nothing
	maxCardinality     = 2000 // attribute sets of one instrument
	maxScrapes         = 4    // of the metrics page, at once
)

func (t *Telemetry) startTraces(ctx context.Context, cfg Config, res *resource.Resource) error {
	exporter, err := spanExporter(ctx, cfg.Stderr)
	if err != nil || exporter == nil {
		return err
	}
	limits := sdktrace.NewSpanLimits()
	if limits.AttributeValueLengthLimit < 0 {
		limits.AttributeValueLengthLimit = maxAttributeLength
	}
	var provider *sdktrace.TracerProvider
	t.tracerProvider, provider = newTracerProvider(
		sdktrace.WithResource(res),
		sdktrace.WithRawSpanLimits(limits),
		sdktrace.WithBatcher(redactingExporter{exporter}, batchOptions(cfg)...),
	)
	t.closers = append(t.closers, closer{"traces", provider.Shutdown})
	return nil
}

// batchOptions shorten the time that a plugin keeps spans back.
func batchOptions(cfg Config) []sdktrace.BatchSpanProcessorOption {
	if !cfg.Plugin || os.Getenv("OTEL_BSP_SCHEDULE_DELAY") != "" {
		return nil
	}
	return []sdktrace.BatchSpanProcessorOption{sdktrace.WithBatchTimeout(time.Second)}
}

// spanExporter returns the exporter that the environment asks for, nil where it asks for none.
func spanExporter(ctx context.Context, stderr io.Writer) (sdktrace.SpanExporter, error) {
	switch os.Getenv(tracesVariable) {
	case "", "none":
		return nil, nil
	case "console":
		return stdouttrace.New(stdouttrace.WithWriter(stderr))
	}
	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tracesVariable, err)
	}
	return exporter, nil
}

// startMetrics serves metrics to Prometheus from the process's own page, which costs nothing until it is read, and
// pushes them where the environment asks for that.
func (t *Telemetry) startMetrics(ctx context.Context, cfg Config, res *resource.Resource) error {
	options := []sdkmetric.Option{sdkmetric.WithResource(res), sdkmetric.WithCardinalityLimit(maxCardinality), sdkmetric.WithView(withoutSockets())}
	pushed, err := metricReader(ctx, cfg.Stderr)
	if err != nil {
		return err
	}
	if pushed != nil {
		options = append(options, sdkmetric.WithReader(pushed))
	}
	if pushed == nil && cfg.Plugin {
		return nil
	}
	if !cfg.Plugin {
		registry := prometheus.NewRegistry()
		page, err := promexporter.New(promexporter.WithRegisterer(registry), promexporter.WithoutScopeInfo())
		if err != nil {
			return fmt.Errorf("make the metrics page: %w", err)
		}
		options = append(options, sdkmetric.WithReader(page))
		t.metrics = metricsPage(registry)
	}
	provider := sdkmetric.NewMeterProvider(options...)
	t.meterProvider = provider
	t.closers = append(t.closers, closer{"metrics", provider.Shutdown})
	if err := runtimemetrics.Start(runtimemetrics.WithMeterProvider(provider)); err != nil {
		return fmt.Errorf("observe the Go runtime: %w", err)
	}
	return nil
}

func metricsPage(registry *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes,
		ErrorHandling:       promhttp.ContinueOnError,
		EnableOpenMetrics:   true, // the format that has exemplars
	})
}

// metricReader returns the reader that the environment asks for, nil where it asks for none. "prometheus" is the page
// that is there anyway; the exporter of that name would open a port of its own in the daemon and in each plugin.
func metricReader(ctx context.Context, stderr io.Writer) (sdkmetric.Reader, error) {
	switch os.Getenv(metricsVariable) {
	case "", "none", "prometheus":
		return nil, nil
	case "console":
		exporter, err := stdoutmetric.New(stdoutmetric.WithWriter(stderr))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", metricsVariable, err)
		}
		return sdkmetric.NewPeriodicReader(exporter), nil
	}
	reader, err := autoexport.NewMetricReader(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", metricsVariable, err)
	}
	return reader, nil
}

func (t *Telemetry) startLogs(ctx context.Context, cfg Config, res *resource.Resource, local slog.Handler, level slog.Level) error {
	exporter, err := logExporter(ctx, cfg.Stderr)
	if err != nil || exporter == nil {
		return err
	}
	provider := sdklog.NewLoggerProvider(
		sdklog.WithResource(res),
		sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter)),
	)
	bridge := otelslog.NewHandler(scope, otelslog.WithLoggerProvider(provider), otelslog.WithVersion(cfg.Version))
	t.logger = slog.New(redactor{level: level, next: slog.NewMultiHandler(local, bridge)})
	t.closers = append(t.closers, closer{"logs", provider.Shutdown})
	return nil
}

// logExporter returns the exporter that the environment asks for, nil where it asks for none.
func logExporter(ctx context.Context, stderr io.Writer) (sdklog.Exporter, error) {
	switch os.Getenv(logsVariable) {
	case "", "none":
		return nil, nil
	case "console":
		return stdoutlog.New(stdoutlog.WithWriter(stderr))
	}
	exporter, err := autoexport.NewLogExporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", logsVariable, err)
	}
	return exporter, nil
}
