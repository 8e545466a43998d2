package host

import (
	"context"
	"fmt"
	"os"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/esignd/esignd/core"
)

// scopeName is the instrumentation scope of this package.
const scopeName = "github.com/esignd/esignd/plugins/host"

// vendorKey is the attribute that says which plugin.
const vendorKey = attribute.Key("esignd.vendor")

// metrics are the instruments of a Set. docs/metrics.md lists them, as they are made here.
type metrics struct {
	meter            metric.Meter
	restarts         metric.Int64ObservableCounter
	up, calls, bytes metric.Int64ObservableUpDownCounter
}

// newMetrics makes the instruments. nil is the global provider.
func newMetrics(mp metric.MeterProvider) (*metrics, error) {
	i := core.NewInstruments(mp, scopeName)
	x := &metrics{
		meter:    i.Meter,
		restarts: i.Total("esignd.plugin.restarts", "{restart}", "Processes of a plugin that were replaced.", vendorKey),
		up:       i.Count("esignd.plugin.up", "{process}", "Processes of a plugin that are ready: one, or none.", vendorKey),
		calls:    i.Count("esignd.plugin.call.active", "{call}", "Calls in a plugin's process.", vendorKey),
		bytes:    i.Count("esignd.plugin.memory.usage", "By", "Physical memory of a plugin's process. On Linux only.", vendorKey),
	}
	return x, i.Err()
}

// observe has the instruments read until the registration ends.
func (x *metrics) observe(s *Set) (metric.Registration, error) {
	return x.meter.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		for _, p := range s.all() {
			which := metric.WithAttributes(vendorKey.String(p.cfg.Vendor))
			status := p.Status()
			to.ObserveInt64(x.restarts, int64(status.Restarts), which)
			ready := int64(0)
			if status.State == Ready {
				ready = 1
			}
			to.ObserveInt64(x.up, ready, which)
			to.ObserveInt64(x.calls, int64(p.inFlight()), which)
			if bytes, ok := residentMemory(status.PID); ok {
				to.ObserveInt64(x.bytes, bytes, which)
			}
		}
		return nil
	}, x.restarts, x.up, x.calls, x.bytes)
}

// inFlight is how many calls are in the plugin's process.
func (p *Plugin) inFlight() int {
	p.mu.Lock()
	i := p.current
	p.mu.Unlock()
	if i == nil {
		return 0
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.inFlight
}

// residentMemory is the physical memory of a process, where /proc tells it.
func residentMemory(pid int) (int64, bool) {
	if pid == 0 {
		return 0, false
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, false
	}
	var size, resident int64
	if n, _ := fmt.Sscanf(string(text), "%d %d", &size, &resident); n != 2 {
		return 0, false
	}
	return resident * int64(os.Getpagesize()), true
}
