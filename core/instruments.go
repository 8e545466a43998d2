package core

import (
	"errors"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Description is an option of an instrument: what it tells, of which OpenTelemetry is told, and which attributes its
// measurements may have, which a meter can read that makes a list of instruments. The reference of the metrics is made so.
type Description struct {
	metric.InstrumentOption
	Attributes []attribute.Key
}

func describe(meaning string, attributes []attribute.Key) Description {
	return Description{InstrumentOption: metric.WithDescription(meaning), Attributes: attributes}
}

// Instruments makes the instruments of one scope. What goes wrong is told at the end, by Err.
type Instruments struct {
	Meter metric.Meter
	errs  []error
}

// NewInstruments returns a maker of instruments. nil is the global provider.
func NewInstruments(mp metric.MeterProvider, scope string) *Instruments {
	if mp == nil {
		mp = otel.GetMeterProvider()
	}
	return &Instruments{Meter: mp.Meter(scope)}
}

// Err returns what went wrong.
func (i *Instruments) Err() error { return errors.Join(i.errs...) }

func made[T any](i *Instruments, name string, instrument T, err error) T {
	if err != nil {
		i.errs = append(i.errs, fmt.Errorf("make the metric %s: %w", name, err))
	}
	return instrument
}

// Counter counts what happens.
func (i *Instruments) Counter(name, unit, meaning string, attributes ...attribute.Key) metric.Int64Counter {
	c, err := i.Meter.Int64Counter(name, metric.WithUnit(unit), describe(meaning, attributes))
	return made(i, name, c, err)
}

// Histogram measures how long something takes. Buckets are in seconds.
func (i *Instruments) Histogram(name, meaning string, buckets []float64, attributes ...attribute.Key) metric.Float64Histogram {
	h, err := i.Meter.Float64Histogram(name, metric.WithUnit("s"), describe(meaning, attributes), metric.WithExplicitBucketBoundaries(buckets...))
	return made(i, name, h, err)
}

// Count is how many there are of something whenever somebody looks.
func (i *Instruments) Count(name, unit, meaning string, attributes ...attribute.Key) metric.Int64ObservableUpDownCounter {
	c, err := i.Meter.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), describe(meaning, attributes))
	return made(i, name, c, err)
}

// Total is how often something happened so far.
func (i *Instruments) Total(name, unit, meaning string, attributes ...attribute.Key) metric.Int64ObservableCounter {
	c, err := i.Meter.Int64ObservableCounter(name, metric.WithUnit(unit), describe(meaning, attributes))
	return made(i, name, c, err)
}

// Seconds is a time as of when somebody looks.
func (i *Instruments) Seconds(name, meaning string, attributes ...attribute.Key) metric.Float64ObservableGauge {
	g, err := i.Meter.Float64ObservableGauge(name, metric.WithUnit("s"), describe(meaning, attributes))
	return made(i, name, g, err)
}
