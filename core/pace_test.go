package core_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

// While tokens live, their refreshes leave room for callers: no more go in a second than the tokens' ends ask for.
func TestStormOfTokensThatLiveIsSpreadOverTheTimeThatTheyHave(t *testing.T) {
	t.Parallel()
	const lives = 20 * time.Second
	for _, c := range []struct{ grants, replicas, most int }{
		{300, 1, 120},  // the least pace
		{300, 3, 120},  // replicas keep to it together
		{2000, 1, 190}, // 160 a second are in time
	} {
		t.Run(fmt.Sprint(c.grants, " grants, ", c.replicas, " replicas"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStormOf(t, c.grants, 1, 6*lives, time.Millisecond)
				ends := time.Now().Add(6 * lives)
				s.close()
				time.Sleep(5 * lives)
				s.m = s.start()
				defer s.close()
				for range c.replicas - 1 {
					s.others = append(s.others, s.another())
				}
				f := s.passed(time.Now())
				if f.most > c.most || f.outAtMost > 5*time.Second {
					t.Errorf("%d in a second, at most %d are called for; %d out of order by up to %s", f.most, c.most, f.out, f.outAtMost)
				}
				if last := slices.MaxFunc(s.finished(), time.Time.Compare); last.After(ends) {
					t.Errorf("the last was refreshed %s after the first token had ended", last.Sub(ends))
				}
			})
		})
	}
}

// expense counts what refreshes ask of a store.
type expense struct {
	core.Store
	core.Timers
	writes, arms, due atomic.Int64
}

func (x *expense) Put(ctx context.Context, r core.Record) (uint64, error) {
	if strings.HasPrefix(r.Key, "grant.") {
		x.writes.Add(1)
	}
	return x.Store.Put(ctx, r)
}

func (x *expense) Arm(ctx context.Context, vendor, grant string, at time.Time) error {
	x.arms.Add(1)
	return x.Timers.Arm(ctx, vendor, grant, at)
}

func (x *expense) Work(ctx context.Context, vendor string, limit int, fn func(context.Context, core.Due) error) error {
	return x.Timers.Work(ctx, vendor, limit, func(ctx context.Context, d core.Due) error {
		x.due.Add(1)
		return fn(ctx, d)
	})
}

// Callers wait while the processor works for those who wait: that is to be little.
func TestGrantThatWaitsShortlyForItsTurnIsWrittenAndTimedNoMoreOftenThanOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n, lives = 300, time.Minute // the line has passed in 4 s
		s := newStormOf(t, n, 1, 6*lives, time.Millisecond)
		s.close()
		time.Sleep(5 * lives)
		x := &expense{Store: s.cfg.Store, Timers: s.cfg.Timers}
		var told events
		s.cfg.Store, s.cfg.Timers, s.cfg.Publisher = x, x, core.NewMemoryPublisher(told.add)
		s.m = s.start()
		s.passed(time.Now())
		time.Sleep(20 * time.Second) // what waits for the end of a claim has been looked at
		s.close()
		for what, c := range map[string]struct{ have, most int64 }{
			"writes: claim, commit, debts paid": {x.writes.Load(), 3*n + n/20},
			// One that changes while its timer is armed is armed again.
			"timers armed: for the turn, the claim, the next": {x.arms.Load(), 3*n + n/2},
			"timers worked: that which was due":               {x.due.Load(), n + n/20},
		} {
			if c.have > c.most {
				t.Errorf("%d grants: %s: %d, at most %d", n, what, c.have, c.most)
			}
		}
		count := map[string]int{}
		for _, e := range told.types() {
			count[e]++
		}
		if count["token.expiring"] != n || count["token.issued refreshed"] != n {
			t.Errorf("of %d grants are told %v", n, count)
		}
	})
}

func TestTokenExpiringIsToldInTimeWhereTheTurnIsFar(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n, lives = 2000, 20 * time.Second // the line takes 13 s
		s := newStormOf(t, n, 1, 6*lives, 0)
		ends := time.Now().Add(6 * lives)
		s.close()
		time.Sleep(5 * lives)
		var told events
		s.cfg.Publisher = core.NewMemoryPublisher(told.add)
		s.m = s.start()
		s.passed(time.Now())
		s.close()
		expiring, early := 0, 0
		issued := map[string]time.Time{}
		for _, e := range told.all {
			if e.Type == core.TokenIssued {
				issued[e.Grant] = e.Time
			}
		}
		for _, e := range told.all {
			if e.Type != core.TokenExpiring {
				continue
			}
			expiring++
			if issued[e.Grant].Sub(e.Time) > time.Second {
				early++
			}
			if left := ends.Sub(e.Time); left < lives/3 {
				t.Errorf("%s is told %s before the end of its token", e.Grant, left)
			}
		}
		if expiring != n || early == 0 {
			t.Errorf("token.expiring was told %d times of %d grants, of %d ahead of their claims", expiring, n, early)
		}
	})
}
