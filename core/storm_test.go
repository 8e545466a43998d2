package core_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

// storm is many grants of one client, whose tokens end one after the other, and what became of them.
type storm struct {
	*world
	n int

	mu   sync.Mutex
	done map[int]time.Time // when each was refreshed, by its place in the order of expiry
	sent int               // calls, whatever came of them
	down func() error      // nil: the vendor answers

	takes  time.Duration   // a call
	others []*core.Manager // the other replicas
}

// newStorm imports n grants, each with a token that ends a moment after the one before, in an order of its own.
func newStorm(t *testing.T, n, replicas int) *storm {
	return newStormOf(t, n, replicas, 5*time.Minute, 10*time.Millisecond)
}

// newStormOf is newStorm with tokens of which the first ends after a lifetime, and each of the others apart from the one
// before.
func newStormOf(t *testing.T, n, replicas int, lifetime, apart time.Duration) *storm {
	s := &storm{n: n, done: map[int]time.Time{}, takes: 100 * time.Millisecond}
	s.world = newWorld(t, func(c *core.Config) { c.Publisher = &tally{Publisher: c.Publisher} })
	first := time.Now().Add(lifetime)
	for k := range n {
		i := k * 7919 % n // not the order in which they end
		_, err := s.m.Import(t.Context(), core.ImportRequest{
			Tenant: tenant, Client: main, Account: fmt.Sprint("account-", i), RefreshToken: s.vendor.seed(fmt.Sprint("seed-", i)),
			AccessToken: core.NewSecret(fmt.Sprint("given-", i)), ExpiresAt: first.Add(time.Duration(i) * apart),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range replicas - 1 {
		s.others = append(s.others, s.another())
	}
	s.vendor.set(func(v *vendor) { v.before, v.after = s.before, s.after })
	return s
}

func (s *storm) before(context.Context, core.TokenRequest) error {
	s.mu.Lock()
	s.sent++
	down, takes := s.down, s.takes
	s.mu.Unlock()
	time.Sleep(takes)
	if down != nil {
		return down()
	}
	return nil
}

func (s *storm) after(_ context.Context, r core.TokenRequest) error {
	var i int
	if _, err := fmt.Sscanf(r.RefreshToken.Reveal(), "seed-%d", &i); err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.done[i] = time.Now()
	}
	return nil
}

// weather sets what the vendor does.
func (s *storm) weather(down func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

// calls counts the calls that were sent.
func (s *storm) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

// passed waits until all are refreshed, and says how it went since the vendor could be called.
func (s *storm) passed(since time.Time) figures {
	s.t.Helper()
	for time.Since(since) < 10*time.Minute && len(s.finished()) < s.n {
		time.Sleep(time.Second)
	}
	done := s.finished()
	if len(done) != s.n || s.vendor.presentedTwice() != 0 {
		s.t.Fatalf("%d of %d grants were refreshed in ten minutes, %d tokens presented twice", len(done), s.n, s.vendor.presentedTwice())
	}
	f := measure(done, since)
	s.t.Logf("%d grants, %d replicas: %s", s.n, 1+len(s.others), f)
	return f
}

// finished returns the times of the refreshes in the order of expiry.
func (s *storm) finished() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ts []time.Time
	for i := range s.n {
		if at, ok := s.done[i]; ok {
			ts = append(ts, at)
		}
	}
	return ts
}

// figures tell how a storm was spread.
type figures struct {
	first     time.Duration // until the first refresh
	last      time.Duration // from the first to the last
	one, two  int           // refreshes in the first second and in the next
	most      int           // in any second
	rank      float64       // correlation of the order of refreshes and of expiry, 1 where they are the same
	out       int           // how many were refreshed a second or more after one that ends later
	outAtMost time.Duration
}

func (f figures) String() string {
	return fmt.Sprintf("the first after %s, %d within a second of it, %d in the next, at most %d in one; the last %s after the first; rank correlation with the expiry %.4f; "+
		"%d went a second or more after one that ends later, at most %s", f.first.Round(time.Millisecond), f.one, f.two, f.most, f.last.Round(time.Millisecond),
		f.rank, f.out, f.outAtMost.Round(time.Millisecond))
}

func measure(done []time.Time, since time.Time) figures {
	begun := slices.MinFunc(done, time.Time.Compare)
	f := figures{first: begun.Sub(since), last: slices.MaxFunc(done, time.Time.Compare).Sub(begun), rank: correlation(done)}
	per := map[int]int{}
	for _, at := range done {
		second := int(at.Sub(begun) / time.Second)
		per[second]++
		f.most = max(f.most, per[second])
	}
	f.one, f.two = per[0], per[1]
	soonest := done[len(done)-1]
	for _, at := range slices.Backward(done) {
		if by := at.Sub(soonest); by >= time.Second {
			f.out++
			f.outAtMost = max(f.outAtMost, by)
		} else if by < 0 {
			soonest = at
		}
	}
	return f
}

// correlation is Spearman's, of the order in which the grants stand and that in which they were done.
func correlation(done []time.Time) float64 {
	order := make([]int, len(done))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return done[a].Compare(done[b]) })
	var sum float64
	for place, i := range order {
		sum += math.Pow(float64(place-i), 2)
	}
	n := float64(len(done))
	return 1 - 6*sum/(n*(n*n-1))
}

// tally hands on the events that are of no grant, and drops the others.
type tally struct{ core.Publisher }

func (p *tally) Publish(ctx context.Context, e core.Event) error {
	if e.Grant != "" {
		return nil
	}
	return p.Publisher.Publish(ctx, e)
}

// check checks what a storm may be: a slow start, a bound, and the order of expiry but for the few whose turn came while
// it was found out whether the vendor answers.
func (f figures) check(t *testing.T) {
	t.Helper()
	if f.one > 100 || f.two > 250 || f.most > 1100 {
		t.Errorf("%d in the first second, %d in the next, %d in one: the vendor is not spared", f.one, f.two, f.most)
	}
	if f.rank < 0.8 || f.out > 50 || f.outAtMost > 5*time.Second {
		t.Errorf("rank correlation %.4f, %d out of order by up to %s: who ends first does not go first", f.rank, f.out, f.outAtMost)
	}
}

// stormVar says how many grants wait out an outage; without it there are few.
const stormVar = "ESIGND_STORM_GRANTS"

func stormSize(t *testing.T) int {
	size := os.Getenv(stormVar)
	if size == "" {
		return 300
	}
	n, err := strconv.Atoi(size)
	if err != nil {
		t.Fatalf("%s: %v", stormVar, err)
	}
	return n
}

func unreachable() error { return &core.VendorError{Outcome: core.NotSent, Code: core.CodeNetwork} }

func busyFor(d time.Duration) func() error {
	return func() error {
		return &core.VendorError{Outcome: core.Refused, Code: core.CodeRateLimited, Status: 429, RetryAfter: d}
	}
}

func TestStormAfterAnOutageIsSpreadAndTheTokenThatEndsFirstGoesFirst(t *testing.T) {
	t.Parallel()
	refused := func() error {
		return &core.VendorError{Outcome: core.Refused, Code: core.CodeInvalidClient, Status: 401}
	}
	for _, c := range []struct {
		name     string
		down     func() error
		replicas int
		within   time.Duration // after the end of the outage the first refresh
	}{
		{"the vendor could not be reached", unreachable, 1, 25 * time.Second},
		{"the vendor could not be reached, three replicas", unreachable, 3, 25 * time.Second},
		{"the vendor wanted to be left alone, three replicas", busyFor(7 * time.Minute), 3, 10 * time.Minute},
		{"the vendor refused the client, three replicas", refused, 3, 10 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStorm(t, stormSize(t), c.replicas)
				defer s.close()
				s.weather(c.down)
				time.Sleep(7*time.Minute + 20*time.Second) // every token has ended
				synctest.Wait()
				t.Logf("%d calls in the outage", s.calls())
				s.weather(nil)
				f := s.passed(time.Now())
				f.check(t)
				if f.first > c.within {
					t.Errorf("the first refresh came after %s", f.first)
				}
				t.Log(s.events.types())
			})
		})
	}
}

func TestStormAfterAnOutageOfEsigndIsSpreadAndTheTokenThatEndsFirstGoesFirst(t *testing.T) {
	t.Parallel()
	for _, replicas := range []int{1, 3} {
		t.Run(fmt.Sprint(replicas, " replicas"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStorm(t, stormSize(t), 1)
				s.close()
				time.Sleep(10 * time.Minute)
				s.m = s.start()
				defer s.close()
				for range replicas - 1 {
					s.others = append(s.others, s.another())
				}
				s.passed(time.Now()).check(t)
			})
		})
	}
}
