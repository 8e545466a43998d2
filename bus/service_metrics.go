package bus

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/esignd/esignd/core"
)

// serviceMetrics are the instruments of a Service. What NATS discovery tells of its endpoints is told here as well.
type serviceMetrics struct {
	meter               metric.Meter
	duration            metric.Float64Histogram
	dropped, overloaded metric.Int64ObservableCounter
	active              metric.Int64ObservableUpDownCounter
}

func newServiceMetrics(mp metric.MeterProvider) (*serviceMetrics, error) {
	i := newInstruments(mp)
	x := &serviceMetrics{
		meter: i.meter,
		duration: i.histogram("messaging.process.duration", "Duration of requests, until the answer is sent.",
			.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30),
		dropped:    i.total("esignd.request.dropped", "{request}", "Requests that were not answered."),
		overloaded: i.total("esignd.request.overloaded", "{request}", "Requests that were refused because too many were being worked on."),
		active:     i.count("esignd.request.active", "{request}", "Requests that are being worked on."),
	}
	return x, errors.Join(i.errs...)
}

// measures are the attributes of an endpoint's requests, made once: every request is measured.
type measures struct {
	worked, cached []metric.RecordOption
	failed         map[core.Code][]metric.RecordOption
}

func newMeasures(template string) measures {
	with := func(more ...attribute.KeyValue) []metric.RecordOption {
		return []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(append(more,
			attribute.String("messaging.system", "nats"),
			attribute.String("messaging.operation.name", "process"),
			attribute.String("messaging.destination.template", template))...))}
	}
	m := measures{
		worked: with(attribute.Bool("esignd.cached", false)), cached: with(attribute.Bool("esignd.cached", true)),
		failed: map[core.Code][]metric.RecordOption{},
	}
	for _, code := range core.Codes() {
		m.failed[code] = with(attribute.Bool("esignd.cached", false), errorKey.String(string(code)))
	}
	return m
}

// answered measures a request whose answer was sent.
func (x *serviceMetrics) answered(ctx context.Context, r *request) {
	options := r.measures.worked
	switch {
	case r.failed != "":
		options = r.measures.failed[r.failed]
	case r.cached:
		options = r.measures.cached
	}
	x.duration.Record(ctx, time.Since(r.began).Seconds(), options...)
}

// observe has the counters of the endpoints read until the registration ends.
func (x *serviceMetrics) observe(endpoints []*endpoint) (metric.Registration, error) {
	return x.meter.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		for _, e := range endpoints {
			name := attribute.String("esignd.endpoint", string(e.name))
			only := metric.WithAttributes(name)
			to.ObserveInt64(x.active, e.count.pending.Load(), only)
			to.ObserveInt64(x.overloaded, whole(e.count.overloaded.Load()), only)
			for reason, n := range map[string]uint64{
				"no_reply": e.count.noReply.Load(), "bad_reply": e.count.badReply.Load(), "unsent": e.count.unsent.Load(),
			} {
				to.ObserveInt64(x.dropped, whole(n), metric.WithAttributes(name, attribute.String("esignd.reason", reason)))
			}
		}
		return nil
	}, x.dropped, x.overloaded, x.active)
}
