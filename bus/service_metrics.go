package bus

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/esignd/esignd/core"
)

// Keys of attributes of a Service's measurements.
const (
	systemKey           = attribute.Key("messaging.system")
	messageOperationKey = attribute.Key("messaging.operation.name")
	templateKey         = attribute.Key("messaging.destination.template")
	cachedKey           = attribute.Key("esignd.cached")
	endpointKey         = attribute.Key("esignd.endpoint")
	reasonKey           = attribute.Key("esignd.reason")
)

// serviceMetrics are the instruments of a Service. What NATS discovery tells of its endpoints is told here as well.
type serviceMetrics struct {
	meter               metric.Meter
	duration            *core.Often
	dropped, overloaded metric.Int64ObservableCounter
	active              metric.Int64ObservableUpDownCounter
}

func newServiceMetrics(mp metric.MeterProvider) (*serviceMetrics, error) {
	i := core.NewInstruments(mp, scopeName)
	x := &serviceMetrics{
		meter: i.Meter,
		duration: core.NewOften(i.Histogram("messaging.process.duration", "Duration of requests, until the answer is sent.",
			[]float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
			systemKey, messageOperationKey, templateKey, cachedKey, errorKey)),
		dropped:    i.Total("esignd.request.dropped", "{request}", "Requests that were not answered.", endpointKey, reasonKey),
		overloaded: i.Total("esignd.request.overloaded", "{request}", "Requests that were refused because too many were being worked on.", endpointKey),
		active:     i.Count("esignd.request.active", "{request}", "Requests that are being worked on.", endpointKey),
	}
	return x, i.Err()
}

// measures are the attributes of an endpoint's requests, made once: every request is measured.
type measures struct {
	worked, cached []metric.RecordOption
	failed         map[core.Code][]metric.RecordOption
}

func newMeasures(template string) measures {
	with := func(more ...attribute.KeyValue) []metric.RecordOption {
		return []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(append(more,
			systemKey.String("nats"),
			messageOperationKey.String("process"),
			templateKey.String(template))...))}
	}
	m := measures{
		worked: with(cachedKey.Bool(false)), cached: with(cachedKey.Bool(true)),
		failed: map[core.Code][]metric.RecordOption{},
	}
	for _, code := range core.Codes() {
		m.failed[code] = with(cachedKey.Bool(false), errorKey.String(string(code)))
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
		x.duration.Flush()
		for _, e := range endpoints {
			name := endpointKey.String(string(e.name))
			only := metric.WithAttributes(name)
			to.ObserveInt64(x.active, e.count.pending.Load(), only)
			to.ObserveInt64(x.overloaded, whole(e.count.overloaded.Load()), only)
			for reason, n := range map[string]uint64{
				"no_reply": e.count.noReply.Load(), "bad_reply": e.count.badReply.Load(), "unsent": e.count.unsent.Load(),
			} {
				to.ObserveInt64(x.dropped, whole(n), metric.WithAttributes(name, reasonKey.String(reason)))
			}
		}
		return nil
	}, x.dropped, x.overloaded, x.active)
}
