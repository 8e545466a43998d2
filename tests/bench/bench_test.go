//go:build heavy

package bench

import (
	"os"
	"testing"
	"time"
)

func TestPerformance(t *testing.T) {
	s, asReport := plan()
	r := report{Machine: thisMachine(t)}
	steps := []struct {
		name string
		do   func(*testing.T)
	}{
		{"engine", func(t *testing.T) { r.Engine = measureEngine(t) }},
		{"plugin", func(t *testing.T) { r.Plugin = measurePlugin(t, s.calls) }},
		{"requests", func(t *testing.T) { r.Requests = measureRequests(t, s) }},
		{"scale", func(t *testing.T) {
			for _, n := range s.grants {
				r.Scale = append(r.Scale, measureScale(t, s, n))
			}
		}},
		{"together", func(t *testing.T) { r.Together = measureTogether(t, s.together) }},
		{"at once", func(t *testing.T) { r.AtOnce = measureAtOnce(t, s.atOnce) }},
		{"most", func(t *testing.T) {
			if s.most > 0 {
				s.starts = 1
				most := measureScale(t, s, s.most)
				r.Most = &most
			}
		}},
	}
	for _, step := range steps {
		begun := time.Now()
		if !t.Run(step.name, step.do) {
			t.Fatalf("%s could not be measured", step.name)
		}
		t.Logf("%s took %s", step.name, time.Since(begun).Round(time.Second))
	}
	dir := t.TempDir()
	if asReport {
		dir = os.Getenv(docsVariable)
	} else {
		holds(t, r)
	}
	r.write(t, dir)
}

// holds checks that what was measured was done. How fast it was is no matter on a machine that does other things too.
func holds(t *testing.T, r report) {
	t.Helper()
	for _, b := range []burstResult{r.Together, r.AtOnce} {
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
	if most := 32 << 10; r.HeapEach() > float64(most) {
		t.Errorf("an idle grant takes %.0f bytes of heap; at most %d", r.HeapEach(), most)
	}
}
