package core

import (
	"context"
	"hash/maphash"
	"iter"
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
// Of every grant it has what is needed to plan and to list it, without its secrets. Whole it has a bounded number; the
// others are read from the store when they are asked for.
//
// mu guards all fields but the shelves, which guard themselves; nothing is called with it held.
type cache struct {
	epoch   time.Time
	seed    maphash.Seed
	shelves [64]*shelf

	mu      sync.RWMutex
	clients map[string]*clientRecord
	well    *clientRecord // of a client without troubles; it is not changed
	synced  chan struct{} // closed when the watch has told what there was
	isSync  bool

	// sent is when the vendor was asked for outcomes of this process that are not known to be written, by attempt.
	sent map[string]time.Time

	newest time.Time // of the records that were told, by the store's clock
	heard  time.Time // last word from the watch
	behind bool      // the watch was silent: what it tells first may have waited on its way
	// anchor and anchored tie the store's clock to the monotonic one.
	anchor   time.Time
	anchored time.Time
}

// cachedGrants is what Config.CachedGrants means.
func cachedGrants(configured int) int {
	if configured == 0 {
		return 8192
	}
	return max(0, configured)
}

// newCache returns a cache with room for so many whole grants.
func newCache(whole int) *cache {
	c := &cache{epoch: time.Now(), seed: maphash.MakeSeed(), clients: map[string]*clientRecord{}, well: &clientRecord{}, synced: make(chan struct{}), sent: map[string]time.Time{}}
	each := (whole + len(c.shelves) - 1) / len(c.shelves)
	for i := range c.shelves {
		c.shelves[i] = newShelf(c.epoch, c.seed, each)
	}
	return c
}

// shelf returns where a grant is.
func (c *cache) shelf(id string) *shelf {
	return c.shelves[maphash.String(c.seed, id)%uint64(len(c.shelves))]
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
	if !c.isSync && g.time.After(c.newest) {
		c.newest = g.time
	}
	age := g.Age + silence
	if !live || c.behind {
		age = c.ageLocked(g)
	}
	age = max(age, c.sinceSentLocked(g))
	c.mu.Unlock()
	c.shelf(g.ID).put(g, age, time.Now(), live)
}

// clockSlack is by how much the clocks of a store's servers may differ.
const clockSlack = 5 * time.Second

// ageLocked is the age of a token whose record was written before this replica looked, or was held up on its way: the
// store's clock says how long ago. A token is never taken to be younger than when it was written; where the write is yet
// to come by that clock, it was set back, nobody knows how old the token is, and it counts as expired.
func (c *cache) ageLocked(g *grant) time.Duration {
	ago := c.nowLocked().Sub(g.time)
	if ago < -clockSlack {
		return max(g.Age, g.Lifetime)
	}
	return max(g.Age+max(0, ago), c.sinceSentLocked(g))
}

// sinceSentLocked is how long ago the vendor was asked for the outcome that the record holds, 0 where that is not known.
func (c *cache) sinceSentLocked(g *grant) time.Duration {
	at, ok := c.sent[g.Settled]
	if !ok {
		return 0
	}
	return time.Since(at)
}

// sinceWritten is the age of the access token of a grant that was read from the store.
func (c *cache) sinceWritten(g *grant) time.Duration {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.ageLocked(g)
}

// read takes in a grant's record that was read from the store. It returns nil where a newer revision is known that is
// not here whole: the grant is to be read again.
func (c *cache) read(g *grant) *entry {
	e := c.shelf(g.ID).put(g, c.sinceWritten(g), time.Now(), true)
	if e.g.brief {
		return nil
	}
	return e
}

// correct takes in what the store holds after it refused a write at the revision believed; nil is nothing. A store that
// went back in time holds an older revision: what is known here of the grant is then no more than that.
func (c *cache) correct(id string, stored *grant, believed uint64) {
	if stored == nil || stored.revision < believed {
		c.drop(id, believed)
	}
	if stored != nil {
		c.shelf(id).put(stored, c.sinceWritten(stored), time.Now(), true)
	}
}

// wrote takes in a grant's record that this replica wrote; at is when its Age was measured. It returns nil where a newer
// revision is known that is not here whole.
func (c *cache) wrote(g *grant, at time.Time) *entry {
	e := c.shelf(g.ID).put(g, g.Age, at, true)
	if e.g.brief {
		return nil
	}
	return e
}

// asked notes when the vendor was asked for a token set, until it is written: a write that got no answer may come to
// the store late, and the token is then older than the time of its record says.
func (c *cache) asked(grant, attempt string, at time.Time) {
	c.mu.Lock()
	c.sent[attempt] = at
	c.mu.Unlock()
	if e := c.look(grant); e != nil && e.g.Settled == attempt {
		c.shelf(grant).grown(grant, time.Since(at))
	}
}

// written notes that the outcome of an attempt has its place.
func (c *cache) written(attempt string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sent, attempt)
}

// drop forgets a grant whose record is gone or unreadable, unless a newer one is known.
func (c *cache) drop(id string, revision uint64) { c.shelf(id).drop(id, revision) }

// get returns the grant if it is here whole.
func (c *cache) get(id string) *entry { return c.shelf(id).get(id) }

// full reports whether there is no room for the grant whole.
func (c *cache) full(id string) bool { return c.shelf(id).full(id) }

// look returns what is known of a grant, which may be without its secrets; nil where nothing is.
func (c *cache) look(id string) *entry { return c.shelf(id).look(id) }

// revision returns the newest revision of a grant that is known, 0 where there is none.
func (c *cache) revision(id string) uint64 { return c.shelf(id).revision(id) }

// all returns the entries that keep reports true for, without their secrets. keep must not hold on to the grant, which
// lacks its scope.
func (c *cache) all(keep func(*grant) bool) []*entry {
	var es []*entry
	for e := range c.each() {
		if keep(e.g) {
			if e = c.look(e.g.ID); e != nil && keep(e.g) {
				es = append(es, e)
			}
		}
	}
	return es
}

// each goes over all grants, without their secrets and scopes. An entry is valid until the next. Grants that change
// meanwhile may be seen as before or as after.
func (c *cache) each() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		var ks []noted
		scratch := &entry{g: &grant{}}
		for _, s := range c.shelves {
			ks = s.snapshot(ks[:0])
			for _, k := range ks {
				e := k.busy
				if e == nil {
					e = scratch
					k.rests.into(e, k.id, c.epoch)
				}
				if !yield(e) {
					return
				}
			}
		}
	}
}

// awaitChange returns when a revision of the grant other than the given one is known, or d has passed.
func (c *cache) awaitChange(ctx context.Context, id string, revision uint64, d time.Duration) {
	changed := c.shelf(id).change(id, revision)
	if changed == nil {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-changed:
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

// markSynced notes that the watch has told all that there was. Where the store's clock was set back while nobody looked,
// even of tokens that seem to be of some age the age is not known: all count as expired.
func (c *cache) markSynced() {
	c.mu.RLock()
	setBack := !c.isSync && c.newest.Sub(c.nowLocked()) > clockSlack
	c.mu.RUnlock()
	if setBack {
		for e := range c.each() {
			c.shelf(e.g.ID).grown(e.g.ID, e.g.Lifetime)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.isSync {
		c.isSync = true
		close(c.synced)
	}
}
