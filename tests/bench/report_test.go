//go:build heavy

package bench

import (
	"bytes"
	_ "embed" // for performance.md.tmpl
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"text/template"
	"time"
)

// report is all that a run has measured.
type report struct {
	Machine  machine
	Engine   engineResult
	Requests []requestResult
	Scale    []scaleResult
	Most     *scaleResult
	Together burstResult
	AtOnce   burstResult
	Plugin   pluginResult
}

// target is what was set out to be reached, and what was.
type target struct {
	What, Want, Got string
	Met             bool
	Bound           string // what it is bounded by
}

// Answer says whether the target is met.
func (t target) Answer() string {
	if t.Met {
		return "met"
	}
	return "**not met**"
}

// Targets compares the run with what was set out to be reached.
func (r report) Targets() []target {
	list := r.requestTargets()
	list = append(list, r.scaleTargets()...)
	return append(list, r.refreshTargets()...)
}

func (r report) requestTargets() []target {
	slowest, tail := r.Requests[0], r.Requests[0]
	for _, q := range r.Requests {
		if q.RateRatio < slowest.RateRatio {
			slowest = q
		}
		if q.TailRatio > tail.TailRatio {
			tail = q
		}
	}
	engine := max(r.Engine.ByGrant, r.Engine.ByAccount)
	return []target{
		{"`token.get` over TCP, throughput beside a bare echo, at worst", "at least 0.90",
			fmt.Sprintf("%.2f (%s)", slowest.RateRatio, slowest.Who()), slowest.RateRatio >= 0.9,
			"the NATS server, which passes on request and answer, as it does for the echo"},
		{"`token.get` over TCP, 99th percentile beside a bare echo, at worst", "at most 1.30",
			fmt.Sprintf("%.2f (%s)", tail.TailRatio, tail.Who()), tail.TailRatio <= 1.3,
			"the cores, which callers and server share"},
		{"a live token from the engine, in process", "under 1 µs", short(engine), engine < time.Microsecond,
			"a digest of the names, where the grant is not named by its id"},
	}
}

// Who says how many callers there were.
func (q requestResult) Who() string {
	return fmt.Sprintf("%d callers, %d connections", q.Callers, q.Conns)
}

// HeapEach is the heap that an idle grant takes, from the difference between the two largest stores: in both, the bounded
// cache of whole grants is as full.
func (r report) HeapEach() float64 { return r.each(func(s scaleResult) float64 { return s.Heap }) }

// ServerEach is what of that an embedded server alone takes, with its index of subjects and its timers.
func (r report) ServerEach() float64 { return r.each(func(s scaleResult) float64 { return s.Server }) }

func (r report) each(mib func(scaleResult) float64) float64 {
	first, last := r.Scale[len(r.Scale)-2], r.Scale[len(r.Scale)-1]
	return (mib(last) - mib(first)) * (1 << 20) / float64(last.Grants-first.Grants)
}

func (r report) scaleTargets() []target {
	last := r.Scale[len(r.Scale)-1]
	return []target{
		{"heap for an idle grant", "at most 1024 bytes", fmt.Sprintf("%.0f bytes", r.HeapEach()), r.HeapEach() <= 1024,
			fmt.Sprintf("the embedded server's index of subjects and its timers: %.0f of them", r.ServerEach())},
		{fmt.Sprintf("processor while %d grants are idle", last.Grants), "under 2% of a core", fmt.Sprintf("%.2f%%", 100*last.Idle), last.Idle < 0.02,
			"a look at all of them every 30 s, and a question to the store every 0.4 s"},
		{fmt.Sprintf("start to ready with %d grants", last.Grants), "under 3 s", short(last.Ready), last.Ready < 3*time.Second,
			"reading and opening each record"},
		{"cost grows no faster than the number of grants", "memory, disk, start, processor", r.Growth(), r.Growth() == "none does", ""},
	}
}

// Growth names what grew faster than the number of grants from one store to the next larger; a quarter is noise.
func (r report) Growth() string {
	const noise = 1.25
	for i := 1; i < len(r.Scale); i++ {
		a, b := r.Scale[i-1], r.Scale[i]
		most := float64(b.Grants) / float64(a.Grants) * noise
		for name, ratio := range map[string]float64{
			"RSS": b.RSS / a.RSS, "heap": b.Heap / a.Heap, "start": float64(b.Ready) / float64(a.Ready),
			"disk": b.Disk * float64(b.Grants) / (a.Disk * float64(a.Grants)),
			// A refresh costs the same however many grants there are.
			"processor for a refresh": float64(b.CPU) / float64(a.CPU) * most / noise / 1.5,
		} {
			if ratio > most {
				return fmt.Sprintf("%s does, from %d to %d", name, a.Grants, b.Grants)
			}
		}
	}
	return "none does"
}

func (r report) refreshTargets() []target {
	t, o := r.Together, r.AtOnce
	tail := float64(t.During.P99) / float64(t.Calm.P99)
	return []target{
		{fmt.Sprintf("%d grants due together, vendor takes 100 ms: refreshed once each", t.Grants), "all",
			fmt.Sprintf("%d once, %d more often, %d refresh tokens twice", t.Once, t.More, t.Reused), t.Exactly(), "the claim in the record"},
		{"… refreshed after the token's end", "none", fmt.Sprint(t.Late), t.Late == 0,
			fmt.Sprintf("the ramp, and %d calls of a vendor at once: all took %s", callsAtOnce, short(t.Took))},
		{"… `token.get` p99 meanwhile beside the calm one", "at most 2.00", fmt.Sprintf("%.2f", tail), tail <= 2,
			"the cores, which refreshes, vendor and callers share"},
		{"refreshes a second that callers force at a vendor that answers at once, every write synced", "at least 1000", fmt.Sprintf("%.0f", o.Rate), o.Rate >= 1000, r.RefreshBound()},
	}
}

// callsAtOnce is how many calls of a vendor esignd makes at once.
const callsAtOnce = 64

// CallsAtOnce is the same for the document.
func (report) CallsAtOnce() int { return callsAtOnce }

// RefreshBound says which of disk and processor allows fewer refreshes.
func (r report) RefreshBound() string {
	if r.SyncBound() < r.ProcessorBound() {
		return fmt.Sprintf("the disk: %.0f, were one synced write to follow the other", r.SyncBound())
	}
	return fmt.Sprintf("the processor: %.0f, had daemon and plugin all cores to themselves", r.ProcessorBound())
}

// Exactly reports whether each grant was refreshed once.
func (b burstResult) Exactly() bool { return b.Once == b.Grants && b.More == 0 && b.Reused == 0 }

// SyncedWrites is how many writes a refresh waits for on the disk, of records and of events.
func (b burstResult) SyncedWrites() float64 { return b.RecordWrites + b.Events }

// SyncBound is how many refreshes a second the disk allows that syncs one write after the other.
func (r report) SyncBound() float64 {
	return 1 / (r.Machine.Sync.Seconds() * r.AtOnce.SyncedWrites())
}

// ProcessorBound is how many refreshes a second the cores allow that do nothing else.
func (r report) ProcessorBound() float64 { return float64(r.Machine.Cores) / r.AtOnce.CPU.Seconds() }

// Rows are the results of the plugin for the document.
func (p pluginResult) Rows() []map[string]string {
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
func (r report) Sizes() []scaleResult {
	list := r.Scale
	if r.Most != nil {
		list = append(list, *r.Most)
	}
	return list
}

// short writes a duration with three digits.
func short(d time.Duration) string {
	unit := time.Duration(1)
	for unit*1000 <= d {
		unit *= 10
	}
	return d.Round(unit).String()
}

func whole(v float64) string { return fmt.Sprintf("%.0f", v) }

//go:embed performance.md.tmpl
var page string

// write makes performance.md and its plots in a folder.
func (r report) write(t testing.TB, dir string) {
	t.Helper()
	functions := template.FuncMap{
		"short": short, "whole": whole, "percent": func(v float64) string { return fmt.Sprintf("%.2f%%", 100*v) },
		"ratio": func(v float64) string { return fmt.Sprintf("%.2f", v) },
	}
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

// charts are the plots, by the name of their file.
func (r report) charts() map[string]chart {
	requests := chart{Title: "token.get over TCP, beside a bare echo", X: "callers, each on a connection of its own", Y: "answers a second", LogX: true}
	own, echo := line{Name: "esignd"}, line{Name: "bare micro echo", Dashed: true}
	for _, q := range r.Requests {
		if q.Conns == q.Callers {
			own.Points = append(own.Points, point{float64(q.Callers), q.Rate})
			echo.Points = append(echo.Points, point{float64(q.Callers), q.EchoRate})
		}
	}
	requests.Lines = []line{own, echo}
	memory := chart{Title: "Memory of an idle daemon", X: "grants", Y: "MiB", LogX: true, LogY: true}
	rss, heap := line{Name: "resident"}, line{Name: "live heap"}
	for _, s := range r.Sizes() {
		rss.Points = append(rss.Points, point{float64(s.Grants), s.RSS})
		heap.Points = append(heap.Points, point{float64(s.Grants), max(s.Heap, 0.1)})
	}
	memory.Lines = []line{rss, heap}
	together := chart{Title: fmt.Sprintf("Refreshes of %d grants", r.Together.Grants), X: "seconds since the first was refreshed", Y: "refreshed"}
	for _, b := range []struct {
		name string
		of   burstResult
	}{{"ahead, vendor takes 100 ms", r.Together}, {"forced, vendor answers at once", r.AtOnce}} {
		l := line{Name: b.name}
		for i, n := range b.of.Progress {
			l.Points = append(l.Points, point{b.of.Took.Seconds() * float64(i) / float64(len(b.of.Progress)-1), n})
		}
		together.Lines = append(together.Lines, l)
	}
	return map[string]chart{"performance-requests.svg": requests, "performance-memory.svg": memory, "performance-together.svg": together}
}
