package telemetry

import (
	"math"
	"testing"

	"go.opentelemetry.io/otel/trace"
)

// deciding starts telemetry with a sampler.
func deciding(t *testing.T, sampler, arg string) decidingProvider {
	t.Helper()
	p, ok := sampledBy(t, sampler, arg).(decidingProvider)
	if !ok {
		t.Fatalf("%s %s: esignd does not decide by itself", sampler, arg)
	}
	return p
}

func sampledBy(t *testing.T, sampler, arg string) trace.TracerProvider {
	t.Helper()
	t.Setenv(tracesVariable, "console")
	t.Setenv(samplerVariable, sampler)
	t.Setenv(samplerArgVariable, arg)
	tel, _ := start(t, Config{})
	return tel.TracerProvider()
}

func parents() map[string]trace.SpanContext {
	of := func(flags trace.TraceFlags) trace.SpanContext {
		return trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{0: 1, 8: 0x40, 15: 1}, SpanID: trace.SpanID{7: 1}, TraceFlags: flags, Remote: true,
		})
	}
	return map[string]trace.SpanContext{"none": {}, "sampled": of(trace.FlagsSampled), "unsampled": of(0)}
}

// What is decided before a span is begun is what the SDK decides when it is, in the same trace.
func TestSpanIsSampledAsWasDecidedBefore(t *testing.T) {
	for _, sampler := range []string{
		"", "always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio",
	} {
		for _, arg := range []string{"0.2", "0.8"} {
			t.Run(sampler+" "+arg, func(t *testing.T) {
				p := deciding(t, sampler, arg)
				for name, parent := range parents() {
					for range 100 {
						begin, sampled := p.Sample(parent)
						if parent.IsValid() && !begin.Equal(parent) {
							t.Fatalf("parent %s: the span begins in %v", name, begin)
						}
						_, span := p.Tracer("test").Start(trace.ContextWithSpanContext(t.Context(), begin), "span")
						if got := span.SpanContext(); got.IsSampled() != sampled || got.TraceID() != begin.TraceID() || span.IsRecording() != sampled {
							t.Fatalf("parent %s: %v decided for trace %s; the span is %v, recording %v", name, sampled, begin.TraceID(), got, span.IsRecording())
						}
						span.End()
					}
				}
			})
		}
	}
}

func TestShareOfNewTracesIsSampled(t *testing.T) {
	p := deciding(t, "parentbased_traceidratio", "0.25")
	const all = 20_000
	sampled := 0
	for range all {
		if _, ok := p.Sample(trace.SpanContext{}); ok {
			sampled++
		}
	}
	// Ten standard deviations.
	if off := math.Abs(float64(sampled)/all - .25); off > 10*math.Sqrt(.25*.75/all) {
		t.Errorf("%d of %d traces are sampled", sampled, all)
	}
}

func TestDecisionTakesNoMemory(t *testing.T) {
	p := deciding(t, "parentbased_traceidratio", "0.5")
	for name, parent := range parents() {
		if n := testing.AllocsPerRun(100, func() { p.Sample(parent) }); n != 0 {
			t.Errorf("parent %s: %v allocations", name, n)
		}
	}
}

// What the SDK has to complain of is left to it, which then samples whatever has no parent.
func TestSamplerThatIsNotKnownIsLeftToTheSDK(t *testing.T) {
	for _, c := range [][2]string{
		{"jaeger_remote", ""}, {"parentbased_", ""}, {"traceidratio", "1.5"}, {"parentbased_traceidratio", "a tenth"},
	} {
		p := sampledBy(t, c[0], c[1])
		if _, ok := p.(decidingProvider); ok {
			t.Errorf("%q: esignd decides by itself", c)
		}
		_, span := p.Tracer("test").Start(t.Context(), "span")
		if !span.IsRecording() {
			t.Errorf("%q: the span is not recorded", c)
		}
		span.End()
	}
}
