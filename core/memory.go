package core

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// AdapterMap is a fixed set of adapters in this process, by vendor.
type AdapterMap map[string]Adapter

// Adapter implements Adapters.
func (a AdapterMap) Adapter(vendor string) (Adapter, error) {
	if adapter, ok := a[vendor]; ok {
		return adapter, nil
	}
	return nil, fmt.Errorf("core: there is no adapter for vendor %q in the AdapterMap", vendor)
}

// MemoryStore is a Store that is gone with the process.
type MemoryStore struct {
	mu       sync.Mutex
	records  map[string]Record
	revision uint64
	watchers map[*watcher]struct{}
	// heartbeat is how often a watch is told that nothing happened.
	heartbeat time.Duration
}

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{records: map[string]Record{}, watchers: map[*watcher]struct{}{}, heartbeat: 500 * time.Millisecond}
}

// Get implements Store.
func (s *MemoryStore) Get(ctx context.Context, key string) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.liveLocked(key)
	if !ok {
		return Record{}, ErrNoRecord
	}
	return cloneRecord(r), nil
}

// liveLocked returns a record whose TTL has not passed.
func (s *MemoryStore) liveLocked(key string) (Record, bool) {
	r, ok := s.records[key]
	if ok && r.TTL > 0 && time.Since(r.Time) >= r.TTL {
		s.deleteLocked(key)
		return Record{}, false
	}
	return r, ok
}

// Put implements Store.
func (s *MemoryStore) Put(ctx context.Context, r Record) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, _ := s.liveLocked(r.Key); old.Revision != r.Revision {
		return 0, ErrConflict
	}
	s.revision++
	r = cloneRecord(r)
	r.Revision, r.Time = s.revision, time.Now()
	s.records[r.Key] = r
	s.tellLocked(Update{Record: r, Live: true})
	return r.Revision, nil
}

// Delete implements Store.
func (s *MemoryStore) Delete(ctx context.Context, key string, revision uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.liveLocked(key)
	if !ok {
		return ErrNoRecord
	}
	if old.Revision != revision {
		return ErrConflict
	}
	s.deleteLocked(key)
	return nil
}

func (s *MemoryStore) deleteLocked(key string) {
	delete(s.records, key)
	s.revision++
	s.tellLocked(Update{Record: Record{Key: key, Revision: s.revision, Time: time.Now()}, Deleted: true, Live: true})
}

// Now implements Store.
func (s *MemoryStore) Now(ctx context.Context) (time.Time, error) { return time.Now(), ctx.Err() }

// watcher is a watch's queue: a writer never waits for a reader.
type watcher struct {
	queue []Update // guarded by the store's mu
	wake  chan struct{}
}

func (s *MemoryStore) tellLocked(u Update) {
	for w := range s.watchers {
		w.queue = append(w.queue, u)
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// Watch implements Store.
func (s *MemoryStore) Watch(ctx context.Context, fn func(Update)) error {
	w := &watcher{wake: make(chan struct{}, 1)}
	s.mu.Lock()
	for _, key := range slices.Sorted(maps.Keys(s.records)) {
		if r, ok := s.liveLocked(key); ok {
			w.queue = append(w.queue, Update{Record: r})
		}
	}
	w.queue = append(w.queue, Update{Synced: true})
	s.watchers[w] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, w)
	}()
	heartbeat := time.NewTicker(s.heartbeat)
	defer heartbeat.Stop()
	for {
		s.mu.Lock()
		queue := w.queue
		w.queue = nil
		s.mu.Unlock()
		for _, u := range queue {
			u.Record = cloneRecord(u.Record)
			fn(u)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.wake:
		case <-heartbeat.C:
			fn(Update{})
		}
	}
}

func cloneRecord(r Record) Record {
	r.Public, r.Secret = slices.Clone(r.Public), slices.Clone(r.Secret)
	return r
}

// MemoryPublisher is a Publisher that calls functions in this process.
type MemoryPublisher struct {
	mu     sync.Mutex
	seen   map[string]time.Time // when each event was published, by id
	pruned time.Time            // when those that are past their time were last removed from seen
	last   map[[4]string]Event  // of each type, and of any
	fns    []func(Event)
}

// NewMemoryPublisher returns a publisher that calls each of fns with each event, once and in order. The functions
// must not block.
func NewMemoryPublisher(fns ...func(Event)) *MemoryPublisher {
	return &MemoryPublisher{seen: map[string]time.Time{}, last: map[[4]string]Event{}, fns: fns}
}

// dedupWindow is how long a publisher knows an event again.
const dedupWindow = 10 * time.Minute

// Publish implements Publisher.
func (p *MemoryPublisher) Publish(ctx context.Context, e Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.pruned) > dedupWindow/10 { // not each time, since that looks at all of them
		maps.DeleteFunc(p.seen, func(_ string, at time.Time) bool { return time.Since(at) > dedupWindow })
		p.pruned = time.Now()
	}
	if _, ok := p.seen[e.ID]; ok {
		return nil
	}
	p.seen[e.ID] = time.Now()
	p.last[subjectOf(e, e.Type)], p.last[subjectOf(e, "")] = e, e
	for _, fn := range p.fns {
		fn(e)
	}
	return nil
}

// Last implements Publisher.
func (p *MemoryPublisher) Last(ctx context.Context, e Event) (Event, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last[subjectOf(e, e.Type)], ctx.Err()
}

func subjectOf(e Event, t EventType) [4]string {
	return [4]string{e.Tenant, string(t), e.Client, e.Grant}
}

// MemorySpool is a Spool that is gone with the process.
type MemorySpool struct {
	mu      sync.Mutex
	records map[string]Record
}

// NewMemorySpool returns an empty spool.
func NewMemorySpool() *MemorySpool { return &MemorySpool{records: map[string]Record{}} }

// Put implements Spool.
func (s *MemorySpool) Put(r Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[r.Key] = cloneRecord(r)
	return nil
}

// All implements Spool.
func (s *MemorySpool) All() ([]Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.records)), nil
}

// Remove implements Spool.
func (s *MemorySpool) Remove(key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, key)
	return nil
}
