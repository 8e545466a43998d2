package core_test

import (
	"fmt"
	"strings"
	"time"

	"pgregory.net/rapid"
)

// schedule is what happens to a fleet of two machines.
type schedule struct {
	rotates, lazy bool
	lifetime      time.Duration
	steps         []step
	rests         []rest
}

// step is something that a caller or the world does, a while after the step before.
type step struct {
	after time.Duration
	on    int // the machine
	do    string
	d     time.Duration // of what lasts
	// harm goes wrong on that machine where it reaches a place for the nth time from now on.
	harm  kind
	place string
	nth   int
}

// rest is how a machine comes back from a crash.
type rest struct {
	after time.Duration
	anew  bool // with another data folder
}

func (s schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "rotates %v, lazy %v, lifetime %s, comes back %v\n", s.rotates, s.lazy, s.lifetime, s.rests)
	for _, st := range s.steps {
		fmt.Fprintf(&b, "  after %s on %d: %s %s", st.after, st.on, st.do, st.d)
		if st.harm != "" {
			fmt.Fprintf(&b, "; %s %s %q, time %d", st.harm, st.d, st.place, st.nth)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// What a step may be. The first of each is the mildest: a failing schedule shrinks towards it.
var (
	modelDoings = []string{
		"nothing", "token", "refresh", "report", "refresh", "token", "refresh", "report", "cached", "refresh", "import", "connect", "import", "connect",
		"revoke", "forget", "deaf", "dark", "die",
	}
	modelPauses = []time.Duration{0, 10 * time.Millisecond, 300 * time.Millisecond, 1100 * time.Millisecond, 4 * time.Second, 16 * time.Second, 40 * time.Second, 100 * time.Second}
	modelWaits  = []time.Duration{time.Second, 2500 * time.Millisecond, 6 * time.Second, 12 * time.Second, 20 * time.Second, 40 * time.Second}
	modelKinds  = []kind{"", fail, stall, pause, crash, fail, stall, pause, crash, busy, broken}
)

// modelPlaces is where things go wrong, by what is done meanwhile; "" is everything else.
var modelPlaces = map[string][]string{
	"": {
		"before any", "after any", "before claim", "after claim", "before token", "after token", "before commit", "after commit", "before outcome",
		"after outcome", "before publish", "after publish", "before clearing", "after clearing", "before arming", "before get", "after get",
		"before spool", "after spool", "before debt", "after debt", "before client",
	},
	"import": {"before any", "after any", "before import", "after import", "before token", "after token", "before consent", "after consent", "before publish", "before clearing", "after get", "before spool", "after spool"},
	"connect": {"before any", "after any", "before ticket", "after ticket", "before token", "after token", "before consent", "after consent", "before delete",
		"after get", "before spool", "after spool", "before debt", "after pending"},
	"revoke": {"before any", "after any", "before revocation", "after revocation", "before revoke", "after revoke", "before settlement", "after settlement", "before publish", "before clearing"},
	"forget": {"before any", "after any", "before revocation", "after revocation", "before revoke", "after revoke", "before settlement", "after settlement", "before tombstone", "after tombstone"},
}

func drawSchedule(t *rapid.T) schedule {
	s := schedule{
		rotates:  rapid.Bool().Draw(t, "rotates"),
		lazy:     rapid.Bool().Draw(t, "lazy"),
		lifetime: rapid.SampledFrom([]time.Duration{2 * time.Minute, 6 * time.Minute}).Draw(t, "lifetime"),
	}
	s.steps = rapid.SliceOfN(rapid.Custom(drawStep), 8, 40).Draw(t, "steps")
	s.rests = rapid.SliceOfN(rapid.Custom(drawRest), 1, 4).Draw(t, "comes back")
	return s
}

func drawStep(t *rapid.T) step {
	st := step{
		after: rapid.SampledFrom(modelPauses).Draw(t, "after"),
		on:    rapid.IntRange(0, 1).Draw(t, "on"),
		do:    rapid.SampledFrom(modelDoings).Draw(t, "do"),
		d:     rapid.SampledFrom(modelWaits).Draw(t, "d"),
		harm:  rapid.SampledFrom(modelKinds).Draw(t, "harm"),
	}
	if st.harm != "" {
		places := modelPlaces[st.do]
		if places == nil {
			places = modelPlaces[""]
		}
		st.place = rapid.SampledFrom(places).Draw(t, "place")
		st.nth = rapid.SampledFrom([]int{1, 1, 1, 1, 2, 3}).Draw(t, "nth")
	}
	return st
}

func drawRest(t *rapid.T) rest {
	return rest{
		after: rapid.SampledFrom([]time.Duration{0, time.Second, 10 * time.Second, 40 * time.Second, 2 * time.Minute}).Draw(t, "after"),
		anew:  rapid.Bool().Draw(t, "anew"),
	}
}
