package core

import (
	"hash/fnv"
	"math"
	"slices"
	"sync"
	"time"
)

// What had to wait for a vendor, or for esignd itself, comes back the more slowly the more there is of it: in the first
// second about fifty grants, each second a hundred more than in the one before, and never more than a thousand.
const (
	rampGrowth = 100.0  // grants a second, more each second
	rampMost   = 1000.0 // grants a second
)

// rampAt is how long after the start of a ramp the place n in the line has its turn.
func rampAt(n float64) time.Duration {
	const (
		growing = rampMost / rampGrowth // seconds until the ramp is at its most
		grown   = rampGrowth * growing * growing / 2
	)
	seconds := math.Sqrt(2 * n / rampGrowth)
	if n > grown {
		seconds = growing + (n-grown)/rampMost
	}
	return time.Duration(seconds * float64(time.Second))
}

const (
	// lineupAge is how old a line may be while it still grows.
	lineupAge = 5 * time.Second
	// toldEach is how many overdue grants are told in a second at the start: the first turn waits until each has its own,
	// since their timers come in no order.
	toldEach = 2000.0
	// probeLead is how long the first in the line has for a suspended client's probe before the next may make it.
	probeLead = 2 * time.Second
)

// lineup is the order in which a client's grants come back when they had to wait: after an outage of the vendor, a wait
// that it asked for, a suspension, or while no esignd ran. The one whose token ends first has the first turn. Every
// replica finds the same order by itself, so that all of them together keep to the ramp.
type lineup struct {
	mu    sync.Mutex
	opens time.Time   // when the first turn is; guarded by mu
	held  time.Time   // until when the first turn is put off at the start; guarded by mu
	taken time.Time   // when ends was found, zero before the first look; guarded by mu
	ends  []time.Time // when the tokens of those that wait end, sorted; guarded by mu
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

// turn is how long a grant that is due waits until its client's vendor is called for it; zero or less is no longer.
func (m *Manager) turn(e *entry, cl *Client) time.Duration {
	shut := m.shut(cl)
	l := m.lineups[cl.Name]
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	first := l.taken.IsZero()
	if first || shut > 0 && (!l.opens.After(now) || now.Sub(l.taken) > lineupAge) {
		l.taken, l.ends = now, m.waiting(cl, shut)
	}
	if first {
		l.held = l.opens.Add(time.Duration(float64(len(l.ends)) / toldEach * float64(time.Second)))
	}
	shut = max(shut, l.held.Sub(now))
	if shut > 0 || l.opens.After(now) {
		l.opens = now.Add(max(shut, 0)) // where nothing is shut any more, it opened earlier than was foreseen
	}
	if len(l.ends) == 0 {
		return shut
	}
	wait := l.opens.Sub(now)
	if -wait > rampAt(float64(len(l.ends)+1))+probeLead {
		l.ends = nil // all had their turns
		return shut
	}
	n := placeIn(l.ends, e)
	if n >= 1 && m.suspended(cl) != nil {
		wait += probeLead
	}
	return wait + rampAt(n)
}

// placeIn is a grant's place in the line, from 0. Those whose tokens end at the same moment are spread, and each has its
// turn somewhere in its own place, the same for every replica.
func placeIn(ends []time.Time, e *entry) float64 {
	at := e.ends()
	from, _ := slices.BinarySearchFunc(ends, at, time.Time.Compare)
	to, _ := slices.BinarySearchFunc(ends, at.Add(1), time.Time.Compare)
	h := fnv.New32a()
	_, _ = h.Write([]byte(e.g.ID))
	return float64(from) + float64(max(to-from, 1))*float64(h.Sum32())/(1<<32)
}

// waiting returns when the tokens of a client's grants end that are due within d, sorted.
func (m *Manager) waiting(cl *Client, d time.Duration) []time.Time {
	md, _ := m.knownMetadata(cl.Vendor)
	var ends []time.Time
	for e := range m.cache.each() {
		if e.g.Client != cl.Name || e.g.State != Active || m.clientOf(e.g) != cl || m.spent(e.g, cl) {
			continue
		}
		if wait, planned := m.refreshIn(e, cl, md); planned && wait <= d+dueSlack {
			ends = append(ends, e.ends())
		}
	}
	slices.SortFunc(ends, time.Time.Compare)
	return ends
}
