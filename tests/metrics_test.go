package tests

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/host"
	"github.com/esignd/esignd/web"
)

// inventory is a meter provider that keeps what instruments it was asked for, by name, as rows of docs/metrics.md.
type inventory struct {
	noop.MeterProvider
	rows map[string]string
}

func (i inventory) Meter(string, ...metric.MeterOption) metric.Meter { return lister{rows: i.rows} }

// lister is the meter of an inventory.
type lister struct {
	noop.Meter
	rows map[string]string
}

func (l lister) keep(name, kind, unit, meaning string) {
	l.rows[name] = fmt.Sprintf("%s of `%s`: %s", kind, unit, meaning)
}

// Int64Counter implements metric.Meter, as do the others.
func (l lister) Int64Counter(name string, options ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	c := metric.NewInt64CounterConfig(options...)
	l.keep(name, "counter", c.Unit(), c.Description())
	return l.Meter.Int64Counter(name, options...)
}

func (l lister) Float64Histogram(name string, options ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	c := metric.NewFloat64HistogramConfig(options...)
	l.keep(name, "histogram", c.Unit(), c.Description())
	return l.Meter.Float64Histogram(name, options...)
}

func (l lister) Int64ObservableCounter(name string, options ...metric.Int64ObservableCounterOption) (metric.Int64ObservableCounter, error) {
	c := metric.NewInt64ObservableCounterConfig(options...)
	l.keep(name, "counter", c.Unit(), c.Description())
	return l.Meter.Int64ObservableCounter(name, options...)
}

func (l lister) Int64ObservableUpDownCounter(name string, options ...metric.Int64ObservableUpDownCounterOption) (metric.Int64ObservableUpDownCounter, error) {
	c := metric.NewInt64ObservableUpDownCounterConfig(options...)
	l.keep(name, "sum", c.Unit(), c.Description())
	return l.Meter.Int64ObservableUpDownCounter(name, options...)
}

func (l lister) Float64ObservableGauge(name string, options ...metric.Float64ObservableGaugeOption) (metric.Float64ObservableGauge, error) {
	c := metric.NewFloat64ObservableGaugeConfig(options...)
	l.keep(name, "gauge", c.Unit(), c.Description())
	return l.Meter.Float64ObservableGauge(name, options...)
}

// takeInventory makes each part of the daemon that has metrics.
func takeInventory(t *testing.T) map[string]string {
	t.Helper()
	i := inventory{rows: map[string]string{}}
	m, err := core.New(core.Config{Adapters: core.AdapterMap{}, MeterProvider: i})
	if err != nil {
		t.Fatal(err)
	}
	_, err = bus.New(bus.Config{DataDir: t.TempDir(), Auth: bus.Auth{None: true}, MeterProvider: i})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bus.NewService(bus.ServiceConfig{Conn: func() *nats.Conn { return nil }, Manager: m, MeterProvider: i}); err != nil {
		t.Fatal(err)
	}
	if _, err := host.NewSet(host.SetConfig{Dir: t.TempDir(), MeterProvider: i}); err != nil {
		t.Fatal(err)
	}
	if _, err := web.New(web.Config{Manager: m, MeterProvider: i}); err != nil {
		t.Fatal(err)
	}
	return i.rows
}

var metricRow = regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)` \\| ([a-z]+) \\| `([^`]+)` \\| ([^|]*) \\| ([^|]*) \\|$")

// documentedMetrics are the rows of the first part of docs/metrics.md, in which are esignd's own.
func documentedMetrics(t *testing.T) map[string]string {
	t.Helper()
	own, _, ok := strings.Cut(read(t, "../docs/metrics.md"), "\n## From libraries\n")
	if !ok {
		t.Fatal("docs/metrics.md has no part on the metrics of libraries")
	}
	rows := map[string]string{}
	for _, m := range metricRow.FindAllStringSubmatch(own, -1) {
		rows[m[1]] = fmt.Sprintf("%s of `%s`: %s", m[2], m[3], m[5])
	}
	return rows
}

// TestMetricsAreDocumented holds that docs/metrics.md has the metrics that the code makes and no other, with their kind,
// unit and meaning. What attributes they have is checked where they are exported, in tests/e2e.
func TestMetricsAreDocumented(t *testing.T) {
	made, told := takeInventory(t), documentedMetrics(t)
	if diff := cmp.Diff(made, told); diff != "" {
		t.Errorf("docs/metrics.md and the code differ (-code +document):\n%s", diff)
	}
	if len(made) < 30 {
		t.Errorf("only %d metrics were made: %q", len(made), slices.Sorted(maps.Keys(made)))
	}
}
