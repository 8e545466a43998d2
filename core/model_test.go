package core_test

import (
	"flag"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// modelChecksVar says how many schedules TestProtocolModel tries, other ones each time. Without it, it tries sixty, the
// same ones each time.
const modelChecksVar = "ESIGND_MODEL_CHECKS"

// TestProtocolModel has two replicas go through schedules of calls, crashes, stalls, lost acknowledgements and failures,
// and checks what the refresh protocol promises: never twice, never lost, never resurrected, never stuck, each event
// once and in order. A schedule that fails is made small, printed, and kept below testdata/rapid, from where
// -rapid.failfile replays it.
func TestProtocolModel(t *testing.T) {
	checks := os.Getenv(modelChecksVar)
	if checks == "" {
		checks = "60"
		if flag.Lookup("rapid.seed").Value.String() == "0" {
			setFlag(t, "rapid.seed", "1") // the same schedules in every quick run
		}
	}
	setFlag(t, "rapid.checks", checks)
	tries := 1
	rapid.Check(t, func(rt *rapid.T) {
		s := drawSchedule(rt)
		var wrong, trace []string
		for n := 0; n < tries && len(wrong) == 0; n++ {
			synctest.Test(t, func(*testing.T) { wrong, trace = play(s) })
		}
		if len(wrong) > 0 {
			tries = 10 // what happens at one instant happens in any order: to be made small, a schedule is tried more than once
			rt.Fatalf("%s\n\n%s\n%s", strings.Join(wrong, "\n"), s, strings.Join(trace, "\n"))
		}
	})
}

func setFlag(t *testing.T, name, value string) {
	t.Helper()
	before := flag.Lookup(name).Value.String()
	if err := flag.Set(name, value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := flag.Set(name, before); err != nil {
			t.Error(err)
		}
	})
}
