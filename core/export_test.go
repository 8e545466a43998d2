package core

import "time"

// NewSlowStore returns a MemoryStore whose watch is told only each d that nothing happened: for tests over weeks of
// synthetic time, in which the cache is then seldom fresh.
func NewSlowStore(d time.Duration) *MemoryStore {
	s := NewMemoryStore()
	s.heartbeat = d
	return s
}
