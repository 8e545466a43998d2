package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
)

// withoutSockets leaves the address out of what is measured of calls between host and plugin: it is the name of a socket,
// which each process of a plugin has anew.
func withoutSockets() sdkmetric.View {
	return sdkmetric.NewView(sdkmetric.Instrument{Name: "rpc.*"}, sdkmetric.Stream{
		AttributeFilter:                   attribute.NewDenyKeysFilter("server.address", "server.port"),
		ExemplarReservoirProviderSelector: bareReservoirs,
	})
}

// bareReservoirs keep exemplars as others do, but for the attributes that a view leaves out: the SDK would give them to
// exemplars instead, which have no room for them on the metrics page, and would be left out there whole.
func bareReservoirs(of sdkmetric.Aggregation) exemplar.ReservoirProvider {
	provide := sdkmetric.DefaultExemplarReservoirProviderSelector(of)
	return func(kept attribute.Set) exemplar.Reservoir { return bareReservoir{provide(kept)} }
}

type bareReservoir struct{ exemplar.Reservoir }

// Offer implements exemplar.Reservoir.
func (r bareReservoir) Offer(ctx context.Context, at time.Time, value exemplar.Value, _ []attribute.KeyValue) {
	r.Reservoir.Offer(ctx, at, value, nil)
}
