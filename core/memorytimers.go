package core

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// MemoryTimers are Timers that are gone with the process.
type MemoryTimers struct {
	mu      sync.Mutex
	vendors map[string]*vendorTimers // guarded by mu
}

// vendorTimers are the timers of one vendor, guarded by the mu of the MemoryTimers.
type vendorTimers struct {
	armed map[string]*memoryTimer // by grant
	next  timerHeap
	wake  chan struct{} // wakes the worker
}

type memoryTimer struct {
	grant string
	at    time.Time
	index int // in the heap
}

// NewMemoryTimers returns timers of which none is armed.
func NewMemoryTimers() *MemoryTimers { return &MemoryTimers{vendors: map[string]*vendorTimers{}} }

func (v *vendorTimers) wakeWorker() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

func (t *MemoryTimers) ofLocked(vendor string) *vendorTimers {
	v := t.vendors[vendor]
	if v == nil {
		v = &vendorTimers{armed: map[string]*memoryTimer{}, wake: make(chan struct{}, 1)}
		t.vendors[vendor] = v
	}
	return v
}

// Arm implements Timers.
func (t *MemoryTimers) Arm(ctx context.Context, vendor, grant string, at time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.ofLocked(vendor)
	timer := v.armed[grant]
	if timer == nil {
		timer = &memoryTimer{grant: grant, at: at}
		v.armed[grant] = timer
		heap.Push(&v.next, timer)
	} else {
		timer.at = at
		heap.Fix(&v.next, timer.index)
	}
	if timer.index == 0 {
		v.wakeWorker()
	}
	return ctx.Err()
}

// Disarm implements Timers.
func (t *MemoryTimers) Disarm(ctx context.Context, vendor, grant string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.ofLocked(vendor)
	if timer := v.armed[grant]; timer != nil {
		heap.Remove(&v.next, timer.index)
		delete(v.armed, grant)
	}
	return ctx.Err()
}

// Armed implements Timers.
func (t *MemoryTimers) Armed(ctx context.Context) (map[string]bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids := map[string]bool{}
	for _, v := range t.vendors {
		for id := range v.armed {
			ids[id] = true
		}
	}
	return ids, ctx.Err()
}

// Work implements Timers.
func (t *MemoryTimers) Work(ctx context.Context, vendor string, limit int, fn func(context.Context, Due) error) error {
	t.mu.Lock()
	wake := t.ofLocked(vendor).wake
	t.mu.Unlock()
	slots := make(chan struct{}, limit)
	var work sync.WaitGroup
	defer work.Wait()
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		id, wait := t.takeDue(vendor)
		if id != "" {
			work.Go(func() {
				defer func() { <-slots }()
				if err := fn(ctx, Due{Grant: id, Time: time.Now()}); err != nil && ctx.Err() == nil {
					_ = t.Arm(ctx, vendor, id, time.Now().Add(jitter(2*time.Second)))
				}
			})
			continue
		}
		<-slots
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// takeDue takes the timer that is due first; where none is due, it returns how long the next has to wait. Who takes one
// wakes another for the next, since its own hands may be full then.
func (t *MemoryTimers) takeDue(vendor string) (grant string, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.ofLocked(vendor)
	if len(v.next) == 0 {
		return "", time.Hour
	}
	if wait := time.Until(v.next[0].at); wait > 0 {
		return "", min(wait, time.Hour)
	}
	timer := heap.Pop(&v.next).(*memoryTimer)
	delete(v.armed, timer.grant)
	if len(v.next) > 0 {
		v.wakeWorker()
	}
	return timer.grant, 0
}

// timerHeap implements heap.Interface; the first is due first.
type timerHeap []*memoryTimer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timerHeap) Push(x any) {
	timer := x.(*memoryTimer)
	timer.index = len(*h)
	*h = append(*h, timer)
}

func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	timer := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return timer
}
