//go:build heavy

package bench

import (
	"context"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd"
	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/system"
)

// scaleResult is what a number of idle grants costs.
type scaleResult struct {
	Grants int
	// Ready is from the start of the process to its readiness, with timers armed before; Armed is how long arming them
	// took after the first start.
	Ready, Armed time.Duration
	RSS          float64 // MiB, of the daemon without its plugins
	Heap         float64 // MiB, live, of all of the daemon in one process, embedded server included
	Server       float64 // MiB, live, of an embedded server alone, on the same streams
	Idle         float64 // share of a core
	Disk         float64 // bytes a grant
	// CPU is the processor time of the daemon and the plugin for a refresh, P50 how long a caller waits for one.
	CPU, P50 time.Duration
}

// idleLifetime keeps any token from being due while grants are measured that rest.
const idleLifetime = 30 * 24 * time.Hour

// newScaleResult returns the result for n grants of which nothing is known yet.
func newScaleResult(n int) *scaleResult {
	unknown := math.NaN()
	return &scaleResult{Grants: n, RSS: unknown, Heap: unknown, Server: unknown, Idle: unknown, Disk: unknown}
}

// Whole reports whether all of it was measured: the heap is what comes last.
func (r *scaleResult) Whole() bool { return !math.IsNaN(r.Heap) }

// measureScale puts grants into a store and measures a daemon on it.
func measureScale(t testing.TB, s sizes, r *scaleResult) {
	n, starts := r.Grants, s.starts
	if n == s.most {
		starts = 1
	}
	v := startVendor(t, 0, idleLifetime)
	d := newDaemon(t, v)
	sow(t, d, v, crop{kind: "idle", n: n, lifetime: idleLifetime})
	begun := time.Now()
	d.Start()
	awaitArmed(t, d)
	r.Armed = time.Since(begun)
	d.Stop()
	r.Disk = onDisk(t, filepath.Join(d.DataDir, "nats")) / float64(n)
	var ready []float64
	for i := range starts {
		if i > 0 {
			d.Stop()
		}
		begun = time.Now()
		d.Start()
		ready = append(ready, float64(time.Since(begun)))
	}
	r.Ready = time.Duration(median(ready))
	time.Sleep(s.rest)
	r.Idle = share(t, d, s.idle)
	r.RSS = residentMiB(t, d.PID())
	r.CPU, r.P50 = forceRefreshes(t, d, min(s.forced, n))
	d.Stop()
	r.Server = heapOfServer(t, d)
	rest := s.heapRest
	switch {
	case n == s.most:
		rest = min(rest, left(t)-time.Minute)
	case n < s.grants[len(s.grants)-2]: // it is not compared
		rest = s.rest
	}
	r.Heap = heapOf(t, d, v, rest)
	t.Logf("%d grants: ready %s, armed %s, RSS %.1f MiB, heap %.1f MiB (%.1f of it the server's), idle %.2f%%, disk %.0f B, refresh %s CPU, p50 %s",
		n, r.Ready, r.Armed, r.RSS, r.Heap, r.Server, 100*r.Idle, r.Disk, r.CPU, r.P50)
}

// awaitArmed waits until the daemon has armed the timers of grants that had none.
func awaitArmed(t testing.TB, d *system.Daemon) {
	t.Helper()
	system.Await(t, left(t), "the timers are armed", func() bool {
		return strings.Contains(d.Output().String(), "timers armed that were missing")
	})
}

// share returns the share of a core that the daemon uses.
func share(t testing.TB, d *system.Daemon, over time.Duration) float64 {
	before, begun := cpuTime(t, d.PID()), time.Now()
	time.Sleep(over)
	return float64(cpuTime(t, d.PID())-before) / float64(time.Since(begun))
}

// forceRefreshes has grants refreshed one after the other.
func forceRefreshes(t testing.TB, d *system.Daemon, n int) (cpu, p50 time.Duration) {
	cl := d.Dial()
	pids := family(d)
	refresh := func(i int) time.Duration {
		begun := time.Now()
		system.Must(cl.Refresh(t.Context(), client.Selector{Client: clientName, Account: accountName("idle", i)}))(t)
		return time.Since(begun)
	}
	refresh(0)
	before := cpuTime(t, pids...)
	var took []time.Duration
	for i := 1; i < n; i++ {
		took = append(took, refresh(i))
	}
	slices.Sort(took)
	return (cpuTime(t, pids...) - before) / time.Duration(len(took)), quantile(took, 0.5)
}

// heapOf starts the daemon in this process on a daemon's data and returns what of the heap it lives on.
func heapOf(t testing.TB, d *system.Daemon, v *vendor, rest time.Duration) (mib float64) {
	t.Helper()
	before := liveHeap()
	inside := startInside(t, d, v)
	// What the start leaves behind is not what grants cost at rest: the embedded server keeps blocks that it has read for
	// ten seconds, and an index of them for two minutes.
	smallest := liveHeap()
	for begun := time.Now(); time.Since(begun) < rest; {
		time.Sleep(min(5*time.Second, rest))
		smallest = min(smallest, liveHeap())
	}
	closeInside(t, inside)
	return max(0, smallest-before) / (1 << 20)
}

// startInside starts the daemon in this process on a daemon's data.
func startInside(t testing.TB, d *system.Daemon, v *vendor) *esignd.Daemon {
	t.Helper()
	inside := system.Must(esignd.New(esignd.Config{
		DataDir: d.DataDir,
		NATS:    esignd.NATS{Auth: esignd.AuthNone, Listen: "127.0.0.1:0", Quota: esignd.Quota{PerSecond: noQuota}},
		HTTP:    esignd.HTTP{Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"}, Plugins: esignd.Plugins{Dir: string(binaries)},
		Log: esignd.Log{Level: "error"},
		Clients: []esignd.Client{{Name: clientName, Vendor: vendorName, ClientID: clientID,
			ClientSecret: core.NewSecret(clientSecret), Settings: v.Settings()}},
	}))(t)
	if err := inside.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return inside
}

func closeInside(t testing.TB, inside *esignd.Daemon) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := inside.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// heapOfServer returns what of the heap an embedded server lives on that has opened a daemon's streams, and nothing more.
func heapOfServer(t testing.TB, d *system.Daemon) (mib float64) {
	t.Helper()
	before := liveHeap()
	srv := openStore(t, d)
	after := liveHeap()
	srv.Shutdown()
	srv.WaitForShutdown()
	return max(0, after-before) / (1 << 20)
}

func liveHeap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
