package core

import (
	"context"
	"errors"
	"sync"
)

// ErrBehind is returned by Manager.Watch and Listener.Next when 4,096 events waited and were not heard: others were lost.
// Begin again, and ask how the grants are.
var ErrBehind = errors.New("core: the events came faster than they were heard, and some were lost")

// watchQueue is how many events wait for one Listener at most.
const watchQueue = 4096

// Listener hears what a Manager publishes from Manager.Listen on until it is closed. Who listens before asking how a
// grant is misses nothing: what is not in the answer is heard. It is for one goroutine at a time.
type Listener struct {
	of     *listeners
	wanted func(Event) bool
	bell   chan struct{}   // has room for one
	ended  <-chan struct{} // closed with the Manager
	queue  []*Event        // guarded by of.mu, as is behind
	behind bool            // an event had no place any more
}

// listeners are the Listeners of a Manager. mu guards all.
type listeners struct {
	mu  sync.Mutex
	all map[*Listener]struct{}
}

func (ls *listeners) add(l *Listener) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.all == nil {
		ls.all = map[*Listener]struct{}{}
	}
	ls.all[l] = struct{}{}
}

// tell hands an event to all who want it, and waits for none.
func (ls *listeners) tell(e Event) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for l := range ls.all {
		switch {
		case l.wanted != nil && !l.wanted(e):
			continue
		case len(l.queue) < watchQueue:
			l.queue = append(l.queue, &e)
		default:
			l.behind = true
			delete(ls.all, l)
		}
		select {
		case l.bell <- struct{}{}:
		default:
		}
	}
}

// Listen begins to hear the events that this Manager publishes: those for which wanted is true, or all where it is nil.
// wanted is called while an event is published, and is to return at once. Call Close in the end. Listen may be called
// before Start.
func (m *Manager) Listen(wanted func(Event) bool) *Listener {
	l := &Listener{of: &m.listeners, wanted: wanted, bell: make(chan struct{}, 1), ended: m.background.Done()}
	m.listeners.add(l)
	return l
}

// Close ends the hearing.
func (l *Listener) Close() {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	delete(l.of.all, l)
}

// Next waits for an event and returns it. It returns ctx's error where that ends before, [ErrBehind] where events were
// lost, and TemporarilyUnavailable where the Manager was closed; what was heard before that comes first.
func (l *Listener) Next(ctx context.Context) (Event, error) {
	for ctx.Err() == nil {
		over := false // before the queue is looked at, which is whole then
		select {
		case <-l.ended:
			over = true
		default:
		}
		e, behind := l.take()
		switch {
		case e != nil:
			return *e, nil
		case behind:
			return Event{}, ErrBehind
		case over:
			return Event{}, errClosed
		}
		select {
		case <-l.bell:
		case <-l.ended:
		case <-ctx.Done():
		}
	}
	return Event{}, ctx.Err()
}

// take returns the oldest event that waits. Where none does, behind says that others were lost.
func (l *Listener) take() (e *Event, behind bool) {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	if len(l.queue) == 0 {
		l.queue = nil // a burst's room is given back
		return nil, l.behind
	}
	e, l.queue = l.queue[0], l.queue[1:]
	return e, false
}

// Watch calls fn for each event that this Manager publishes from now on, one at a time and in order for each grant, until
// ctx ends, fn returns an error, or the Manager is closed, and returns why. An event may come twice, with the same ID. No
// publication waits for fn: see [ErrBehind]. Watch may be called before Start.
//
// What other Managers publish is not heard, nor what was published before: where several work on one Store, or nothing
// may be missed, listen to what the Publisher publishes to.
func (m *Manager) Watch(ctx context.Context, fn func(Event) error) error {
	l := m.Listen(nil)
	defer l.Close()
	for {
		e, err := l.Next(ctx)
		if err == nil {
			err = fn(e)
		}
		if err != nil {
			return err
		}
	}
}
