//go:build heavy && linux

package chaos

import (
	"testing"
	"time"

	"github.com/esignd/esignd/core"
)

// planted is a grant that was authorized and refreshed twice, all in order.
func planted() (evidence, *grantEvidence, time.Time) {
	now := time.Now()
	c := &consent{}
	for i := range 3 {
		begun := now.Add(time.Duration(i) * 6 * time.Second)
		s := &set{consent: c, access: string(rune('a' + i)), refresh: string(rune('A' + i)), expires: begun.Add(lifetime)}
		if i > 0 {
			s.by = &presentation{at: begun, answered: begun.Add(thinking), status: 200, brought: s}
			c.sets[i-1].presented = []*presentation{s.by}
		}
		c.sets = append(c.sets, s)
	}
	e := evidence{seen: map[string]bool{"a": true, "b": true, "c": true}}
	for generation := range uint64(3) {
		e.events = append(e.events, core.Event{Type: core.TokenIssued, Grant: "g", Generation: generation + 1, Time: now})
	}
	e.grants = []grantEvidence{{id: "g", rotates: true, consents: []*consent{c}, handed: 3, fate: fate{core.Active, now.Add(time.Minute)}}}
	return e, &e.grants[0], now
}

// again presents the refresh token of the second set a second time.
func again(e *evidence, g *grantEvidence, at time.Time) {
	s := g.consents[0].sets[1]
	s.presented = append(s.presented, &presentation{at: at, answered: at, status: 400})
	g.consents[0].ended = at
}

// Each wrong is found that the scenarios are there to find.
func TestJudgeFindsWhatIsPlanted(t *testing.T) {
	type plant func(e *evidence, g *grantEvidence, now time.Time)
	died := func(reason string, after time.Duration) plant {
		return func(e *evidence, g *grantEvidence, now time.Time) {
			e.events = append(e.events, core.Event{Type: core.GrantReauthorizationRequired, Grant: "g", Generation: 3, Reason: reason, Time: now.Add(after)})
			g.fate.state = core.NeedsReauthorization
		}
	}
	lost := func(e *evidence, _ *grantEvidence, _ time.Time) { delete(e.seen, "c") }
	killed := func(e *evidence, _ *grantEvidence, now time.Time) {
		e.faults = []fault{{now.Add(12 * time.Second), now.Add(13 * time.Second)}}
	}
	retried := func(after time.Duration) plant {
		return func(e *evidence, g *grantEvidence, now time.Time) { again(e, g, now.Add(after)) }
	}
	counted := func(after time.Duration) plant {
		return func(e *evidence, _ *grantEvidence, now time.Time) {
			e.lastTries = []lastTry{{"g", now.Add(after - time.Millisecond)}}
		}
	}
	tests := map[string]struct {
		plants []plant
		want   verdict
		wrong  int
	}{
		"nothing":            {},
		"an event less":      {[]plant{func(e *evidence, _ *grantEvidence, _ time.Time) { e.events = e.events[1:] }}, verdict{missing: 1}, 1},
		"an event twice":     {[]plant{func(e *evidence, _ *grantEvidence, _ time.Time) { e.events = append(e.events, e.events[2]) }}, verdict{doubled: 1}, 1},
		"events upside down": {[]plant{func(e *evidence, _ *grantEvidence, _ time.Time) { e.events[0], e.events[1] = e.events[1], e.events[0] }}, verdict{}, 1},
		"a grant is silent":  {[]plant{func(_ *evidence, g *grantEvidence, _ time.Time) { g.fate = fate{} }}, verdict{lost: 1}, 1},
		"needs its owner, unsaid": {[]plant{func(_ *evidence, g *grantEvidence, _ time.Time) { g.fate.state = core.NeedsReauthorization }},
			verdict{missing: 1}, 1},
		"an answer lost to nothing":    {[]plant{lost}, verdict{}, 1},
		"an answer lost to a kill":     {[]plant{lost, killed}, verdict{answersLost: 1}, 0},
		"presented twice, not counted": {[]plant{retried(13 * time.Second)}, verdict{twice: 1}, 1},
		"presented twice, counted":     {[]plant{retried(13 * time.Second), counted(13 * time.Second)}, verdict{lastTries: 1, again: 1}, 0},
		"counted, with a live token":   {[]plant{retried(12100 * time.Millisecond), counted(12100 * time.Millisecond), early}, verdict{lastTries: 1, again: 1, early: 1}, 1},
		"a death by a lost answer":     {[]plant{lost, killed, died(core.ReasonOutcomeUnknown, 20*time.Second)}, verdict{answersLost: 1, reconnected: 1}, 0},
		"a death by a lost last try":   {[]plant{counted(11 * time.Second), killed, died(core.ReasonOutcomeUnknown, 20*time.Second)}, verdict{lastTries: 1, reconnected: 1}, 0},
		"a death for no reason":        {[]plant{died(core.ReasonOutcomeUnknown, 20*time.Second)}, verdict{reconnected: 1, lost: 1}, 1},
		"a death for another reason":   {[]plant{lost, killed, died(core.ReasonInvalidGrant, 20*time.Second)}, verdict{answersLost: 1, reconnected: 1, lost: 1}, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e, g, now := planted()
			for _, p := range test.plants {
				p(&e, g, now)
			}
			v := judge(e)
			got := verdict{lost: v.lost, reconnected: v.reconnected, answersLost: v.answersLost, twice: v.twice, again: v.again, early: v.early,
				lastTries: v.lastTries, missing: v.missing, doubled: v.doubled}
			if !same(got, test.want) || len(v.wrong) != test.wrong {
				t.Errorf("%+v and %q, want %+v and %d wrongs", got, v.wrong, test.want, test.wrong)
			}
		})
	}
}

// early lets the access token of the second set live on.
func early(_ *evidence, g *grantEvidence, now time.Time) {
	g.consents[0].sets[1].expires = now.Add(time.Minute)
}

func same(a, b verdict) bool {
	return a.lost == b.lost && a.reconnected == b.reconnected && a.answersLost == b.answersLost && a.twice == b.twice &&
		a.lastTries == b.lastTries && a.again == b.again && a.early == b.early && a.missing == b.missing && a.doubled == b.doubled
}
