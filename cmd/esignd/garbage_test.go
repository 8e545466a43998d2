package main

import "testing"

func TestReserveIsHeldUnlessTheEnvironmentSaysHowGarbageIsCollected(t *testing.T) {
	t.Setenv("GOGC", "")
	if n := len(holdReserve(reserve)); n != reserve {
		t.Errorf("%d bytes are held", n)
	}
	t.Setenv("GOGC", "50")
	if held := holdReserve(reserve); held != nil {
		t.Errorf("%d bytes are held with GOGC set", len(held))
	}
}
