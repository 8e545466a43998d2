//go:build heavy

package bench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPageIsWrittenOfWhatWasMeasured(t *testing.T) {
	machine := machine{CPU: "a processor", Cores: 2, Sync: time.Millisecond}
	some := newScaleResult(1000)
	some.Ready, some.RSS = time.Second, 50
	for name, c := range map[string]struct {
		report report
		has    []string
		hasNot []string
	}{
		"nothing": {report{Machine: machine, Missing: []string{"engine", "plugin"}}, []string{"engine, plugin", "are met: 0 of 0"}, []string{"## ", "NaN", "BENCH=quick"}},
		"a store, in part": {report{Machine: machine, Quick: true, Scale: []*scaleResult{some}, Most: newScaleResult(9)},
			[]string{"make bench BENCH=quick", "| 1000 | 1s | – | 50 MiB | – MiB |"}, []string{"NaN", "bytes of heap", "memory.svg", "Not measured"}},
		"refreshes": {report{Machine: machine, AtOnce: &burstResult{Grants: 5, Rate: 7, CPU: time.Millisecond, Progress: []float64{0, 5}}},
			[]string{"forced at a vendor that answers at once: 7 a second", "**not met**", "together.svg"}, []string{"NaN", "Many refreshes ahead"}},
		"a token that a client keeps": {report{Machine: machine, Kept: &keptResult{memoryResult{ByGrant: 150, ByAccount: 201}, 1000, 2}},
			[]string{"keeps | under 200 ns | 201ns | **not met**", "takes 150ns of the processor and 0 allocations", "For 1000 tokens it sent 2 messages"}, []string{"NaN", "## In process"}},
		"telemetry": {report{Machine: machine, Telemetry: telemetryOf("ok\nBenchmarkTelemetry-2  3000  9 ns/op  0.31 off-again-%  2.5 traces-1%-sampled-%\nPASS\n")},
			[]string{"sent by OTLP | +2.5% |", "| metrics | – |", "are +0.3% apart", "are met: 1 of 1"}, []string{"NaN"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c.report.write(t, dir)
			b, err := os.ReadFile(filepath.Join(dir, "performance.md"))
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.has {
				if !strings.Contains(string(b), want) {
					t.Errorf("no %q in\n%s", want, b)
				}
			}
			for _, not := range c.hasNot {
				if strings.Contains(string(b), not) {
					t.Errorf("%q in\n%s", not, b)
				}
			}
		})
	}
}
