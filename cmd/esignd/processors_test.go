package main

import (
	"runtime"
	"testing"
)

func TestSyncedWritesHavePlacesOfTheirOwnUnlessTheEnvironmentSaysHowMany(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	t.Setenv("GOMAXPROCS", "")
	restore := spareProcessors()
	if n := runtime.GOMAXPROCS(0); n != before+spare {
		t.Errorf("%d goroutines run at once, %d are wanted", n, before+spare)
	}
	restore()
	t.Setenv("GOMAXPROCS", "3")
	spareProcessors()()
	if n := runtime.GOMAXPROCS(0); n != before {
		t.Errorf("%d goroutines run at once, not %d as before", n, before)
	}
}
