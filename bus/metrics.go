package bus

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/esignd/esignd/core"
)

// The operations of JetStream that are measured.
const (
	opRead    = "read_record"
	opWrite   = "write_record"
	opRemove  = "remove_record"
	opPublish = "publish_event"
	opArm     = "arm_timer"
)

// streamLook bounds how long whoever looks at the metrics waits for the state of the streams.
const streamLook = time.Second

// metrics are the instruments of a Bus. docs/metrics.md lists them, as they are made here.
type metrics struct {
	meter      metric.Meter
	operations metric.Float64Histogram
	measured   map[string][]metric.RecordOption // of the operations that went well

	connected, writable, audited, connections, messages, size metric.Int64ObservableUpDownCounter
	room, storage, storageLimit                               metric.Int64ObservableUpDownCounter
	reconnects, slow, apiErrors, refused                      metric.Int64ObservableCounter
	keyAge                                                    metric.Float64ObservableGauge
}

// newMetrics makes the instruments. nil is the global provider.
func newMetrics(mp metric.MeterProvider) (*metrics, error) {
	i := core.NewInstruments(mp, scopeName)
	x := &metrics{
		meter: i.Meter,
		operations: i.Histogram("esignd.jetstream.operation.duration", "Duration of operations of JetStream.",
			[]float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}, operationKey, errorKey),
		measured:    map[string][]metric.RecordOption{},
		connected:   i.Count("esignd.nats.connected", "{connection}", "Connections to NATS that are up.", connectionKey),
		writable:    i.Count("esignd.nats.writable", "{server}", "Whether JetStream takes writes."),
		audited:     i.Count("esignd.audit.writable", "{stream}", "Whether the audit can be written, where it is on."),
		refused:     i.Total("esignd.audit.refused", "{act}", "Acts that were not done because the audit could not be written."),
		connections: i.Count("esignd.nats.server.connections", "{connection}", "Connections to the embedded server."),
		room:        i.Count("system.filesystem.usage", "By", "Room on the file systems that are written.", folderKey, spaceKey),
		storage:     i.Count("esignd.jetstream.storage.usage", "By", "Bytes that JetStream has on disk."),
		messages:    i.Count("esignd.stream.messages", "{message}", "Messages in a stream.", streamKey),
		size:        i.Count("esignd.stream.size", "By", "Bytes in a stream.", streamKey),
		reconnects:  i.Total("esignd.nats.reconnects", "{reconnect}", "Connections to NATS that were made again.", connectionKey),
		slow:        i.Total("esignd.nats.server.slow_consumers", "{connection}", "Connections that the embedded server closed because they did not keep up."),
		apiErrors:   i.Total("esignd.nats.server.jetstream.errors", "{request}", "Requests to the embedded server's JetStream that it refused."),

		storageLimit: i.Count("esignd.jetstream.storage.limit", "By", "Bytes that JetStream may have on disk, where there is a limit."),
		keyAge:       i.Seconds("esignd.key.age", "Age of the key that seals new secrets."),
	}
	for _, op := range []string{opRead, opWrite, opRemove, opPublish, opArm} {
		x.measured[op] = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(operationKey.String(op)))}
	}
	return x, i.Err()
}

const (
	operationKey  = attribute.Key("esignd.jetstream.operation")
	connectionKey = attribute.Key("esignd.nats.connection")
	streamKey     = attribute.Key("esignd.stream")
	errorKey      = attribute.Key("error.type")
)

// operated measures an operation that began at a time and ends now.
func (x *metrics) operated(ctx context.Context, op string, began time.Time, err error) {
	took := time.Since(began).Seconds()
	if err == nil || errors.Is(err, core.ErrNoRecord) {
		x.operations.Record(ctx, took, x.measured[op]...)
		return
	}
	x.operations.Record(ctx, took, metric.WithAttributes(operationKey.String(op), errorKey.String(operationError(err))))
}

// operationError is the value of error.type for an operation that failed.
func operationError(err error) string {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, core.ErrConflict):
		return "conflict"
	case errors.Is(err, core.ErrDamaged):
		return "damaged"
	case isTimeout(err):
		return "timeout"
	case errors.As(err, &api):
		return "refused"
	}
	return "unavailable"
}

// observe has the instruments read of a session until the registration ends.
func (x *metrics) observe(s *session) (metric.Registration, error) {
	return x.meter.RegisterCallback(func(ctx context.Context, to metric.Observer) error {
		x.observeConnections(s, to)
		x.observeServer(s, to)
		x.observeStreams(ctx, s, to)
		x.observeAudit(s, to)
		x.observeRoom(s, to)
		x.observeJetStream(ctx, s, to)
		if k := s.keys.now.Load(); k != nil {
			if at, ok := k.made[k.primary]; ok {
				to.ObserveFloat64(x.keyAge, time.Since(at).Seconds())
			}
		}
		return nil
	}, x.connected, x.writable, x.audited, x.refused, x.connections, x.room, x.storage, x.storageLimit, x.messages, x.size, x.reconnects, x.slow, x.apiErrors, x.keyAge)
}

func (x *metrics) observeConnections(s *session, to metric.Observer) {
	for name, nc := range map[string]*nats.Conn{"state": s.state, "public": s.public} {
		which := metric.WithAttributes(connectionKey.String(name))
		to.ObserveInt64(x.connected, truth(nc.IsConnected()), which)
		to.ObserveInt64(x.reconnects, whole(nc.Stats().Reconnects), which)
	}
	to.ObserveInt64(x.writable, truth(s.state.IsConnected() && s.takesWrites() && (s.server == nil || s.server.srv.JetStreamEnabled())))
}

func (x *metrics) observeServer(s *session, to metric.Observer) {
	if s.server == nil {
		return
	}
	v, err := s.server.srv.Varz(nil)
	if err != nil {
		return
	}
	to.ObserveInt64(x.connections, int64(v.Connections))
	to.ObserveInt64(x.slow, v.SlowConsumers)
	if js := v.JetStream.Stats; js != nil {
		to.ObserveInt64(x.apiErrors, whole(js.API.Errors))
	}
}

func (x *metrics) observeAudit(s *session, to metric.Observer) {
	if s.audit == nil {
		return
	}
	to.ObserveInt64(x.audited, truth(s.audit.since().IsZero()))
	to.ObserveInt64(x.refused, whole(s.audit.turnedAway()))
}

// observeStreams asks for the state of the streams. One that is not told in time is left out.
func (x *metrics) observeStreams(ctx context.Context, s *session, to metric.Observer) {
	if !s.state.IsConnected() || !s.public.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, streamLook)
	defer cancel()
	for _, stream := range []jetstream.Stream{s.records, s.events, s.timers, s.entries} {
		if stream == nil {
			continue
		}
		info, err := stream.Info(ctx)
		if err != nil {
			continue
		}
		which := metric.WithAttributes(streamKey.String(info.Config.Name))
		to.ObserveInt64(x.messages, whole(info.State.Msgs), which)
		to.ObserveInt64(x.size, whole(info.State.Bytes), which)
	}
}

// whole is a count as an instrument takes it.
func whole(n uint64) int64 {
	return int64(min(n, math.MaxInt64)) //nolint:gosec // it fits
}

func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
