package core

import (
	"context"
	"sync"
	"time"
)

// entry is what this replica knows of one revision of a grant. It is not changed once it is made.
type entry struct {
	g *grant
	// age is how old the access token was at seen; from there on the monotonic clock counts.
	age  time.Duration
	seen time.Time
	// first is when this replica first saw this revision: a claim is dead when it stood unchanged for its duration.
	first time.Time
	// caughtUp says that the record, or one before it here, was compared with the last event about the grant.
	caughtUp bool
}

// ageNow is the access token's age.
func (e *entry) ageNow() time.Duration { return e.age + time.Since(e.seen) }

// left is how long the access token lives on; zero or less where it is dead or there is none.
func (e *entry) left() time.Duration {
	if e.g.tokens.Access.IsZero() {
		return 0
	}
	return e.g.Lifetime - e.ageNow()
}

// ends is when the access token ends, by the monotonic clock; the zero time where there is none.
func (e *entry) ends() time.Time {
	if e.g.tokens.Access.IsZero() {
		return time.Time{}
	}
	return e.seen.Add(e.g.Lifetime - e.age)
}

// edit returns a copy of the grant to be changed and written, with the token's age as of now.
func (e *entry) edit() *grant {
	g := e.g.clone()
	g.Age = e.ageNow()
	return g
}

// cache is this replica's view of the store. It is fed by the watch, by own writes and by reads.
//
// mu guards all fields; nothing is called with it held.
type cache struct {
	mu      sync.RWMutex
	grants  map[string]*entry
	clients map[string]*clientRecord
	well    *clientRecord            // of a client without troubles; it is not changed
	waiting map[string]chan struct{} // closed when the grant's entry changes
	synced  chan struct{}            // closed when the watch has told what there was
	isSync  bool

	heard  time.Time // last word from the watch
	behind bool      // the watch was silent: what it tells first may have waited on its way
	// anchor and anchored tie the store's clock to the monotonic one.
	anchor   time.Time
	anchored time.Time
}

func newCache() *cache {
	return &cache{
		grants: map[string]*entry{}, clients: map[string]*clientRecord{}, well: &clientRecord{}, waiting: map[string]chan struct{}{},
		synced: make(chan struct{}),
	}
}

// setClock notes that the store's clock stands at t. It was asked for at the time asked.
func (c *cache) setClock(t, asked time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.anchor, c.anchored = t, asked
}

// now is the store's clock, carried on by the monotonic one.
func (c *cache) now() time.Time {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.nowLocked()
}

func (c *cache) nowLocked() time.Time { return c.anchor.Add(time.Since(c.anchored)).UTC() }

// hear notes a word from the watch and returns how long it had been silent. It reports whether the silence was long
// enough that the store's clock should be read anew. A record that was written a while ago has waited on its way, and
// others wait behind it: it does not count as a word.
func (c *cache) hear(u Update) (silence time.Duration, lagged bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if !c.heard.IsZero() {
		silence = now.Sub(c.heard)
	}
	idle := u.Record.Key == ""
	if idle || c.nowLocked().Sub(u.Record.Time) <= watchSilence {
		c.heard = now
	}
	switch {
	case silence > watchSilence && !c.behind:
		c.behind, lagged = true, true
	case idle && silence <= watchSilence:
		c.behind = false
	}
	return silence, lagged
}

// fresh reports whether the cache may be served: the watch was heard from a short while ago and is not catching up.
func (c *cache) fresh() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.isSync && !c.behind && time.Since(c.heard) < watchSilence
}

// told takes in a grant's record from the watch. silence bounds how long the record may have been on its way.
func (c *cache) told(g *grant, live bool, silence time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	age := g.Age
	switch {
	case live && !c.behind:
		age += silence
	default:
		// Written before this replica looked, or held up on its way: the store's clock says how long ago. It may have
		// been stepped meanwhile; a token is never taken to be younger than when it was written.
		age += max(0, c.nowLocked().Sub(g.time))
	}
	c.setLocked(g, age, time.Now())
}

// read takes in a grant's record that was read from the store.
func (c *cache) read(g *grant) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.setLocked(g, g.Age+max(0, c.nowLocked().Sub(g.time)), time.Now())
}

// correct takes in what the store holds after it refused a write at the revision believed; nil is nothing. A store that
// went back in time holds an older revision: what is known here of the grant is then no more than that.
func (c *cache) correct(id string, stored *grant, believed uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.grants[id]
	if old != nil && old.g.revision <= believed && (stored == nil || stored.revision < believed) {
		delete(c.grants, id)
	}
	if stored != nil {
		c.setLocked(stored, stored.Age+max(0, c.nowLocked().Sub(stored.time)), time.Now())
	}
}

// wrote takes in a grant's record that this replica wrote; at is when its Age was measured.
func (c *cache) wrote(g *grant, at time.Time) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.setLocked(g, g.Age, at)
}

// setLocked keeps the newest revision, and the first measure of each: a later look at the same revision knows less
// of its age than the first.
func (c *cache) setLocked(g *grant, age time.Duration, seen time.Time) *entry {
	old := c.grants[g.ID]
	if old != nil && old.g.revision >= g.revision {
		return old
	}
	if old != nil && old.g.Generation == g.Generation && old.g.Consent == g.Consent && !old.g.tokens.Access.IsZero() {
		// The same token: it has been aging here since it was first seen, whatever clocks did since.
		age, seen = max(0, old.age), old.seen
	}
	e := &entry{g: g, age: age, seen: seen, first: time.Now()}
	e.caughtUp = old != nil && old.caughtUp && old.g.Generation <= g.Generation
	c.grants[g.ID] = e
	if ch := c.waiting[g.ID]; ch != nil {
		close(ch)
		delete(c.waiting, g.ID)
	}
	return e
}

// drop forgets a grant whose record is gone or unreadable, unless a newer one is known.
func (c *cache) drop(id string, revision uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.grants[id]; old != nil && old.g.revision <= revision {
		delete(c.grants, id)
	}
}

func (c *cache) get(id string) *entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.grants[id]
}

// all returns the entries that keep reports true for.
func (c *cache) all(keep func(*grant) bool) []*entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var es []*entry
	for _, e := range c.grants {
		if keep(e.g) {
			es = append(es, e)
		}
	}
	return es
}

// awaitChange returns when a revision of the grant other than the given one is known, or d has passed.
func (c *cache) awaitChange(ctx context.Context, id string, revision uint64, d time.Duration) {
	c.mu.Lock()
	if e := c.grants[id]; e != nil && e.g.revision > revision {
		c.mu.Unlock()
		return
	}
	ch := c.waiting[id]
	if ch == nil {
		ch = make(chan struct{})
		c.waiting[id] = ch
	}
	c.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ch:
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (c *cache) setClient(r *clientRecord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.clients[r.Name]; old == nil || old.revision < r.revision {
		c.clients[r.Name] = r
	}
}

// client returns what is known of a client's troubles; never nil, and not to be changed.
func (c *cache) client(name string) *clientRecord {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if r := c.clients[name]; r != nil {
		return r
	}
	return c.well
}

// markSynced notes that the watch has told all that there was.
func (c *cache) markSynced() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.isSync {
		c.isSync = true
		close(c.synced)
	}
}
