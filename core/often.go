package core

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// recordedTogether is how many measurements of an Often are recorded at once.
const recordedTogether = 64

// Often is a histogram of what takes about as long as it takes to record a measurement, and comes between things that
// leave nothing of it in the processor's caches. Measurements are kept, and recorded together.
type Often struct {
	histogram metric.Float64Histogram

	mu   sync.Mutex
	kept []measurement // guarded by mu
}

type measurement struct {
	value   float64
	options []metric.RecordOption
}

// NewOften returns an Often that records in a histogram. Whoever has the instruments of its scope read calls Flush then,
// and once more at the end.
func NewOften(h metric.Float64Histogram) *Often {
	return &Often{histogram: h, kept: make([]measurement, 0, recordedTogether)}
}

// Record records a measurement, soon. The options must not be changed afterwards. One of a trace that is recorded is
// not kept, since the histogram shows such traces as examples.
func (o *Often) Record(ctx context.Context, value float64, options ...metric.RecordOption) {
	if trace.SpanContextFromContext(ctx).IsSampled() || !o.mu.TryLock() { // nobody waits here
		o.histogram.Record(ctx, value, options...)
		return
	}
	defer o.mu.Unlock()
	o.kept = append(o.kept, measurement{value, options})
	if len(o.kept) == recordedTogether {
		o.flushLocked()
	}
}

// Flush records what is kept.
func (o *Often) Flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flushLocked()
}

func (o *Often) flushLocked() {
	for _, m := range o.kept {
		o.histogram.Record(context.Background(), m.value, m.options...)
	}
	clear(o.kept)
	o.kept = o.kept[:0]
}
