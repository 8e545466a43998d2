package core

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// histogramOf returns the only data point of the only histogram.
func histogramOf(t *testing.T, r sdkmetric.Reader) metricdata.HistogramDataPoint[float64] {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	if len(all.ScopeMetrics) == 0 {
		return metricdata.HistogramDataPoint[float64]{}
	}
	h := all.ScopeMetrics[0].Metrics[0].Data.(metricdata.Histogram[float64])
	if len(h.DataPoints) != 1 {
		t.Fatalf("%d data points", len(h.DataPoints))
	}
	return h.DataPoints[0]
}

func newOften(t *testing.T) (*Often, sdkmetric.Reader) {
	t.Helper()
	r := sdkmetric.NewManualReader()
	i := NewInstruments(sdkmetric.NewMeterProvider(sdkmetric.WithReader(r)), "test")
	o := NewOften(i.Histogram("often", "What happens often.", []float64{1, 10}, vendorKey))
	if err := i.Err(); err != nil {
		t.Fatal(err)
	}
	return o, r
}

func TestOftenLosesNoMeasurement(t *testing.T) {
	o, r := newOften(t)
	options := []metric.RecordOption{metric.WithAttributes(vendorKey.String("acme"))}
	const each, callers = 1000, 4
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range each {
				o.Record(t.Context(), 5, options...)
			}
		})
	}
	all.Wait()
	o.Flush()
	p := histogramOf(t, r)
	if p.Count != each*callers || p.Sum != 5*each*callers || p.BucketCounts[1] != p.Count {
		t.Errorf("%d measurements of %v in all, %v; %d of 5 each are wanted", p.Count, p.Sum, p.BucketCounts, each*callers)
	}
	if v, _ := p.Attributes.Value(vendorKey); v.AsString() != "acme" {
		t.Errorf("attributes %v", p.Attributes.Encoded(attribute.DefaultEncoder()))
	}
}

func TestOftenKeepsMeasurementsUntilThereAreEnough(t *testing.T) {
	o, r := newOften(t)
	for range recordedTogether - 1 {
		o.Record(t.Context(), 1)
	}
	if n := histogramOf(t, r).Count; n != 0 {
		t.Errorf("%d are recorded before there are enough", n)
	}
	o.Record(t.Context(), 1)
	if n := histogramOf(t, r).Count; n != recordedTogether {
		t.Errorf("%d of %d are recorded", n, recordedTogether)
	}
}

func TestOftenRecordsWhatIsTracedAtOnce(t *testing.T) {
	o, r := newOften(t)
	ctx, span := sdktrace.NewTracerProvider().Tracer("test").Start(context.Background(), "ask")
	defer span.End()
	o.Record(ctx, 1)
	p, id := histogramOf(t, r), span.SpanContext().TraceID()
	if p.Count != 1 || len(p.Exemplars) != 1 || !bytes.Equal(p.Exemplars[0].TraceID, id[:]) {
		t.Errorf("%d measurements, examples %v; one of trace %s is wanted", p.Count, p.Exemplars, id)
	}
}
