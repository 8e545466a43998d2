//go:build heavy

package bench

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/tests/system"
)

// burstResult is what became of grants that were due together.
type burstResult struct {
	Grants       int
	Took         time.Duration // from the first answer of the vendor to the last
	Rate         float64
	Once, More   int // grants by how often they were refreshed
	Reused, Late int
	CPU          time.Duration // of the daemon and the plugin, for a refresh
	RecordWrites float64       // for a refresh
	Events       float64
	Calm, During callResult // of callers who asked for other tokens
	Progress     []float64  // how many were refreshed, after each twentieth of the time
}

// burstLifetime is that of tokens which have a minute left when the last moment comes at which they are refreshed ahead,
// and the daemon has started.
const burstLifetime = 6 * (time.Minute + startTakes)

// measureTogether has n grants be due at once, past the last moment at which they are refreshed ahead, with a minute
// left: esignd was away. The vendor takes 100 ms. Meanwhile others ask for tokens that live.
func measureTogether(t testing.TB, n int) *burstResult {
	const calm = 100
	v := startVendor(t, 100*time.Millisecond, 24*time.Hour)
	d := newDaemon(t, v)
	sow(t, d, v, crop{kind: "calm", n: calm, lifetime: 24 * time.Hour},
		crop{kind: "due", n: n, lifetime: burstLifetime, age: burstLifetime * 5 / 6})
	d.Start()
	task := callTask{URL: d.NATSURL(), Subject: tokenSubject, Bodies: bodies("calm", calm), Callers: 8, Conns: 8,
		Every: 40 * time.Millisecond, Duration: left(t), UntilTold: true}
	before := cpuTime(t, family(d)...)
	end := task.begin(t)
	awaitRefreshed(t, v, n)
	during := end(true)
	r := burstOf(t, v, n)
	r.CPU = (cpuTime(t, family(d)...) - before) / time.Duration(n)
	awaitCalm(t, d)
	task.Duration = min(max(during.Elapsed, time.Second), 30*time.Second)
	r.During, r.Calm = during, task.run(t)
	d.Stop()
	t.Logf("%d due together: %s, %.0f/s, once %d, more %d, reused %d, late %d; p99 calm %s, meanwhile %s",
		n, r.Took, r.Rate, r.Once, r.More, r.Reused, r.Late, r.Calm.P99, r.During.P99)
	return r
}

// startTakes is about how long a daemon takes from its store being written to the first refresh.
const startTakes = 5 * time.Second

// atOnceCallers are more than esignd calls a vendor at once.
const atOnceCallers = 2 * callsAtOnce

// measureAtOnce has callers force n refreshes at a vendor that answers at once. Refreshes ahead come back at a bounded rate
// after a start, which is not what is measured here.
func measureAtOnce(t testing.TB, n int) *burstResult {
	v := startVendor(t, 0, 24*time.Hour)
	d := newDaemon(t, v)
	written := sow(t, d, v, crop{kind: "due", n: n, lifetime: 24 * time.Hour})
	sown := time.Now()
	d.Start()
	awaitArmed(t, d)
	awaitCalm(t, d)
	time.Sleep(time.Until(sown.Add(1100 * time.Millisecond))) // a token that is younger than a second is not refreshed again
	before, events := cpuTime(t, family(d)...), eventsOf(t, d)
	forceAtOnce(t, d.NATSURL(), "due", n)
	r := burstOf(t, v, n)
	awaitCalm(t, d)
	r.CPU = (cpuTime(t, family(d)...) - before) / time.Duration(n)
	r.Events = float64(eventsOf(t, d)-events) / float64(n)
	d.Stop()
	r.RecordWrites = float64(recordWrites(t, d)-written) / float64(n)
	t.Logf("%d at once: %s, %.0f/s, once %d, more %d, reused %d, CPU %s; %.2f events and %.2f writes of records a refresh",
		n, r.Took, r.Rate, r.Once, r.More, r.Reused, r.CPU, r.Events, r.RecordWrites)
	return r
}

// forceAtOnce has callers force a refresh of each of the first n grants of a kind.
func forceAtOnce(t testing.TB, url, kind string, n int) {
	t.Helper()
	task := callTask{URL: url, Subject: refreshSubject, Bodies: bodies(kind, n), Callers: atOnceCallers, Conns: 8, Once: true, Duration: left(t)}
	task.run(t)
}

func awaitRefreshed(t testing.TB, v *vendor, n int) {
	t.Helper()
	system.Await(t, left(t), "all are refreshed", func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return len(v.log) >= n
	})
}

// awaitCalm waits until the daemon has done what comes after refreshes.
func awaitCalm(t testing.TB, d *system.Daemon) {
	t.Helper()
	system.Await(t, left(t), "the daemon rests", func() bool { return share(t, d, 500*time.Millisecond) < 0.1 })
}

func burstOf(t testing.TB, v *vendor, n int) *burstResult {
	s := v.seen()
	r := &burstResult{Grants: n, Once: s.once, More: s.more, Reused: s.reused, Late: s.late}
	if len(s.refreshed) < n {
		t.Fatalf("%d of %d were refreshed", len(s.refreshed), n)
	}
	first, last := s.refreshed[0], s.refreshed[len(s.refreshed)-1]
	r.Took = last.Sub(first)
	r.Rate = float64(len(s.refreshed)) / r.Took.Seconds()
	const parts = 20
	i := 0
	for part := range parts + 1 {
		at := first.Add(r.Took * time.Duration(part) / parts)
		for i < len(s.refreshed) && !s.refreshed[i].After(at) {
			i++
		}
		r.Progress = append(r.Progress, float64(i))
	}
	return r
}

// eventsOf returns how many events the daemon has published.
func eventsOf(t testing.TB, d *system.Daemon) uint64 {
	t.Helper()
	nc := system.Must(nats.Connect(d.NATSURL()))(t)
	defer nc.Close()
	js := system.Must(jetstream.New(nc))(t)
	stream := system.Must(js.Stream(t.Context(), "ESIGN_EVENTS"))(t)
	return stream.CachedInfo().State.LastSeq
}
