package core

import (
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Description is an option of an instrument: what it tells, of which OpenTelemetry is told, and which attributes its
// measurements may have, which a meter can read that makes a list of instruments. The reference of the metrics is made so.
type Description struct {
	metric.InstrumentOption
	Attributes []attribute.Key
}

// Describe returns the description of an instrument.
func Describe(meaning string, attributes ...attribute.Key) Description {
	return Description{InstrumentOption: metric.WithDescription(meaning), Attributes: attributes}
}

// instruments makes instruments and collects what goes wrong.
type instruments struct {
	meter metric.Meter
	errs  []error
}

func made[T any](i *instruments, name string, instrument T, err error) T {
	if err != nil {
		i.errs = append(i.errs, fmt.Errorf("make the metric %s: %w", name, err))
	}
	return instrument
}

func (i *instruments) counter(name, unit, meaning string, attributes ...attribute.Key) metric.Int64Counter {
	c, err := i.meter.Int64Counter(name, metric.WithUnit(unit), Describe(meaning, attributes...))
	return made(i, name, c, err)
}

func (i *instruments) histogram(name, meaning string, buckets []float64, attributes ...attribute.Key) metric.Float64Histogram {
	h, err := i.meter.Float64Histogram(name, metric.WithUnit("s"), Describe(meaning, attributes...), metric.WithExplicitBucketBoundaries(buckets...))
	return made(i, name, h, err)
}

func (i *instruments) count(name, unit, meaning string, attributes ...attribute.Key) metric.Int64ObservableUpDownCounter {
	c, err := i.meter.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), Describe(meaning, attributes...))
	return made(i, name, c, err)
}
