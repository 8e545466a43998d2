package telemetry

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// The variables that choose a sampler.
const (
	samplerVariable    = "OTEL_TRACES_SAMPLER"
	samplerArgVariable = "OTEL_TRACES_SAMPLER_ARG"
)

// sampling is a sampler of the specification, as its variables name it: what is decided of a span without a parent, or of
// every span.
type sampling struct {
	root        sdktrace.Sampler
	parentBased bool
}

// samplingOf reads the variables. It reports false for what the SDK has to read and to complain of itself.
func samplingOf(name, arg string) (sampling, bool) {
	name, parentBased := strings.CutPrefix(strings.ToLower(strings.TrimSpace(name)), "parentbased_")
	switch name {
	case "":
		return sampling{root: sdktrace.AlwaysSample(), parentBased: true}, !parentBased
	case "always_on":
		return sampling{root: sdktrace.AlwaysSample(), parentBased: parentBased}, true
	case "always_off":
		return sampling{root: sdktrace.NeverSample(), parentBased: parentBased}, true
	case "traceidratio":
		share, err := strconv.ParseFloat(strings.TrimSpace(arg), 64)
		ok := err == nil && share >= 0 && share <= 1
		return sampling{root: sdktrace.TraceIDRatioBased(share), parentBased: parentBased}, ok
	}
	return sampling{}, false
}

// sampler is the sampling as the SDK takes it.
func (s sampling) sampler() sdktrace.Sampler {
	if s.parentBased {
		return sdktrace.ParentBased(s.root)
	}
	return s.root
}

// decidingProvider is a TracerProvider whose decision can be had before a span is begun.
type decidingProvider struct {
	*sdktrace.TracerProvider
	sampling sampling
}

// newTracerProvider makes a provider with the sampler of the environment. It is a decidingProvider where that sampler is
// one of the specification's.
func newTracerProvider(options ...sdktrace.TracerProviderOption) (trace.TracerProvider, *sdktrace.TracerProvider) {
	s, ok := samplingOf(os.Getenv(samplerVariable), os.Getenv(samplerArgVariable))
	if !ok {
		p := sdktrace.NewTracerProvider(options...)
		return p, p
	}
	p := sdktrace.NewTracerProvider(append(options, sdktrace.WithSampler(s.sampler()))...)
	return decidingProvider{TracerProvider: p, sampling: s}, p
}

// Sample decides on a span of a remote parent, or, where parent is not valid, on the first of a trace. It returns the
// context in which that span is to be begun, where it is begun: parent, or the id of a new trace, with which the SDK comes
// to the same decision. It takes no memory.
func (p decidingProvider) Sample(parent trace.SpanContext) (begin trace.SpanContext, sampled bool) {
	switch {
	case !parent.IsValid():
		parent = trace.NewSpanContext(trace.SpanContextConfig{TraceID: newTraceID()})
	case p.sampling.parentBased:
		return parent, parent.IsSampled()
	}
	decided := p.sampling.root.ShouldSample(sdktrace.SamplingParameters{ParentContext: context.Background(), TraceID: parent.TraceID()})
	return parent, decided.Decision == sdktrace.RecordAndSample
}

// newTraceID draws an id as the SDK does.
func newTraceID() (id trace.TraceID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64()) //nolint:gosec // an id, no secret
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64()) //nolint:gosec // an id, no secret
	}
	return id
}
