package bus

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// costRound is how many requests are made of one daemon before the next has its turn.
const costRound = 50

// BenchmarkTelemetry asks for a token that is in memory, by turns of a daemon without telemetry and of others with
// metrics and with traces. It reports what processor time each costs over the first, in percent: the median over the
// turns, in which what else the machine does is the same for all.
func BenchmarkTelemetry(b *testing.B) {
	metered := func() metric.MeterProvider {
		return sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	}
	traced := func(share float64) trace.TracerProvider {
		p := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.TraceIDRatioBased(share)), sdktrace.WithBatcher(discard{}))
		b.Cleanup(func() { must(b, p.Shutdown(context.Background())) })
		return p
	}
	arms := []struct {
		name string
		ask  func()
	}{
		{"off", askOf(b, metricnoop.NewMeterProvider(), tracenoop.NewTracerProvider())},
		{"metrics", askOf(b, metered(), tracenoop.NewTracerProvider())},
		{"traces-unsampled", askOf(b, metricnoop.NewMeterProvider(), traced(0))},
		{"traces-1%", askOf(b, metricnoop.NewMeterProvider(), traced(0.01))},
	}
	ratios := make([][]float64, len(arms))
	for b.Loop() {
		spent := make([]float64, len(arms))
		for i, arm := range arms {
			began := processorTime(b)
			for range costRound {
				arm.ask()
			}
			spent[i] = float64(processorTime(b) - began)
			ratios[i] = append(ratios[i], 100*(spent[i]/spent[0]-1))
		}
	}
	for i, arm := range arms[1:] {
		slices.Sort(ratios[i+1])
		b.ReportMetric(ratios[i+1][len(ratios[i+1])/2], arm.name+"-%")
	}
}

// discard is where spans go.
type discard struct{}

func (discard) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (discard) Shutdown(context.Context) error                             { return nil }

// askOf starts a daemon and returns what asks it once for a token.
func askOf(b *testing.B, mp metric.MeterProvider, tp trace.TracerProvider) func() {
	b.Helper()
	ctx := b.Context()
	bus, err := Open(ctx, Config{DataDir: b.TempDir(), Listen: "127.0.0.1:0", Auth: Auth{None: true}, Logger: quiet(), MeterProvider: mp})
	must(b, err)
	manager, err := core.New(core.Config{
		Clients: clients(), Adapters: core.AdapterMap{"acme": &acme{}}, Store: bus.Store(), Publisher: bus.Publisher(), Timers: bus.Timers(),
		Spool: bus.Spool(), Owner: bus.Owner, Logger: quiet(), MeterProvider: mp, TracerProvider: tp,
	})
	must(b, err)
	must(b, manager.Start(ctx))
	service, err := NewService(ServiceConfig{Conn: bus.Conn, Manager: manager, Logger: quiet(), MeterProvider: mp, TracerProvider: tp})
	must(b, err)
	must(b, service.Start(ctx))
	nc, err := nats.Connect(bus.ClientURL())
	must(b, err)
	b.Cleanup(func() {
		nc.Close()
		ctx := context.Background()
		must(b, errors.Join(service.Close(ctx), manager.Close(ctx), bus.Close(ctx)))
	})
	ask := func() {
		answer, err := nc.Request("esign.api.default.token.get", []byte(`{"client":"app"}`), 10*time.Second)
		must(b, err)
		if e := wire.DecodeError(answer.Header, answer.Data); e != nil {
			b.Fatal(e)
		}
	}
	ask() // the first issues the token
	return ask
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// processorTime is what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
