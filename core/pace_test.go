package core_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
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
