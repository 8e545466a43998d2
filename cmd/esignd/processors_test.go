package main

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

func TestSyncedWritesHavePlacesOfTheirOwnWhileThereAreMany(t *testing.T) {
	t.Setenv("GOMAXPROCS", "")
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	runtime.SetDefaultGOMAXPROCS()
	synctest.Test(t, func(t *testing.T) {
		before := runtime.GOMAXPROCS(0)
		p := newProcessors()
		want := func(n int, when string) {
			t.Helper()
			if got := runtime.GOMAXPROCS(0); got != n {
				t.Errorf("%s %d goroutines run at once, %d are wanted", when, got, n)
			}
		}
		change := func(n int) {
			for range n {
				p.changed(t.Context(), core.Transition{})
			}
		}
		change(muchWritten)
		want(before, "after a few changes")
		change(1)
		want(before+spare, "after many changes")
		time.Sleep(stillWritten - time.Second)
		change(10 * muchWritten)
		time.Sleep(stillWritten - time.Millisecond)
		want(before+spare, "while there are many changes")
		time.Sleep(time.Millisecond)
		synctest.Wait()
		want(before, "when changes are few again")
		change(10 * muchWritten)
		want(before+spare, "after many changes anew")
		p.end()
		want(before, "at the end")
		change(10 * muchWritten)
		want(before, "after the end")
	})
}

func TestTheEnvironmentSaysHowManyGoroutinesRunAtOnce(t *testing.T) {
	t.Setenv("GOMAXPROCS", "3")
	if newProcessors() != nil {
		t.Error("there are places to be added where the environment says how many there are")
	}
}
