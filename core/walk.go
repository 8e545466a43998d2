package core

import (
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// walkPause is how often a walk that waits looks whether its line is still the same.
	walkPause = time.Second
	// walkTries is how often a walk tries to look at a grant, before it leaves that to the timer.
	walkTries = 5
)

// walkLineup looks at the grants of a client's lines in their order, each at its turn, until Close. Their timers come in any
// order, and where the store is slow long after their turns.
func (m *Manager) walkLineup(cl *Client) {
	l := m.lineups[cl.Name]
	for {
		select {
		case <-m.background.Done():
			return
		case <-l.drawn:
		}
		l.mu.Lock()
		line := l.line
		l.mu.Unlock()
		m.walk(cl, l, line)
	}
}

// walk goes along a line until it ends, or another takes its place.
func (m *Manager) walk(cl *Client, l *lineup, line []waiter) {
	var looks errgroup.Group
	looks.SetLimit(callsPerVendor)
	defer func() { _ = looks.Wait() }() // the functions return no error
	for n, w := range line {
		pause, due := m.pause(cl, w)
		for ; pause > 0 && l.reached(line, n); pause, due = m.pause(cl, w) {
			if !m.idle(min(pause, walkPause)) {
				return
			}
		}
		if !l.reached(line, n+1) || m.closing() {
			return
		}
		if due { // else somebody was faster
			looks.Go(func() error { m.lookAtTurn(w.id); return nil })
		}
	}
}

// lookAtTurn looks at a grant, and again where the store cannot be reached: it is in the middle of coming back.
func (m *Manager) lookAtTurn(id string) {
	for range walkTries {
		err := m.look(m.background, id)
		if err == nil || m.background.Err() != nil {
			return
		}
		m.log.Debug("a grant whose turn it is could not be looked at", "grant", id, "error", err)
		if !m.idle(walkPause) {
			return
		}
	}
}

// idle waits for d. It reports whether there is anything to go on with: not after Close.
func (m *Manager) idle(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-m.background.Done():
		return false
	}
}

// pause is how long one that waits has to wait for its turn; due reports whether it is to be refreshed at all.
func (m *Manager) pause(cl *Client, w waiter) (pause time.Duration, due bool) {
	if shut := m.shut(cl); shut > 0 {
		return shut, true
	}
	e := m.cache.look(w.id)
	md, _ := m.knownMetadata(cl.Vendor)
	if e == nil || e.g.Attempt != nil || !m.dueWithin(e, cl, md, 0) {
		return 0, false
	}
	if m.suspended(cl) == nil && m.until(m.backoffEnd(e.g, cl)) > 0 {
		return 0, false // its timer stands at the end of its backoff
	}
	return m.turn(e, cl), true
}

// reached notes how many of a line this replica has come to. It reports whether the line is still the same.
func (l *lineup) reached(line []waiter, n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.line) == 0 || &l.line[0] != &line[0] {
		return false
	}
	l.walked = n
	return true
}
