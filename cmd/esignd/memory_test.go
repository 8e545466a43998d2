package main

import (
	"runtime/debug"
	"testing"
)

func TestReserveIsHeldUnlessTheEnvironmentSaysHowGarbageIsCollected(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	if n := len(holdReserve(reserve)); n != reserve {
		t.Errorf("%d bytes are held", n)
	}
	for name, value := range map[string]string{"GOGC": "50", "GOMEMLIMIT": "1GiB"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			if held := holdReserve(reserve); held != nil {
				t.Errorf("%d bytes are held with %s set", len(held), name)
			}
		})
	}
}

func TestReserveIsAShareOfMemoryThatIsBounded(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(192 << 20))
	if n := len(holdReserve(startReserve)); n != 24<<20 {
		t.Errorf("%d bytes of 192 MiB are held", n)
	}
}
