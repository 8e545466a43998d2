package telemetry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/time/rate"
)

// Config says what is telling and how. Service is required.
type Config struct {
	// Service is the service.name of the process, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES names another.
	Service string
	// Version is its service.version.
	Version string
	// Log is how the logger writes to Stderr.
	Log LogConfig
	// Stderr is where logs go. nil: os.Stderr as it is when Start is called.
	Stderr io.Writer
	// Plugin says that the process is a plugin. It inherits the variables of its host, so it keeps its own service.name;
	// it serves no metrics page; and it sends spans within a second, since it may be killed at any time.
	Plugin bool
	// Global makes this the telemetry of the process: OpenTelemetry's global tracer and meter provider, propagator, logger and
	// error handler. Without it a program that has several, or its own, keeps its globals.
	Global bool
	// ShutdownTimeout bounds Shutdown. Zero: 5 s, and 1 s in a plugin, whose host waits 2 s.
	ShutdownTimeout time.Duration
}

// LogConfig is the part "log" of the configuration.
type LogConfig struct {
	Level  string // "debug", "info", "warn" or "error"; empty: info
	Format string // "json" or "text"; empty: json
}

// Telemetry is what Start turned on. Its methods may be called concurrently.
type Telemetry struct {
	logger         *slog.Logger
	tracerProvider trace.TracerProvider
	meterProvider  metric.MeterProvider
	metrics        http.Handler
	timeout        time.Duration
	closers        []closer
}

// closer flushes and ends one exporter.
type closer struct {
	name  string
	close func(context.Context) error
}

// Start reads the OTEL_ variables and starts what they ask for. It connects to nothing itself; exporters do so when they have something to
// send. An error names the variable or the setting that is wrong.
func Start(ctx context.Context, cfg Config) (*Telemetry, error) {
	if cfg.Service == "" {
		return nil, errors.New("start telemetry: Service is empty")
	}
	if cfg.Stderr == nil {
		cfg.Stderr = os.Stderr
	}
	cfg.Stderr = &lockedWriter{w: cfg.Stderr}
	local, level, err := stderrHandler(cfg.Log, cfg.Stderr)
	if err != nil {
		return nil, err
	}
	t := &Telemetry{
		logger:         slog.New(redactor{level: level, next: local}),
		tracerProvider: tracenoop.NewTracerProvider(),
		meterProvider:  metricnoop.NewMeterProvider(),
		metrics:        http.HandlerFunc(noMetrics),
		timeout:        cmp.Or(cfg.ShutdownTimeout, defaultShutdownTimeout(cfg.Plugin)),
	}
	if !disabled() {
		if err := t.startExporters(ctx, cfg, local, level); err != nil {
			return nil, errors.Join(fmt.Errorf("start telemetry: %w", err), t.Shutdown(ctx))
		}
	}
	if cfg.Global {
		t.setGlobals(slog.New(redactor{level: level, next: local}))
	}
	return t, nil
}

// lockedWriter lets the logger and the exporters named "console" share one writer.
type lockedWriter struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func defaultShutdownTimeout(plugin bool) time.Duration {
	if plugin {
		return time.Second
	}
	return 5 * time.Second
}

// disabled reports OTEL_SDK_DISABLED, which the Go SDK leaves to its user.
func disabled() bool { return strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") }

func (t *Telemetry) startExporters(ctx context.Context, cfg Config, local slog.Handler, level slog.Level) error {
	res, err := newResource(ctx, cfg)
	if err != nil {
		return err
	}
	if err := t.startTraces(ctx, cfg, res); err != nil {
		return err
	}
	if err := t.startMetrics(ctx, cfg, res); err != nil {
		return err
	}
	return t.startLogs(ctx, cfg, res, local, level)
}

// newResource describes the process. What the environment says wins, but for the name of a plugin: the variable names
// the daemon that started it.
func newResource(ctx context.Context, cfg Config) (*resource.Resource, error) {
	name := resource.WithAttributes(semconv.ServiceName(cfg.Service))
	options := []resource.Option{
		resource.WithSchemaURL(semconv.SchemaURL),
		resource.WithService(), // for service.instance.id
		name,
		resource.WithTelemetrySDK(),
		resource.WithHost(),
		resource.WithProcessPID(),
		resource.WithProcessRuntimeVersion(),
	}
	if cfg.Version != "" {
		options = append(options, resource.WithAttributes(semconv.ServiceVersion(cfg.Version)))
	}
	options = append(options, resource.WithFromEnv())
	if cfg.Plugin {
		options = append(options, name)
	}
	res, err := resource.New(ctx, options...)
	if err != nil && !errors.Is(err, resource.ErrPartialResource) && !errors.Is(err, resource.ErrSchemaURLConflict) {
		return nil, fmt.Errorf("describe the process (OTEL_RESOURCE_ATTRIBUTES): %w", err)
	}
	return res, nil
}

// setGlobals makes t the process's telemetry. The SDK's own complaints go to standard error only, and few of them:
// sent to a collector that does not answer, each would cause the next.
func (t *Telemetry) setGlobals(local *slog.Logger) {
	otel.SetTracerProvider(t.tracerProvider)
	otel.SetMeterProvider(t.meterProvider)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	otel.SetLogger(logr.FromSlogHandler(local.Handler()))
	seldom := &rate.Sometimes{First: 3, Interval: time.Minute}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		seldom.Do(func() {
			local.Warn("telemetry is not getting out; what is held back is dropped in the end, and all else goes on", "error", err)
		})
	}))
}

// Logger returns the logger of the process. It writes to standard error and, where OTEL_LOGS_EXPORTER asks for it, to a
// collector; a record whose context has a span carries its trace_id and span_id.
func (t *Telemetry) Logger() *slog.Logger { return t.logger }

// TracerProvider returns the provider of tracers. Where no exporter is on, its spans record nothing and hand on the
// trace context they were given.
func (t *Telemetry) TracerProvider() trace.TracerProvider { return t.tracerProvider }

// MeterProvider returns the provider of meters.
func (t *Telemetry) MeterProvider() metric.MeterProvider { return t.meterProvider }

// MetricsHandler returns the page that Prometheus scrapes. It answers 404 in a plugin and with OTEL_SDK_DISABLED.
func (t *Telemetry) MetricsHandler() http.Handler { return t.metrics }

func noMetrics(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "Metrics are off: OTEL_SDK_DISABLED is true, or this is a plugin.", http.StatusNotFound)
}

// Shutdown sends what is still held back and ends the exporters, all at once, for at most Config.ShutdownTimeout. The
// logger goes on writing to standard error.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	errs := make(chan error, len(t.closers))
	for _, c := range t.closers {
		go func() {
			if err := c.close(ctx); err != nil {
				errs <- fmt.Errorf("flush %s: %w", c.name, err)
				return
			}
			errs <- nil
		}()
	}
	var all []error
	for range t.closers {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}
