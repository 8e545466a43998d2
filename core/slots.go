package core

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// slots bound the calls to one vendor that are under way, so that one that hangs holds no more than its own. Who waits
// for a caller goes first, in the order they came; then the refreshes ahead, that of the token which ends first at the
// front.
type slots struct {
	all int

	mu      sync.Mutex
	free    int    // guarded by mu
	waiting places // guarded by mu
	came    uint64 // guarded by mu
}

func newSlots(n int) *slots { return &slots{all: n, free: n} }

// place is where somebody waits for a slot. Its fields are guarded by the mu of the slots.
type place struct {
	caller bool      // a caller waits
	ends   time.Time // of the token that is to be refreshed
	came   uint64
	index  int // among the places; -1: not waiting
	ready  chan struct{}
}

// acquire waits at p for a slot.
func (s *slots) acquire(ctx context.Context, p *place, ends time.Time) error {
	s.mu.Lock()
	if s.free > 0 {
		s.free--
		s.mu.Unlock()
		return nil
	}
	s.came++
	p.ends, p.came, p.ready = ends, s.came, make(chan struct{})
	heap.Push(&s.waiting, p)
	s.mu.Unlock()
	select {
	case <-p.ready:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.index < 0 {
		return nil // it was given at the same moment
	}
	heap.Remove(&s.waiting, p.index)
	return ctx.Err()
}

// release gives a slot to the first who waits.
func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		s.free++
		return
	}
	p := heap.Pop(&s.waiting).(*place)
	close(p.ready)
}

// hurry says that a caller waits at p.
func (s *slots) hurry(p *place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.caller {
		return
	}
	p.caller = true
	if p.index >= 0 {
		heap.Fix(&s.waiting, p.index)
	}
}

// newPlace returns a place at which nobody waits yet.
func newPlace(caller bool) *place { return &place{caller: caller, index: -1} }

// places implements heap.Interface; the first is the next to go.
type places []*place

func (w places) Len() int { return len(w) }

func (w places) Less(i, j int) bool {
	a, b := w[i], w[j]
	switch {
	case a.caller != b.caller:
		return a.caller
	case a.caller || a.ends.Equal(b.ends):
		return a.came < b.came
	}
	return a.ends.Before(b.ends)
}

func (w places) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i, j
}

func (w *places) Push(x any) {
	p := x.(*place)
	p.index = len(*w)
	*w = append(*w, p)
}

func (w *places) Pop() any {
	last := len(*w) - 1
	p := (*w)[last]
	(*w)[last] = nil
	*w, p.index = (*w)[:last], -1
	return p
}
