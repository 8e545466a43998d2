package tests

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc/stats"

	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/host"
	"github.com/esignd/esignd/tests/page"
	"github.com/esignd/esignd/web"
)

// instrument is a metric, as it is asked for where it is made.
type instrument struct {
	name, kind, unit, meaning string
	attributes                []string
}

// row is the instrument in docs/metrics.md.
func (i instrument) row() string {
	var attributes []string
	for _, a := range slices.Sorted(slices.Values(i.attributes)) {
		attributes = append(attributes, "`"+a+"`")
	}
	return fmt.Sprintf("| `%s` | %s | `%s` | %s | %s |\n", i.name, i.kind, i.unit, strings.Join(attributes, ", "), strings.TrimSuffix(i.meaning, ".")+".")
}

// inventory is a meter provider that keeps what instruments it was asked for, by name.
type inventory struct {
	noop.MeterProvider
	made map[string]instrument
}

func (i inventory) Meter(string, ...metric.MeterOption) metric.Meter { return lister{made: i.made} }

// lister is the meter of an inventory.
type lister struct {
	noop.Meter
	made map[string]instrument
}

// keep keeps an instrument with the attributes that one of its options names.
func keep[T any](l lister, name, kind, unit, meaning string, options []T) {
	i := instrument{name: name, kind: kind, unit: unit, meaning: meaning}
	for _, o := range options {
		if d, ok := any(o).(core.Description); ok {
			for _, key := range d.Attributes {
				i.attributes = append(i.attributes, string(key))
			}
		}
	}
	l.made[name] = i
}

// Int64Counter implements metric.Meter, as do the others.
func (l lister) Int64Counter(name string, options ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	c := metric.NewInt64CounterConfig(options...)
	keep(l, name, "counter", c.Unit(), c.Description(), options)
	return l.Meter.Int64Counter(name, options...)
}

func (l lister) Float64Histogram(name string, options ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	c := metric.NewFloat64HistogramConfig(options...)
	keep(l, name, "histogram", c.Unit(), c.Description(), options)
	return l.Meter.Float64Histogram(name, options...)
}

func (l lister) Int64ObservableCounter(name string, options ...metric.Int64ObservableCounterOption) (metric.Int64ObservableCounter, error) {
	c := metric.NewInt64ObservableCounterConfig(options...)
	keep(l, name, "counter", c.Unit(), c.Description(), options)
	return l.Meter.Int64ObservableCounter(name, options...)
}

func (l lister) Int64ObservableUpDownCounter(name string, options ...metric.Int64ObservableUpDownCounterOption) (metric.Int64ObservableUpDownCounter, error) {
	c := metric.NewInt64ObservableUpDownCounterConfig(options...)
	keep(l, name, "sum", c.Unit(), c.Description(), options)
	return l.Meter.Int64ObservableUpDownCounter(name, options...)
}

func (l lister) Float64ObservableGauge(name string, options ...metric.Float64ObservableGaugeOption) (metric.Float64ObservableGauge, error) {
	c := metric.NewFloat64ObservableGaugeConfig(options...)
	keep(l, name, "gauge", c.Unit(), c.Description(), options)
	return l.Meter.Float64ObservableGauge(name, options...)
}

// takeInventory makes each part of the daemon that has metrics, and those of libraries.
func takeInventory(t *testing.T) map[string]instrument {
	t.Helper()
	i := inventory{made: map[string]instrument{}}
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
	useLibraries(t, i)
	for name, attributes := range measuredByLibraries(t) {
		measured, ok := i.made[name]
		if !ok {
			t.Errorf("a library measures %s, which it did not make", name)
		}
		measured.attributes = attributes
		i.made[name] = measured
	}
	return i.made
}

// useLibraries makes the instruments of libraries as the daemon does, and has a call to a plugin measured.
func useLibraries(t *testing.T, to metric.MeterProvider) {
	t.Helper()
	if err := runtime.Start(runtime.WithMeterProvider(to)); err != nil {
		t.Fatal(err)
	}
	calls := otelgrpc.NewClientHandler(otelgrpc.WithMeterProvider(to), otelgrpc.WithMetricAttributes(attribute.String("esignd.vendor", "adobesign")))
	ctx := calls.TagRPC(t.Context(), &stats.RPCTagInfo{FullMethodName: "/esignd/Token"})
	calls.HandleRPC(ctx, &stats.End{Client: true, Error: errors.New("it hung up")})
}

// measuredByLibraries are the attributes that libraries use, by metric: their instruments do not say.
func measuredByLibraries(t *testing.T) map[string][]string {
	t.Helper()
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	defer func() {
		if err := provider.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	useLibraries(t, provider)
	var seen metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &seen); err != nil {
		t.Fatal(err)
	}
	attributes := map[string][]string{}
	for _, scope := range seen.ScopeMetrics {
		for _, m := range scope.Metrics {
			attributes[m.Name] = keysOf(m.Data)
		}
	}
	return attributes
}

// keysOf are the keys of all measurements.
func keysOf(data metricdata.Aggregation) (keys []string) {
	var sets []attribute.Set
	switch d := data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range d.DataPoints {
			sets = append(sets, p.Attributes)
		}
	case metricdata.Histogram[float64]:
		for _, p := range d.DataPoints {
			sets = append(sets, p.Attributes)
		}
	}
	for _, set := range sets {
		for _, a := range set.ToSlice() {
			keys = append(keys, string(a.Key))
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// tables are those of docs/metrics.md, with how the names begin of what is in them. The first that takes a metric has it.
var tables = [...]struct {
	name     string
	prefixes []string
}{
	{"grants-and-tokens", []string{"esignd.grant.", "esignd.token."}},
	{"refreshes", []string{"esignd.refresh.", "esignd.claim.", "esignd.outcome.", "esignd.timer."}},
	{"vendors-and-clients", []string{"esignd.vendor.", "esignd.client.", "esignd.breaker."}},
	{"events", []string{"esignd.event."}},
	{"requests", []string{"esignd.request.", "messaging.", "http."}},
	{"plugins", []string{"esignd.plugin."}},
	{"from-libraries", []string{"go.", "rpc."}},
	{"store", []string{""}},
}

// TestReferenceOfTheMetrics keeps the tables of docs/metrics.md as the instruments are made, with their kind, unit, meaning
// and attributes. That no other attributes are exported is checked in tests/e2e.
func TestReferenceOfTheMetrics(t *testing.T) {
	rows := map[string][]string{}
	made := takeInventory(t)
	for _, i := range made {
		for _, table := range tables {
			if slices.ContainsFunc(table.prefixes, func(p string) bool { return strings.HasPrefix(i.name, p) }) {
				rows[table.name] = append(rows[table.name], i.row())
				break
			}
		}
	}
	for _, table := range tables {
		slices.Sort(rows[table.name])
		page.Generated(t, "../docs/metrics.md", table.name,
			"| metric | kind | unit | attributes | meaning |\n|---|---|---|---|---|\n"+strings.Join(rows[table.name], ""))
	}
	if len(made) < 50 {
		t.Errorf("only %d metrics were made", len(made))
	}
}
