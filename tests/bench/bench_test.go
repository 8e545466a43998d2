//go:build heavy

package bench

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"
)

// TestPerformance measures, part by part. A part that fails or takes too long is left out of the page, which says so; the
// page is written after each, so that a run that ends early leaves what it has.
func TestPerformance(t *testing.T) {
	s, asReport := plan()
	r := &report{Machine: thisMachine(t), Quick: s.quick}
	dir := t.TempDir()
	if asReport {
		dir = os.Getenv(docsVariable)
	}
	begun := time.Now()
	for _, p := range r.parts(s) {
		within := min(p.within, s.within-time.Since(begun)).Round(time.Second)
		t.Logf("%s of at most %s: %s, for at most %s", time.Since(begun).Round(time.Second), s.within, p.name, max(within, 0))
		if within <= 0 || !t.Run(p.name, func(t *testing.T) { p.run(t, within) }) {
			r.Missing = append(r.Missing, p.name)
			t.Errorf("not measured: %s", p.name)
		}
		r.write(t, dir)
	}
	if !asReport && len(r.Missing) == 0 {
		holds(t, r)
	}
}

// part is a part of a run.
type part struct {
	name   string
	within time.Duration
	do     func(testing.TB)
}

func (p part) run(t *testing.T, within time.Duration) {
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	p.do(bounded{t, ctx})
}

// bounded is a test whose context has a deadline: it ends what takes longer.
type bounded struct {
	*testing.T
	ctx context.Context
}

// Context implements testing.TB.
func (b bounded) Context() context.Context { return b.ctx }

// left is how long a part may go on.
func left(t testing.TB) time.Duration {
	at, ok := t.Context().Deadline()
	if !ok {
		return time.Hour
	}
	return time.Until(at)
}

// parts are those of a run, in their order: what a run is most likely to have no time for comes last.
func (r *report) parts(s sizes) []part {
	list := []part{
		{"engine", time.Minute, func(t testing.TB) { r.Engine = measureEngine(t) }},
		{"kept token", time.Minute, func(t testing.TB) { r.Kept = measureKept(t) }},
		{"plugin", 2 * time.Minute, func(t testing.TB) { r.Plugin = measurePlugin(t, s.calls) }},
		{"requests", 7 * time.Minute, func(t testing.TB) { r.Requests = measureRequests(t, s) }},
		{"due together", 5 * time.Minute, func(t testing.TB) { r.Together = measureTogether(t, s.together) }},
		{"forced at once", 5 * time.Minute, func(t testing.TB) { r.AtOnce = measureAtOnce(t, s.atOnce) }},
	}
	if s.turns > 0 {
		list = append(list, part{"telemetry", 4 * time.Minute, func(t testing.TB) { r.Telemetry = measureTelemetry(t, s.turns) }})
	}
	scale := func(n int, within time.Duration, to func(*scaleResult)) {
		list = append(list, part{fmt.Sprintf("%d grants", n), within, func(t testing.TB) {
			result := newScaleResult(n)
			to(result) // what is measured before something fails, counts
			measureScale(t, s, result)
		}})
	}
	for _, n := range s.grants {
		scale(n, 8*time.Minute, func(one *scaleResult) { r.Scale = append(r.Scale, one) })
	}
	if s.most > 0 {
		scale(s.most, 14*time.Minute, func(one *scaleResult) { r.Most = one })
	}
	return list
}

// holds checks that what was measured was done. How fast it was is no matter on a machine that does other things too.
func holds(t *testing.T, r *report) {
	t.Helper()
	for _, b := range []*burstResult{r.Together, r.AtOnce} {
		if !b.Exactly() {
			t.Errorf("of %d grants %d were refreshed once, %d more often; %d refresh tokens were presented again", b.Grants, b.Once, b.More, b.Reused)
		}
	}
	if most := 6.0; r.AtOnce.SyncedWrites() > most {
		t.Errorf("a refresh writes %.2f times; at most %.0f", r.AtOnce.SyncedWrites(), most)
	}
	for _, q := range r.Requests {
		if q.Rate <= 0 || q.EchoRate <= 0 {
			t.Errorf("%s: token.get answers %.0f times a second, a bare echo %.0f", q.Who(), q.Rate, q.EchoRate)
		}
	}
	if r.Engine.AllocsGrant > 0 {
		t.Errorf("a live token takes %d allocations", r.Engine.AllocsGrant)
	}
	if most := uint64(r.Kept.Tokens / 1000); r.Kept.Asked > most {
		t.Errorf("a client that keeps tokens sent %d messages for %d of them", r.Kept.Asked, r.Kept.Tokens)
	}
	if most := 32 << 10; r.HeapEach() > float64(most) {
		t.Errorf("an idle grant takes %.0f bytes of heap; at most %d", r.HeapEach(), most)
	}
}
