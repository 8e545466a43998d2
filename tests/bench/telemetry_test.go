//go:build heavy

package bench

import (
	"fmt"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// telemetryResult is what BenchmarkTelemetry of package bus says: processor time over a daemon without telemetry, in
// percent, for a token from memory.
type telemetryResult map[string]float64

// The units that the benchmark reports in.
const (
	telemetryControl = "off-again-%"
	telemetrySampled = "traces-1%-sampled-%"
)

// measureTelemetry runs that benchmark over so many turns.
func measureTelemetry(t testing.TB, turns int) telemetryResult {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "test", "github.com/esignd/esignd/bus", "-run", "^$", "-bench", "^BenchmarkTelemetry$",
		"-benchtime", fmt.Sprint(turns, "x"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	r := telemetryOf(string(out))
	if len(r) == 0 {
		t.Fatalf("%s reports nothing:\n%s", cmd, out)
	}
	t.Log("telemetry costs", r)
	return r
}

// telemetryOf reads the pairs of value and unit that a benchmark prints.
func telemetryOf(out string) telemetryResult {
	r := telemetryResult{}
	for _, line := range strings.Split(out, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || !strings.HasPrefix(fields[0], "BenchmarkTelemetry") {
			continue
		}
		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err == nil && strings.HasSuffix(fields[i+1], "-%") {
				r[fields[i+1]] = value
			}
		}
	}
	return r
}

// Rows are the results for the document.
func (r telemetryResult) Rows() []map[string]string {
	var rows []map[string]string
	for _, row := range [][2]string{
		{"none, in a second daemon: so far apart are two that are alike", telemetryControl},
		{"metrics", "metrics-%"},
		{"traces, of which none is sampled", "traces-none-sampled-%"},
		{"traces, of which 1% is sampled and sent by OTLP", telemetrySampled},
		{"traces as the caller decides, who does not sample", "traces-as-the-caller,-who-is-not-sampled-%"},
	} {
		rows = append(rows, map[string]string{"Telemetry": row[0], "Cost": number("%+.1f%%", r.of(row[1]))})
	}
	return rows
}

func (r telemetryResult) of(unit string) float64 {
	if v, ok := r[unit]; ok {
		return v
	}
	return math.NaN()
}

func (r telemetryResult) target() target {
	cost := r.of(telemetrySampled)
	return target{"processor for a token from memory, with 1% of requests traced", "at most 5% more", number("%+.1f%%", cost), cost <= 5,
		number("two daemons that are alike are %+.1f%% apart", r.of(telemetryControl))}
}
