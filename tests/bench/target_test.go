//go:build heavy

package bench

import (
	"fmt"
	"math"
	"time"
)

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

// Targets compares the run with what was set out to be reached, as far as it was measured.
func (r *report) Targets() []target {
	var list []target
	if len(r.Requests) > 0 {
		list = append(list, r.requestTargets()...)
	}
	if r.Engine != nil {
		list = append(list, r.Engine.target())
	}
	if r.Kept != nil {
		list = append(list, r.Kept.target())
	}
	list = append(list, r.scaleTargets()...)
	if r.Together != nil {
		list = append(list, r.Together.togetherTargets()...)
	}
	if r.AtOnce != nil {
		list = append(list, target{"refreshes a second that callers force at a vendor that answers at once, every write synced", "at least 1000",
			whole(r.AtOnce.Rate), r.AtOnce.Rate >= 1000, r.RefreshBound()})
	}
	if r.Telemetry != nil {
		list = append(list, r.Telemetry.target())
	}
	return list
}

// Met says how many of the targets are.
func (r *report) Met() string {
	met, all := 0, r.Targets()
	for _, t := range all {
		if t.Met {
			met++
		}
	}
	return fmt.Sprintf("%d of %d", met, len(all))
}

func (r *report) requestTargets() []target {
	slowest, tail := r.Requests[0], r.Requests[0]
	for _, q := range r.Requests {
		if q.RateRatio < slowest.RateRatio {
			slowest = q
		}
		if q.TailRatio > tail.TailRatio {
			tail = q
		}
	}
	return []target{
		{"`token.get` over TCP, throughput beside a bare echo, at worst", "at least 0.90",
			fmt.Sprintf("%.2f (%s)", slowest.RateRatio, slowest.Who()), slowest.RateRatio >= 0.9,
			"the NATS server, which passes on request and answer, as it does for the echo"},
		{"`token.get` over TCP, 99th percentile beside a bare echo, at worst", "at most 1.30",
			fmt.Sprintf("%.2f (%s)", tail.TailRatio, tail.Who()), tail.TailRatio <= 1.3,
			"the cores, which callers and server share"},
	}
}

// Who says how many callers there were.
func (q requestResult) Who() string {
	return fmt.Sprintf("callers %d, connections %d", q.Callers, q.Conns)
}

func (e *engineResult) target() target {
	return target{"a live token from the engine, in process", "under 1 µs", short(e.slowest()), e.slowest() < time.Microsecond,
		"looks at the clock, by which it is decided whether the token lives and whether the cache is fresh"}
}

// HeapEach is the heap that an idle grant takes, from the difference between the two largest stores: in both, the bounded
// cache of whole grants is as full.
func (r *report) HeapEach() float64 { return r.each(func(s *scaleResult) float64 { return s.Heap }) }

// ServerEach is what of that an embedded server alone takes, with its index of subjects and its timers.
func (r *report) ServerEach() float64 {
	return r.each(func(s *scaleResult) float64 { return s.Server })
}

// each returns what a grant adds; not a number where fewer than two stores were measured whole.
func (r *report) each(mib func(*scaleResult) float64) float64 {
	stores := r.compared()
	if len(stores) < 2 {
		return math.NaN()
	}
	first, last := stores[len(stores)-2], stores[len(stores)-1]
	return (mib(last) - mib(first)) * (1 << 20) / float64(last.Grants-first.Grants)
}

// compared are the stores that have a target and were measured whole.
func (r *report) compared() []*scaleResult {
	var list []*scaleResult
	for _, s := range r.Scale {
		if s.Whole() {
			list = append(list, s)
		}
	}
	return list
}

func (r *report) scaleTargets() []target {
	stores := r.compared()
	if len(stores) == 0 {
		return nil
	}
	last := stores[len(stores)-1]
	list := []target{
		{fmt.Sprintf("processor while %d grants are idle", last.Grants), "under 2% of a core", percent(last.Idle), last.Idle < 0.02,
			"a look at all of them every 30 s, and a question to the store every 0.4 s"},
		{fmt.Sprintf("start to ready with %d grants", last.Grants), "under 3 s", short(last.Ready), last.Ready < 3*time.Second,
			"reading and opening each record"},
	}
	if len(stores) == 1 {
		return list
	}
	return append(list, target{"heap for an idle grant", "at most 1024 bytes", fmt.Sprintf("%.0f bytes", r.HeapEach()), r.HeapEach() <= 1024,
		fmt.Sprintf("the embedded server's index of subjects and its timers: %.0f of them", r.ServerEach())},
		target{"cost grows no faster than the number of grants", "memory, disk, start, processor", r.Growth(), r.Growth() == noGrowth, ""})
}

const noGrowth = "none does"

// Growth names what grew faster than the number of grants from one store to the next larger; a quarter is noise.
func (r *report) Growth() string {
	const noise = 1.25
	stores := r.compared()
	for i := 1; i < len(stores); i++ {
		a, b := stores[i-1], stores[i]
		most := float64(b.Grants) / float64(a.Grants) * noise
		for _, c := range []struct {
			name  string
			ratio float64
		}{
			{"RSS", b.RSS / a.RSS}, {"heap", b.Heap / a.Heap}, {"start", float64(b.Ready) / float64(a.Ready)},
			{"disk", b.Disk * float64(b.Grants) / (a.Disk * float64(a.Grants))},
			// A refresh costs the same however many grants there are.
			{"processor for a refresh", float64(b.CPU) / float64(a.CPU) * most / noise / 1.5},
		} {
			if c.ratio > most {
				return fmt.Sprintf("%s does, from %d to %d", c.name, a.Grants, b.Grants)
			}
		}
	}
	return noGrowth
}

func (b *burstResult) togetherTargets() []target {
	tail := float64(b.During.P99) / float64(b.Calm.P99)
	return []target{
		{fmt.Sprintf("%d grants due together, vendor takes 100 ms: refreshed once each", b.Grants), "all",
			fmt.Sprintf("%d once, %d more often, %d refresh tokens twice", b.Once, b.More, b.Reused), b.Exactly(), "the claim in the record"},
		{"… refreshed after the token's end", "none", fmt.Sprint(b.Late), b.Late == 0,
			fmt.Sprintf("the pace, and %d calls of a vendor at once: all took %s", callsAtOnce, short(b.Took))},
		{"… `token.get` p99 meanwhile beside the calm one", "at most 2.00", ratio(tail), tail <= 2,
			"the cores, which refreshes, vendor and callers share"},
	}
}

// callsAtOnce is how many calls of a vendor esignd makes at once.
const callsAtOnce = 64

// CallsAtOnce is the same for the document.
func (*report) CallsAtOnce() int { return callsAtOnce }

// RefreshBound says which of disk and processor allows fewer refreshes.
func (r *report) RefreshBound() string {
	if r.SyncBound() < r.ProcessorBound() {
		return fmt.Sprintf("the disk: %.0f, were one synced write to follow the other", r.SyncBound())
	}
	return fmt.Sprintf("the processor: %.0f, had daemon and plugin all cores to themselves", r.ProcessorBound())
}

// Exactly reports whether each grant was refreshed once.
func (b *burstResult) Exactly() bool { return b.Once == b.Grants && b.More == 0 && b.Reused == 0 }

// SyncedWrites is how many writes a refresh waits for on the disk, of records and of events.
func (b *burstResult) SyncedWrites() float64 { return b.RecordWrites + b.Events }

// SyncBound is how many refreshes a second the disk allows that syncs one write after the other.
func (r *report) SyncBound() float64 {
	return 1 / (r.Machine.Sync.Seconds() * r.AtOnce.SyncedWrites())
}

// ProcessorBound is how many refreshes a second the cores allow that do nothing else.
func (r *report) ProcessorBound() float64 { return float64(r.Machine.Cores) / r.AtOnce.CPU.Seconds() }
