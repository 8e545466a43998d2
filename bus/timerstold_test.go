package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/esignd/esignd/tests/transcript"
)

const (
	outageBegan = "due timers cannot be asked for"
	outageEnded = "due timers are asked for again"
)

// An outage is one line for a vendor, whatever the number of its workers, and so is its end.
func TestOutageIsToldOnceForAllWorkersOfAVendor(t *testing.T) {
	t.Parallel()
	e := startExternal(t, nil)
	log := &transcript.Transcript{}
	cfg := externalConfig(t, e.ClientURL())
	cfg.Logger = slog.New(slog.NewJSONHandler(log, nil))
	b := openBus(t, cfg)
	timers := b.Timers()
	due := work(t, timers, "acme", 32, nil)
	arm(t, timers, "acme", "g_1", time.Now())
	receive(t, due)
	e.stop()
	eventually(t, "the outage is told", func() bool { return strings.Contains(log.String(), outageBegan) })
	awaitAway(t, b)
	e.restart(t)
	eventually(t, "a timer can be armed", func() bool { return timers.Arm(testContext(t), "acme", "g_2", time.Now()) == nil })
	receive(t, due)
	eventually(t, "the end of the outage is told", func() bool { return strings.Contains(log.String(), outageEnded) })
	for _, line := range []string{outageBegan, outageEnded} {
		if n := strings.Count(log.String(), line); n != 1 {
			t.Errorf("%q was told %d times", line, n)
		}
	}
}

func TestWorkersTellOfAnOutageWhatIsNew(t *testing.T) {
	t.Parallel()
	log := &transcript.Transcript{}
	w := dueWorker{timers: timers{bus: &Bus{log: slog.New(slog.NewTextHandler(log, nil))}}, vendor: "acme",
		told: &dueTold{unworked: rate.Sometimes{Interval: dueTellEvery}}}
	wants := func(when string, began, ended, unworked int) {
		t.Helper()
		for line, want := range map[string]int{outageBegan: began, outageEnded: ended, "could not be worked": unworked} {
			if n := strings.Count(log.String(), line); n != want {
				t.Errorf("%s: %q was told %d times, want %d", when, line, n, want)
			}
		}
	}
	ctx, before := t.Context(), time.Now()
	w.resumed(ctx, before)
	wants("no outage", 0, 0, 0)
	var workers sync.WaitGroup
	for i := range 64 {
		workers.Go(func() {
			w.interrupted(ctx, time.Now(), errors.New("gone"))
			w.unworked(ctx, fmt.Sprintf("g_%d", i), errors.New("gone"))
		})
	}
	workers.Wait()
	wants("64 workers", 1, 0, 1)
	w.resumed(ctx, before)
	wants("what was asked before the outage is answered", 1, 0, 1)
	w.resumed(ctx, time.Now())
	w.resumed(ctx, time.Now())
	wants("answers again", 1, 1, 1)
	w.interrupted(ctx, before, errors.New("gone"))
	wants("what was asked before the end fails", 1, 1, 1)
	w.interrupted(ctx, time.Now(), errors.New("gone"))
	wants("another outage", 2, 1, 1)
}
