package core

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// shelf is the part of the cache that some of the grants are in. Of each it knows the brief, or, of one that does not
// rest, all but its secrets; some it has whole.
//
// mu guards all fields; nothing is called with it held.
type shelf struct {
	epoch time.Time
	seed  maphash.Seed

	mu      sync.RWMutex
	known   map[string]known
	whole   map[string]*resident
	ring    []*resident // of those in whole, up to its capacity
	hand    int
	waiting map[string]chan struct{} // closed when the grant's entry changes
	census  census
}

// known is one of the two.
type known struct {
	rests *brief
	busy  *entry
}

// resident is a whole grant in memory.
type resident struct {
	e    *entry
	used atomic.Bool // since the hand was here
}

func newShelf(epoch time.Time, seed maphash.Seed, whole int) *shelf {
	return &shelf{epoch: epoch, seed: seed, known: map[string]known{}, whole: map[string]*resident{},
		ring: make([]*resident, 0, whole), waiting: map[string]chan struct{}{}, census: newCensus()}
}

func (k known) revision() uint64 {
	switch {
	case k.busy != nil:
		return k.busy.g.revision
	case k.rests != nil:
		return k.rests.revision
	}
	return 0
}

// entry returns what is known without the secrets, nil where nothing is.
func (k known) entry(id string, epoch time.Time) *entry {
	switch {
	case k.busy != nil:
		return k.busy
	case k.rests != nil:
		return k.rests.entry(id, epoch)
	}
	return nil
}

// get returns the grant if it is here whole.
func (s *shelf) get(id string) *entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.getLocked(id)
}

func (s *shelf) getLocked(id string) *entry {
	r := s.whole[id]
	if r == nil {
		return nil
	}
	if !r.used.Load() { // lest all readers write to it
		r.used.Store(true)
	}
	return r.e
}

// look returns what is known of the grant, which may be without its secrets.
func (s *shelf) look(id string) *entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.getLocked(id); e != nil {
		return e
	}
	return s.known[id].entry(id, s.epoch)
}

// full reports whether the grant is not here whole, and there is no room for it.
func (s *shelf) full(id string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.whole[id] == nil && len(s.ring) == cap(s.ring)
}

// put keeps the newest revision, and the first measure of each: a later look at the same revision knows less of its age
// than the first. It returns the newest entry, which may be without its secrets where it is not g. Where there is no
// room, and not must, the grant is not kept whole.
func (s *shelf) put(g *grant, age time.Duration, seen time.Time, must bool) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.known[g.ID].entry(g.ID, s.epoch)
	if old != nil && old.g.revision > g.revision {
		return s.newestLocked(g.ID, old)
	}
	if old != nil && old.g.revision == g.revision {
		if e := s.getLocked(g.ID); e != nil {
			return e
		}
		if g.brief {
			return old
		}
		e := &entry{g: g, age: old.age, seen: old.seen, first: old.first, caughtUp: old.caughtUp}
		s.keepLocked(e, must)
		return e
	}
	if old != nil && s.sameToken(old, g) {
		// It has been aging here since it was first seen, whatever clocks did since. Who wrote it last may know that it
		// is older: its first write was long on its way.
		age, seen = max(0, old.age), old.seen
		if now := time.Now(); g.Age > age+now.Sub(seen) {
			age, seen = g.Age, now
		}
	}
	e := &entry{g: g, age: age, seen: seen, first: time.Now()}
	e.caughtUp = old != nil && old.caughtUp && old.g.Generation <= g.Generation
	s.noteLocked(e)
	s.keepLocked(e, must || s.whole[g.ID] != nil)
	return e
}

// grown takes the access token of a grant to be at least so old.
func (s *shelf) grown(id string, age time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, now := s.known[id], time.Now()
	if e := k.entry(id, s.epoch); e == nil || e.ageNow() >= age {
		return
	}
	if k.rests != nil {
		b := *k.rests
		b.age, b.seen = age, now.Sub(s.epoch)
		s.known[id] = known{rests: &b}
	} else {
		s.known[id] = known{busy: k.busy.aged(age, now)}
	}
	if r := s.whole[id]; r != nil {
		r.e = r.e.aged(age, now)
	}
}

// aged returns the entry with a token that is so old at a moment.
func (e *entry) aged(age time.Duration, at time.Time) *entry {
	c := *e
	c.age, c.seen = age, at
	return &c
}

// newestLocked returns the grant whole if it is here, else what is known of it.
func (s *shelf) newestLocked(id string, brief *entry) *entry {
	if e := s.getLocked(id); e != nil {
		return e
	}
	return brief
}

// sameToken reports whether g has the access token that old has.
func (s *shelf) sameToken(old *entry, g *grant) bool {
	if old.g.Generation != g.Generation || old.g.tokens.Access.IsZero() {
		return false
	}
	if k := s.known[g.ID]; k.rests != nil {
		return k.rests.consent == maphash.String(s.seed, g.Consent)
	}
	return old.g.Consent == g.Consent
}

// noteLocked remembers a new revision and wakes who waits for it.
func (s *shelf) noteLocked(e *entry) {
	id := e.g.ID
	if e.g.rests() {
		s.knowLocked(id, known{rests: briefOf(e, s.epoch, s.seed)})
	} else {
		s.knowLocked(id, known{busy: &entry{g: e.g.briefly(), age: e.age, seen: e.seen, first: e.first, caughtUp: e.caughtUp}})
	}
	if ch := s.waiting[id]; ch != nil {
		close(ch)
		delete(s.waiting, id)
	}
}

// knowLocked puts what is known of a grant in the place of what was.
func (s *shelf) knowLocked(id string, k known) {
	s.census.change(s.known[id], k)
	s.known[id] = k
}

// keepLocked keeps a grant whole, in the place of one that nobody asked for lately.
func (s *shelf) keepLocked(e *entry, must bool) {
	id := e.g.ID
	if e.g.brief {
		if r := s.whole[id]; r != nil { // it came here while this one was read
			r.e = nil
			delete(s.whole, id)
		}
		return
	}
	if r := s.whole[id]; r != nil {
		r.e = e
		return
	}
	if len(s.ring) < cap(s.ring) {
		r := &resident{e: e}
		s.ring = append(s.ring, r)
		s.whole[id] = r
		return
	}
	if !must || len(s.ring) == 0 {
		return
	}
	for {
		r := s.ring[s.hand]
		s.hand = (s.hand + 1) % len(s.ring)
		if r.e != nil && r.used.Swap(false) {
			continue
		}
		if r.e != nil {
			delete(s.whole, r.e.g.ID)
		}
		r.e = e
		s.whole[id] = r
		return
	}
}

// catchUp notes that a grant was compared with the last event about it.
func (s *shelf) catchUp(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := e.g.ID
	k := s.known[id]
	switch {
	case k.rests != nil && k.rests.generation >= e.g.Generation:
		b := *k.rests
		b.caughtUp = true
		s.known[id] = known{rests: &b}
	case k.busy != nil && k.busy.g.Generation >= e.g.Generation:
		s.known[id] = known{busy: k.busy.compared()}
	default:
		return
	}
	if r := s.whole[id]; r != nil {
		r.e = r.e.compared()
	}
}

// compared returns the entry as one that was compared with the last event about its grant.
func (e *entry) compared() *entry {
	c := *e
	c.caughtUp = true
	return &c
}

// drop forgets a grant, unless a newer revision than the given one is known.
func (s *shelf) drop(id string, revision uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[id].revision() > revision {
		return
	}
	s.census.change(s.known[id], known{})
	delete(s.known, id)
	if r := s.whole[id]; r != nil {
		r.e = nil // its place is free
		delete(s.whole, id)
	}
}

// revision returns the newest revision that is known, 0 where there is none.
func (s *shelf) revision(id string) uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.known[id].revision()
}

// change returns what is closed when a revision other than the given one is known; nil where one is.
func (s *shelf) change(id string, revision uint64) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[id].revision() > revision {
		return nil
	}
	ch := s.waiting[id]
	if ch == nil {
		ch = make(chan struct{})
		s.waiting[id] = ch
	}
	return ch
}

// noted is what is known of a grant.
type noted struct {
	id string
	known
}

// snapshot appends what is known of all grants here.
func (s *shelf) snapshot(to []noted) []noted {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for id, k := range s.known {
		to = append(to, noted{id, k})
	}
	return to
}
