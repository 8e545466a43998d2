package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/esignd/esignd/core"
)

// work works a vendor's timers until the test ends and hands on what is done.
func work(t *testing.T, timers core.Timers, vendor string, limit int, fn func(core.Due) error) <-chan core.Due {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	due, done := make(chan core.Due, 1024), make(chan error, 1)
	go func() {
		done <- timers.Work(ctx, vendor, limit, func(_ context.Context, d core.Due) error {
			if fn != nil {
				if err := fn(d); err != nil {
					return err
				}
			}
			due <- d
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("work ended with %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("work does not end")
		}
	})
	return due
}

func arm(t *testing.T, timers core.Timers, vendor, grant string, at time.Time) {
	t.Helper()
	if err := timers.Arm(testContext(t), vendor, grant, at); err != nil {
		t.Fatal(err)
	}
}

func armedNow(t *testing.T, timers core.Timers) map[string]bool {
	t.Helper()
	armed, err := timers.Armed(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return armed
}

func receive(t *testing.T, due <-chan core.Due) core.Due {
	t.Helper()
	select {
	case d := <-due:
		return d
	case <-time.After(time.Minute):
		t.Fatal("no timer is due")
		return core.Due{}
	}
}

func TestTimerFiresAtItsTimeAndIsNotArmedAfter(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	timers := b.Timers()
	due := work(t, timers, "vendor", 2, nil)
	at := time.Now().Add(700 * time.Millisecond)
	arm(t, timers, "vendor", "g_1", at)
	if !armedNow(t, timers)["g_1"] {
		t.Error("it is not armed")
	}
	d := receive(t, due)
	if d.Grant != "g_1" || d.Time.Before(at) || d.Time.After(at.Add(500*time.Millisecond)) {
		t.Errorf("due %s at %v, want g_1 at %v", d.Grant, d.Time, at)
	}
	eventually(t, "a worked timer is not armed", func() bool { return len(armedNow(t, timers)) == 0 })
	arm(t, timers, "vendor", "g_2", time.Now().Add(-24*time.Hour))
	if d := receive(t, due); d.Grant != "g_2" {
		t.Errorf("due %s, want g_2, whose time had passed", d.Grant)
	}
}

// TestArmedListsManyTimersOverASlowConnection lists more timers than are on their way at a time, over a connection on which
// all of them take longer than a request may.
func TestArmedListsManyTimersOverASlowConnection(t *testing.T) {
	t.Parallel()
	const n = 2*armedBatch + 10
	s := startExternal(t, nil)
	cfg := externalConfig(t, s.ClientURL())
	near := openBus(t, cfg).Timers()
	var group errgroup.Group
	group.SetLimit(64)
	for i := range n {
		group.Go(func() error {
			return near.Arm(t.Context(), "vendor", fmt.Sprintf("g_%d", i), time.Now().Add(time.Hour))
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := near.Disarm(testContext(t), "vendor", "g_7"); err != nil {
		t.Fatal(err)
	}
	var told atomic.Int64
	const perSecond = 64 << 10
	cfg.DataDir, cfg.URL = t.TempDir(), slowly(t, s.Addr().String(), perSecond, &told)
	far := openBus(t, cfg).Timers()
	told.Store(0)
	armed := armedNow(t, far)
	for i := range n {
		if id := fmt.Sprintf("g_%d", i); armed[id] == (i == 7) {
			t.Errorf("%s: armed %t", id, armed[id])
		}
	}
	if len(armed) != n-1 {
		t.Errorf("%d are armed, want %d", len(armed), n-1)
	}
	if took := time.Duration(told.Load()) * time.Second / perSecond; took <= requestTimeout {
		t.Errorf("the list is of %d bytes, which take %v: not more than the %v of a request", told.Load(), took, requestTimeout)
	}
}

// slowly returns the address of a server as it is met over a slow connection, on which its answers come at a rate in bytes a
// second. Their bytes are counted.
func slowly(t *testing.T, server string, perSecond int, told *atomic.Int64) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns errgroup.Group
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		_ = conns.Wait()
	})
	limit := rate.NewLimiter(rate.Limit(perSecond), perSecond/8)
	conns.Go(func() error {
		for {
			near, err := l.Accept()
			if err != nil {
				return err
			}
			far, err := net.Dial("tcp", server)
			if err != nil {
				_ = near.Close()
				return err
			}
			context.AfterFunc(ctx, func() { _, _ = near.Close(), far.Close() })
			conns.Go(func() error {
				defer far.Close()
				_, err := io.Copy(far, near)
				return err
			})
			conns.Go(func() error {
				defer near.Close()
				return copySlowly(ctx, near, far, limit, told)
			})
		}
	})
	return "nats://" + l.Addr().String()
}

func copySlowly(ctx context.Context, to io.Writer, from io.Reader, limit *rate.Limiter, told *atomic.Int64) error {
	buffer := make([]byte, limit.Burst())
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return err
		}
		if err := limit.WaitN(ctx, n); err != nil {
			return err
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return err
		}
		told.Add(int64(n))
	}
}

// TestWorkersShareOneConsumer counts how often the consumer of due timers is made: once for all workers, and once more when
// it is gone.
func TestWorkersShareOneConsumer(t *testing.T) {
	t.Parallel()
	const workers = 64
	s := startExternal(t, nil)
	b := openBus(t, externalConfig(t, s.ClientURL()))
	nc := dialOutside(t, b)
	asked, err := nc.SubscribeSync("$JS.API.CONSUMER.CREATE." + timerStream + ".due_vendor.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	due := work(t, b.Timers(), "vendor", workers, nil)
	for round := range 2 {
		eventually(t, "each worker waits for a timer", func() bool {
			c, err := js.Consumer(testContext(t), timerStream, "due_vendor")
			return err == nil && c.CachedInfo().NumWaiting == workers
		})
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		if n, _, _ := asked.Pending(); n != round+1 {
			t.Errorf("the consumer was made %d times, want %d", n, round+1)
		}
		arm(t, b.Timers(), "vendor", "g_1", time.Now())
		if d := receive(t, due); d.Grant != "g_1" {
			t.Errorf("due %s, want g_1", d.Grant)
		}
		if round == 0 {
			if err := js.DeleteConsumer(testContext(t), timerStream, "due_vendor"); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestTimerArmedAgainFiresOnceAtTheNewTime(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	timers := b.Timers()
	due := work(t, timers, "vendor", 2, nil)
	arm(t, timers, "vendor", "g_1", time.Now().Add(400*time.Millisecond))
	at := time.Now().Add(900 * time.Millisecond)
	arm(t, timers, "vendor", "g_1", at)
	arm(t, timers, "vendor", "g_2", at.Add(300*time.Millisecond))
	if d := receive(t, due); d.Grant != "g_1" || d.Time.Before(at) {
		t.Errorf("due %s at %v, want g_1 not before %v", d.Grant, d.Time, at)
	}
	if d := receive(t, due); d.Grant != "g_2" {
		t.Errorf("due %s, want g_2", d.Grant)
	}
}

func TestDisarmedTimerDoesNotFire(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	timers := b.Timers()
	due := work(t, timers, "vendor", 2, nil)
	at := time.Now().Add(500 * time.Millisecond)
	arm(t, timers, "vendor", "g_1", at)
	arm(t, timers, "vendor", "g_2", at.Add(500*time.Millisecond))
	if err := timers.Disarm(testContext(t), "vendor", "g_1"); err != nil {
		t.Fatal(err)
	}
	if armed := armedNow(t, timers); armed["g_1"] || !armed["g_2"] {
		t.Errorf("armed %v, want g_2 alone", armed)
	}
	if d := receive(t, due); d.Grant != "g_2" {
		t.Errorf("due %s, want g_2 alone", d.Grant)
	}
	if err := timers.Disarm(testContext(t), "vendor", "g_none"); err != nil {
		t.Errorf("disarm what is not armed: %v", err)
	}
}

func TestDueTimerIsToldAgainUntilItIsWorked(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	var calls atomic.Int32
	due := work(t, b.Timers(), "vendor", 1, func(core.Due) error {
		if calls.Add(1) == 1 {
			return errors.New("not now")
		}
		return nil
	})
	arm(t, b.Timers(), "vendor", "g_1", time.Now())
	eventually(t, "the first call", func() bool { return calls.Load() == 1 })
	if !armedNow(t, b.Timers())["g_1"] {
		t.Error("a due timer that was not worked does not count as armed")
	}
	receive(t, due)
	if n := calls.Load(); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
}

func TestHangingVendorStarvesNoOtherAndItsPoolIsBounded(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	const limit = 3
	var inside atomic.Int32
	release := make(chan struct{})
	slow := work(t, b.Timers(), "slow", limit, func(core.Due) error {
		inside.Add(1)
		<-release
		return nil
	})
	fast := work(t, b.Timers(), "fast", limit, nil)
	for i := range 10 {
		arm(t, b.Timers(), "slow", fmt.Sprintf("s_%d", i), time.Now())
	}
	eventually(t, "the slow vendor's pool is full", func() bool { return inside.Load() == limit })
	for i := range 10 {
		arm(t, b.Timers(), "fast", fmt.Sprintf("f_%d", i), time.Now())
	}
	for range 10 {
		receive(t, fast)
	}
	if n := inside.Load(); n != limit {
		t.Errorf("%d at once, want %d", n, limit)
	}
	close(release)
	for range 10 {
		receive(t, slow)
	}
}

func TestEachDueTimerIsWorkedByOneReplica(t *testing.T) {
	t.Parallel()
	e := startExternal(t, nil)
	cfg := externalConfig(t, e.ClientURL())
	a, b := openBus(t, cfg), openOther(t, cfg)
	const many = 60
	due := make(chan core.Due, 4*many)
	for _, bus := range []*Bus{a, b} {
		work(t, bus.Timers(), "vendor", 4, func(d core.Due) error { due <- d; return nil })
	}
	for i := range many {
		arm(t, a.Timers(), "vendor", fmt.Sprintf("g_%d", i), time.Now())
	}
	seen := make(map[string]int)
	for range many {
		seen[receive(t, due).Grant]++
	}
	eventually(t, "all are worked", func() bool { return len(armedNow(t, a.Timers())) == 0 })
	if len(seen) != many || len(due) > 0 {
		t.Errorf("%d timers were worked, %d more than once", len(seen), len(due))
	}
}

func TestTimersRefuseWhatIsNoSubject(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	for _, c := range [][2]string{{"", "g"}, {"v", ""}, {"v.x", "g"}, {"*", "g"}, {"v", ">"}, {"v", "g x"}} {
		if err := b.Timers().Arm(testContext(t), c[0], c[1], time.Now()); err == nil {
			t.Errorf("vendor %q, grant %q were taken", c[0], c[1])
		}
		if err := b.Timers().Disarm(testContext(t), c[0], c[1]); err == nil {
			t.Errorf("vendor %q, grant %q were disarmed", c[0], c[1])
		}
	}
}
