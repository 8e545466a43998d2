package bus

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/telemetry"
)

// costRound is how many requests are made of one daemon before the next has its turn.
const costRound = 50

// BenchmarkTelemetry asks for a token that is in memory, by turns of a daemon without telemetry and of others with
// metrics and with traces, as the environment of a daemon turns them on. It reports what processor time each costs over
// the first, in percent: the median over the turns, in which what else the machine does is the same for all. "off-again"
// is a second daemon without telemetry, and so says how far two equal ones are apart. Each turn begins with another
// daemon. The spans of sampled requests are encoded and sent, to a server of this process that throws them away.
func BenchmarkTelemetry(b *testing.B) {
	off := func() (metric.MeterProvider, trace.TracerProvider) {
		return metricnoop.NewMeterProvider(), tracenoop.NewTracerProvider()
	}
	metered := func() (metric.MeterProvider, trace.TracerProvider) {
		return sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())), tracenoop.NewTracerProvider()
	}
	traced := func(sampler, arg string) func() (metric.MeterProvider, trace.TracerProvider) {
		return func() (metric.MeterProvider, trace.TracerProvider) {
			return metricnoop.NewMeterProvider(), tracing(b, sampler, arg)
		}
	}
	arms := []struct {
		name, parent string
		providers    func() (metric.MeterProvider, trace.TracerProvider)
		over         int // the arm that it is compared with
		ask          func()
	}{
		{name: "off", providers: off},
		{name: "off-again", providers: off},
		{name: "metrics", providers: metered},
		{name: "traces-none-sampled", providers: traced("parentbased_always_off", "")},
		{name: "traces-1%-sampled", providers: traced("parentbased_traceidratio", "0.01")},
		{name: "off-of-a-caller's-trace", parent: unsampledParent, providers: off},
		{name: "traces-as-the-caller,-who-is-not-sampled", parent: unsampledParent, providers: traced("parentbased_always_on", ""), over: 5},
	}
	for i := range arms {
		mp, tp := arms[i].providers()
		arms[i].ask = askOf(b, mp, tp, arms[i].parent)
	}
	ratios, turn := make([][]float64, len(arms)), 0
	for b.Loop() {
		spent := make([]float64, len(arms))
		for n := range arms {
			i := (n + turn) % len(arms)
			began := processorTime(b)
			for range costRound {
				arms[i].ask()
			}
			spent[i] = float64(processorTime(b) - began)
		}
		for i, arm := range arms {
			ratios[i] = append(ratios[i], 100*(spent[i]/spent[arm.over]-1))
		}
		turn++
	}
	for i, arm := range arms[1:] {
		slices.Sort(ratios[i+1])
		b.ReportMetric(ratios[i+1][len(ratios[i+1])/2], arm.name+"-%")
	}
}

// tracing is the tracing of a daemon with a sampler, whose collector throws away what it gets.
func tracing(b *testing.B, sampler, arg string) trace.TracerProvider {
	b.Helper()
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	b.Cleanup(collector.Close)
	b.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	b.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	b.Setenv("OTEL_TRACES_SAMPLER", sampler)
	b.Setenv("OTEL_TRACES_SAMPLER_ARG", arg)
	tel, err := telemetry.Start(b.Context(), telemetry.Config{Service: "esignd", Stderr: io.Discard})
	must(b, err)
	b.Cleanup(func() { must(b, tel.Shutdown(context.Background())) })
	return tel.TracerProvider()
}

// askOf starts a daemon and returns what asks it once for a token.
func askOf(b *testing.B, mp metric.MeterProvider, tp trace.TracerProvider, parent string) func() {
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
	m := &nats.Msg{Subject: "esign.api.default.token.get", Data: []byte(`{"client":"app"}`)}
	if parent != "" {
		m.Header = nats.Header{wire.HeaderTraceParent: {parent}}
	}
	ask := func() {
		answer, err := nc.RequestMsg(m, 10*time.Second)
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
