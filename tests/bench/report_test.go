//go:build heavy

package bench

import (
	"bytes"
	_ "embed" // for performance.md.tmpl
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"
)

// report is all that a run has measured. What it has not is nil, or not whole.
type report struct {
	Machine   machine
	Quick     bool
	Missing   []string // what could not be measured
	Engine    *engineResult
	Kept      *keptResult
	Plugin    *pluginResult
	Requests  []requestResult
	Together  *burstResult
	AtOnce    *burstResult
	Telemetry telemetryResult
	Scale     []*scaleResult
	Most      *scaleResult
}

// Rows are the results of the plugin for the document.
func (p *pluginResult) Rows() []map[string]string {
	var rows []map[string]string
	for i, n := range pluginCallers {
		rows = append(rows, map[string]string{
			"Callers": fmt.Sprint(n), "P50": short(p.Plugin[i].P50), "Rate": whole(p.Plugin[i].rate()),
			"BareP50": short(p.Bare[i].P50), "BareRate": whole(p.Bare[i].rate()),
			"Ratio": fmt.Sprintf("%.2f", p.Plugin[i].rate()/p.Bare[i].rate()),
		})
	}
	return rows
}

// Sizes are all stores that were measured.
func (r *report) Sizes() []*scaleResult {
	list := slices.Clone(r.Scale)
	if r.Most != nil {
		list = append(list, r.Most)
	}
	return list
}

// unknown stands for what was not measured.
const unknown = "–"

// short writes a duration with three digits.
func short(d time.Duration) string {
	if d == 0 {
		return unknown
	}
	unit := time.Duration(1)
	for unit*1000 <= d {
		unit *= 10
	}
	return d.Round(unit).String()
}

func whole(v float64) string { return number("%.0f", v) }

func percent(share float64) string { return number("%.2f%%", 100*share) }

func ratio(v float64) string { return number("%.2f", v) }

func number(format string, v float64) string {
	if math.IsNaN(v) {
		return unknown
	}
	return fmt.Sprintf(format, v)
}

//go:embed performance.md.tmpl
var page string

// write makes performance.md and its plots in a folder.
func (r *report) write(t testing.TB, dir string) {
	t.Helper()
	functions := template.FuncMap{"short": short, "whole": whole, "percent": percent, "ratio": ratio, "join": strings.Join}
	var b bytes.Buffer
	if err := template.Must(template.New("page").Funcs(functions).Parse(page)).Execute(&b, r); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"performance.md": b.String()}
	for name, c := range r.charts() {
		files[name] = c.svg()
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// charts are the plots of what was measured, by the name of their file.
func (r *report) charts() map[string]chart {
	all := map[string]chart{}
	if len(r.Requests) > 0 {
		all["performance-requests.svg"] = r.requestChart()
	}
	if sizes := r.Sizes(); len(sizes) > 0 && sizes[0].Whole() {
		all["performance-memory.svg"] = memoryChart(sizes)
	}
	if r.Together != nil || r.AtOnce != nil {
		all["performance-together.svg"] = r.burstChart()
	}
	return all
}

func (r *report) requestChart() chart {
	own, echo := line{Name: "esignd"}, line{Name: "bare micro echo", Dashed: true}
	for _, q := range r.Requests {
		if q.Conns == q.Callers {
			own.Points = append(own.Points, point{float64(q.Callers), q.Rate})
			echo.Points = append(echo.Points, point{float64(q.Callers), q.EchoRate})
		}
	}
	return chart{Title: "token.get over TCP, beside a bare echo", X: "callers, each on a connection of its own", Y: "answers a second",
		LogX: true, Lines: []line{own, echo}}
}

func memoryChart(sizes []*scaleResult) chart {
	rss, heap := line{Name: "resident"}, line{Name: "live heap"}
	for _, s := range sizes {
		if s.Whole() {
			rss.Points = append(rss.Points, point{float64(s.Grants), s.RSS})
			heap.Points = append(heap.Points, point{float64(s.Grants), max(s.Heap, 0.1)})
		}
	}
	return chart{Title: "Memory of an idle daemon", X: "grants", Y: "MiB", LogX: true, LogY: true, Lines: []line{rss, heap}}
}

func (r *report) burstChart() chart {
	c := chart{Title: "Refreshes of many grants", X: "seconds since the first was refreshed", Y: "refreshed"}
	for _, b := range []struct {
		name string
		of   *burstResult
	}{{"ahead, vendor takes 100 ms", r.Together}, {"forced, vendor answers at once", r.AtOnce}} {
		if b.of == nil {
			continue
		}
		l := line{Name: b.name}
		for i, n := range b.of.Progress {
			l.Points = append(l.Points, point{b.of.Took.Seconds() * float64(i) / float64(len(b.of.Progress)-1), n})
		}
		c.Lines = append(c.Lines, l)
	}
	return c
}
