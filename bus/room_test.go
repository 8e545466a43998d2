package bus

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/esignd/esignd/core"
)

// sums returns the values of a metric by the values of its attributes, in the order of their keys.
func sums(t *testing.T, r sdkmetric.Reader, name string) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.Collect(testContext(t), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if data, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == name {
				for _, p := range data.DataPoints {
					got[p.Attributes.Encoded(attribute.DefaultEncoder())] = p.Value
				}
			}
		}
	}
	return got
}

// roomKey is how sums names the bytes of a folder's file system.
func roomKey(folder, state string) string {
	set := attribute.NewSet(folderKey.String(folder), attribute.String("system.filesystem.state", state))
	return set.Encoded(attribute.DefaultEncoder())
}

func TestMetricsTellTheRoomThereIs(t *testing.T) {
	t.Parallel()
	metered := func(cfg Config) sdkmetric.Reader {
		reader := sdkmetric.NewManualReader()
		cfg.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
		b := openBus(t, cfg)
		put(t, b.Store(), core.Record{Key: "grant.a", Public: []byte(`{}`)})
		return reader
	}
	embedded := metered(embeddedConfig(t.TempDir()))
	room := sums(t, embedded, "system.filesystem.usage")
	for _, folder := range []string{folderData, folderJetStream} {
		if room[roomKey(folder, "used")] <= 0 || room[roomKey(folder, "free")] <= 0 {
			t.Errorf("embedded, %s: %v", folder, room)
		}
	}
	if len(room) != 6 {
		t.Errorf("embedded: %v", room)
	}
	if used, limit := sums(t, embedded, "esignd.jetstream.storage.usage")[""], sums(t, embedded, "esignd.jetstream.storage.limit")[""]; used <= 0 || limit <= used {
		t.Errorf("embedded: %d of %d bytes are used", used, limit)
	}

	external := metered(externalConfig(t, startExternal(t, nil).ClientURL()))
	if room := sums(t, external, "system.filesystem.usage"); len(room) != 3 || room[roomKey(folderData, "free")] <= 0 {
		t.Errorf("external: %v", room)
	}
	if used := sums(t, external, "esignd.jetstream.storage.usage")[""]; used <= 0 {
		t.Errorf("external: %d bytes are used", used)
	}
	if limits := sums(t, external, "esignd.jetstream.storage.limit"); len(limits) != 0 {
		t.Errorf("external, without a limit: %v", limits)
	}

	bounded := startExternal(t, nil)
	account, err := bounded.LookupAccount(server.DEFAULT_GLOBAL_ACCOUNT)
	if err != nil {
		t.Fatal(err)
	}
	const most = 1 << 30
	if err := account.UpdateJetStreamLimits(map[string]server.JetStreamAccountLimits{"": {MaxMemory: -1, MaxStore: most, MaxStreams: -1, MaxConsumers: -1}}); err != nil {
		t.Fatal(err)
	}
	if limit := sums(t, metered(externalConfig(t, bounded.ClientURL())), "esignd.jetstream.storage.limit")[""]; limit != most {
		t.Errorf("external: the limit is %d, want %d", limit, most)
	}
}
