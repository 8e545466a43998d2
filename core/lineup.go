package core

import (
	"cmp"
	"context"
	"hash/fnv"
	"math"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// What had to wait for a vendor, or for esignd itself, comes back slowly: in the first second about fifty grants, each second
// a hundred more than in the one before, until it is as fast as the tokens' ends ask for. Callers, vendor and store have a
// share in the time that the tokens live on.
const (
	rampGrowth = 100.0     // grants a second, more each second
	rampLeast  = 100.0     // grants a second, up to which it grows in any case
	rampMost   = 1000.0    // grants a second, up to which it grows at most
	rampShare  = 2.0 / 3.0 // of the time until its token ends in which each has its turn, where there is any left
	slowest    = 50.0      // grants a second, at which a line is taken to go on at least
)

// rampAt is how long after the start of a ramp, which grows up to a pace in grants a second, the place n in the line has
// its turn.
func rampAt(n, pace float64) time.Duration {
	pace = max(pace, rampLeast)
	growing := pace / rampGrowth // seconds until the ramp is at its most
	grown := rampGrowth * growing * growing / 2
	seconds := math.Sqrt(2 * n / rampGrowth)
	if n > grown {
		seconds = growing + (n-grown)/pace
	}
	return time.Duration(seconds * float64(time.Second))
}

// paceOf is up to which pace a ramp grows, for each in a line that opens at a moment to have its turn in time. Those who
// cannot have it in time are not held up.
func paceOf(line []waiter, opens time.Time) float64 {
	pace := rampLeast
	for n, w := range line {
		grows := rampGrowth * rampShare * w.ends.Sub(opens).Seconds() // to that at most, until this one is to have its turn
		ahead := 2 * rampGrowth * float64(n+1)
		least := math.Sqrt(ahead) // holds up nobody until then
		if grows > least {
			least = ahead / (grows + math.Sqrt(grows*grows-ahead)) // has rampAt say just then
		}
		pace = max(pace, least)
	}
	return min(pace, rampMost)
}

const (
	// lineupAge is how old a line may be while it still grows.
	lineupAge = 5 * time.Second
	// toldEach is how many overdue grants are told in a second at the start: the first turn waits until each has its own,
	// since their timers come in no order.
	toldEach = 2000.0
	// putOffEach is how many timers a second may put off what waits in the line. There are as many of them as grants, all at
	// once; the walk has no need of them, and callers have of the processor.
	putOffEach = 500.0
	// walkLead is how long after its turn a grant's timer is due where the walk comes to it. The claim then takes the timer's
	// place, and nobody works it.
	walkLead = 2 * time.Second
	// probeLead is how long the first in the line has for a suspended client's probe before the next may make it.
	probeLead = 2 * time.Second
)

// lineup is the order in which a client's grants come back when they had to wait: after an outage of the vendor, a wait
// that it asked for, a suspension, or while no esignd ran or none could reach the store. The one whose token ends first has
// the first turn. Every replica finds the same order by itself, so that all of them together keep to the ramp.
type lineup struct {
	drawn chan struct{} // tells the walk of a new line
	told  *rate.Limiter // of timers that only put off what waits in the line

	mu     sync.Mutex
	opens  time.Time // when the first turn is; guarded by mu
	held   time.Time // until when the first turn is put off, since not all were told of it; guarded by mu
	taken  time.Time // when line was found, zero before the first look; guarded by mu
	line   []waiter  // those that wait, in their order; not changed once it is here; guarded by mu
	walked int       // how many of them this replica has come to; guarded by mu
	open   bool      // nothing was shut when line was found; guarded by mu
	redraw bool      // the next who asks draws a line; guarded by mu
	pace   float64   // of its ramp; guarded by mu
	paced  time.Time // when the first turn was when pace was found; guarded by mu
}

func newLineup() *lineup {
	return &lineup{drawn: make(chan struct{}, 1), told: rate.NewLimiter(putOffEach, callsPerVendor)}
}

// waiter is a grant that waits for its turn.
type waiter struct {
	ends time.Time // of its token
	mark uint32    // the order of those whose tokens end at the same moment, the same for every replica
	id   string
}

func waiterOf(e *entry) waiter {
	h := fnv.New32a()
	_, _ = h.Write([]byte(e.g.ID))
	return waiter{ends: e.ends(), mark: h.Sum32(), id: e.g.ID}
}

func (w waiter) compare(v waiter) int {
	return cmp.Or(w.ends.Compare(v.ends), cmp.Compare(w.mark, v.mark))
}

// startLineups opens the lines of a vendor's clients for what is overdue when its adapter first says its metadata: before
// that nothing is planned.
func (m *Manager) startLineups(vendor string) {
	for name, l := range m.lineups {
		if m.clients[name].Vendor != vendor {
			continue
		}
		l.mu.Lock()
		if l.taken.IsZero() {
			l.opens = time.Now()
		}
		l.mu.Unlock()
	}
}

// reopenLineups has the lines drawn anew for what became due while the store was silent: the timers of all that come at
// once.
func (m *Manager) reopenLineups() {
	for _, l := range m.lineups {
		l.mu.Lock()
		l.endLocked(time.Now())
		if len(l.line) == 0 {
			l.redraw = true
		}
		l.mu.Unlock()
	}
}

// turn is how long a grant that is due waits until its client's vendor is called for it; zero or less is no longer.
func (m *Manager) turn(e *entry, cl *Client) time.Duration {
	shut := m.shut(cl)
	l := m.lineups[cl.Name]
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if shut <= 0 {
		l.endLocked(now)
	}
	all := l.taken.IsZero() || len(l.line) == 0 && (l.redraw || !m.cache.fresh())
	if all || shut > 0 && (!l.opens.After(now) || now.Sub(l.taken) > lineupAge) {
		l.drawLocked(now, m.waiting(cl, shut))
		l.open = shut <= 0
	}
	if all {
		if l.opens.Before(now) {
			l.opens = now
		}
		l.held = l.opens.Add(time.Duration(float64(len(l.line)) / toldEach * float64(time.Second)))
	}
	shut = max(shut, l.held.Sub(now))
	if shut > 0 || l.opens.After(now) {
		l.opens = now.Add(max(shut, 0)) // where nothing is shut any more, it opened earlier than was foreseen
	}
	if len(l.line) == 0 {
		return shut
	}
	return l.placeLocked(waiterOf(e), now, m.suspended(cl) != nil)
}

// putOff waits until there is room for another timer that is likely to do no more than to put off its grant.
func (m *Manager) putOff(ctx context.Context, id string) error {
	e := m.cache.look(id)
	if e == nil || m.lineups[e.g.Client] == nil {
		return nil
	}
	l := m.lineups[e.g.Client]
	l.mu.Lock()
	n, _ := slices.BinarySearchFunc(l.line, waiterOf(e), waiter.compare)
	ahead := n - l.walked
	l.mu.Unlock()
	if ahead <= callsPerVendor {
		return nil
	}
	return l.told.Wait(ctx)
}

// placeLocked is how long one waits that is in the line, or comes to its end.
func (l *lineup) placeLocked(w waiter, now time.Time, suspended bool) time.Duration {
	if by := l.opens.Sub(l.paced); l.pace == 0 || by.Abs() > time.Second {
		l.pace, l.paced = paceOf(l.line, l.opens), l.opens
	}
	wait := l.opens.Sub(now)
	n, _ := slices.BinarySearchFunc(l.line, w, waiter.compare)
	if n >= 1 && suspended {
		wait += probeLead
	}
	wait += rampAt(float64(n)+float64(w.mark)/(1<<32), l.pace)
	if ahead := n - l.walked; wait <= 0 && ahead > callsPerVendor {
		return l.walkLocked(now, ahead) // the vendor or the store is slower than the ramp: those before go first
	}
	return wait
}

// comesTo reports whether the walk has yet to come to a grant, at its turn. Where something was shut, timers find out
// sooner than the walk that it is not any more.
func (l *lineup) comesTo(e *entry) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, found := slices.BinarySearchFunc(l.line, waiterOf(e), waiter.compare)
	return found && l.open && n >= l.walked
}

// endLocked ends a line in which all had their turns.
func (l *lineup) endLocked(now time.Time) {
	if l.walked == len(l.line) && now.Sub(l.opens) > rampAt(float64(len(l.line)+1), l.pace)+probeLead {
		l.line, l.walked = nil, 0
	}
}

// drawLocked puts a new line in the place of the one before.
func (l *lineup) drawLocked(now time.Time, line []waiter) {
	l.taken, l.line, l.walked, l.redraw, l.pace = now, line, 0, false, 0
	select {
	case l.drawn <- struct{}{}:
	default:
	}
}

// walkLocked is how long it takes until so many more of the line were come to, at the pace there was.
func (l *lineup) walkLocked(now time.Time, more int) time.Duration {
	pace := max(slowest, float64(l.walked)/max(now.Sub(l.opens), time.Second).Seconds())
	wait := time.Duration(float64(more) / pace * float64(time.Second))
	return min(max(wait, time.Second), sweepEvery)
}

// waiting returns a client's grants that are due within d, in the order of their turns.
func (m *Manager) waiting(cl *Client, d time.Duration) []waiter {
	md, _ := m.knownMetadata(cl.Vendor)
	var line []waiter
	for e := range m.cache.each() {
		if m.dueWithin(e, cl, md, d) {
			line = append(line, waiterOf(e))
		}
	}
	slices.SortFunc(line, waiter.compare)
	return line
}

// dueWithin reports whether a grant is a client's and to be refreshed ahead within d.
func (m *Manager) dueWithin(e *entry, cl *Client, md Metadata, d time.Duration) bool {
	if e.g.Client != cl.Name || e.g.State != Active || m.clientOf(e.g) != cl || m.spent(e.g, cl) {
		return false
	}
	wait, planned := m.refreshIn(e, cl, md)
	return planned && wait <= d+dueSlack
}
