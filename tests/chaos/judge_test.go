//go:build heavy && linux

package chaos

import (
	"fmt"
	"time"

	"github.com/esignd/esignd/core"
)

// lastTry is one that esignd says it made: it is told before the vendor is asked.
type lastTry struct {
	grant string
	at    time.Time
}

// evidence is what is known at the end of a scenario.
type evidence struct {
	grants    []grantEvidence
	events    []core.Event
	lastTries []lastTry
	faults    []fault
	seen      map[string]bool // access tokens that callers got
}

// grantEvidence is what is known of a grant.
type grantEvidence struct {
	id       string
	rotates  bool
	consents []*consent // as the vendor knows them
	handed   uint64     // the highest generation that a caller got
	fate     fate       // zero where it was not found out
}

// verdict is what the evidence shows.
type verdict struct {
	lost, reconnected int
	answersLost       int // by a fault, after the vendor had issued
	twice, lastTries  int
	again, early      int // last tries that the vendor saw as a second presentation; those of them while a token lived
	missing, doubled  int
	wrong             []string
	outcomes          map[*set]bool        // answers that were lost by a fault
	unused            map[string][]lastTry // by grant, in order
}

const (
	// commitWithin is how long after an answer its commit may still be on its way.
	commitWithin = 2 * time.Second
	// slack is by how much the vendor may think a token younger than esignd does, which counts from the request.
	slack = time.Second
	// nearEnd is what is left of a token's life when the last try may be made.
	nearEnd = lifetime / 6
)

// judge says what the evidence shows. The doors must have been closed to new requests, or be at rest.
func judge(e evidence) verdict {
	v := verdict{outcomes: map[*set]bool{}, unused: map[string][]lastTry{}, lastTries: len(e.lastTries)}
	for _, l := range e.lastTries {
		v.unused[l.grant] = append(v.unused[l.grant], l)
	}
	for _, g := range e.grants {
		v.presentations(g)
		v.answers(e, g)
		v.history(e, g)
	}
	return v
}

func (v *verdict) say(format string, args ...any) {
	v.wrong = append(v.wrong, fmt.Sprintf(format, args...))
}

// presentations looks for refresh tokens that were presented when they might be spent. Each such presentation is a last
// try that esignd accounts for, and none is made while the access token that came with it lives on.
func (v *verdict) presentations(g grantEvidence) {
	if !g.rotates {
		return
	}
	for _, c := range g.consents {
		for _, s := range c.sets {
			unsure := false
			for i, p := range s.presented {
				if unsure && v.accounted(g.id, s.presented[i-1].at, p.at) {
					v.again++
				} else if unsure {
					v.twice++
					v.say("grant %s: a refresh token was presented again at %s, and no last try was counted", g.id, stamp(p.at))
				}
				if left := s.expires.Sub(p.at); unsure && left > nearEnd+slack {
					v.early++
					v.say("grant %s: a last try was made at %s, %s before the access token's end", g.id, stamp(p.at), left.Round(time.Millisecond))
				}
				unsure = unsure || !p.spares()
			}
		}
	}
}

// spares reports whether a presentation left the refresh token as it was, and said so.
func (p *presentation) spares() bool { return p.status == 429 || p.status == 503 }

// accounted takes a last try of the grant between two moments from those that were counted.
func (v *verdict) accounted(grant string, after, until time.Time) bool {
	for i, l := range v.unused[grant] {
		if l.at.After(after) && !l.at.After(until) {
			v.unused[grant] = append(v.unused[grant][:i:i], v.unused[grant][i+1:]...)
			return true
		}
	}
	return false
}

// answers finds the token sets that a vendor issued and nobody holds. Only a fault may have lost them. One that was
// issued after the grant was proved to live waits for somebody to ask.
func (v *verdict) answers(e evidence, g grantEvidence) {
	if !g.rotates {
		return
	}
	for _, c := range g.consents {
		last := c.sets[len(c.sets)-1]
		if last.by == nil || e.seen[last.access] || len(last.presented) > 0 || last.by.at.After(g.fate.asked) {
			continue
		}
		end := last.by.answered
		if end.IsZero() {
			end = last.by.at.Add(2 * thinking)
		}
		if !e.harmed(last.by.at, end.Add(commitWithin)) {
			v.say("grant %s: what the vendor issued at %s was lost, and nothing had happened", g.id, stamp(last.by.at))
			continue
		}
		v.answersLost++
		v.outcomes[last] = true
	}
}

// harmed reports whether a fault falls into a span.
func (e evidence) harmed(from, to time.Time) bool {
	for _, f := range e.faults {
		if f.from.Before(to) && f.to.After(from) {
			return true
		}
	}
	return false
}

// history reads the events of a grant: one for each transition, and a cause for each death.
func (v *verdict) history(e evidence, g grantEvidence) {
	type key struct {
		kind       core.EventType
		generation uint64
	}
	count := map[key]int{}
	newest, told := g.handed, uint64(0)
	for _, ev := range e.events {
		if ev.Grant != g.id {
			continue
		}
		if ev.Type == core.TokenIssued {
			if ev.Generation < told {
				v.say("grant %s: generation %d was told after %d", g.id, ev.Generation, told)
			}
			told = max(told, ev.Generation)
			newest = max(newest, told)
		}
		count[key{ev.Type, ev.Generation}]++
		if ev.Type == core.GrantReauthorizationRequired {
			v.death(e, g, ev)
		}
	}
	for generation := uint64(1); generation <= newest; generation++ {
		if count[key{core.TokenIssued, generation}] == 0 {
			v.missing++
			v.say("grant %s: no token.issued of generation %d", g.id, generation)
		}
	}
	for k, n := range count {
		switch k.kind {
		case core.TokenIssued, core.TokenExpiring, core.GrantReauthorizationRequired:
			if n > 1 {
				v.doubled += n - 1
				v.say("grant %s: %d times %s of generation %d", g.id, n, k.kind, k.generation)
			}
		}
	}
	switch g.fate.state {
	case core.Active:
	case core.NeedsReauthorization:
		if count[key{core.GrantReauthorizationRequired, newest}] == 0 {
			v.missing++
			v.say("grant %s needs its owner, and no event says so", g.id)
		}
	default:
		v.lost++
		v.say("grant %s is neither live nor in need of its owner", g.id)
	}
}

// death finds the cause of a grant's end: an answer of a rotating vendor that a fault had lost, or a last try that a
// fault cut off. A grant that ends for another reason is lost.
func (v *verdict) death(e evidence, g grantEvidence, ev core.Event) {
	v.reconnected++
	if ev.Reason == core.ReasonOutcomeUnknown && g.rotates {
		for _, c := range g.consents {
			last := c.sets[len(c.sets)-1]
			if v.outcomes[last] && last.by.at.Before(ev.Time) {
				delete(v.outcomes, last)
				return
			}
		}
		for _, l := range e.lastTries {
			if l.grant == g.id && l.at.Before(ev.Time) && l.at.After(ev.Time.Add(-time.Minute)) && e.harmed(l.at, ev.Time) {
				return
			}
		}
	}
	v.lost++
	v.say("grant %s ended with the reason %s at %s, and nothing explains it", g.id, ev.Reason, stamp(ev.Time))
}

func stamp(t time.Time) string { return t.UTC().Format("15:04:05.000") }
