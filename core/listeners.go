package core

import (
	"context"
	"errors"
	"sync"
)

// ErrBehind is returned by Manager.Watch when 4,096 events waited for a function that did not keep up: others were lost.
// Watch again, and ask how the grants are.
var ErrBehind = errors.New("core: the events came faster than they were heard, and some were lost")

// watchQueue is how many events wait for one Watch at most.
const watchQueue = 4096

// listener is one Watch of a Manager.
type listener struct {
	events chan *Event
	behind chan struct{} // closed when an event had no place any more
}

// listeners are the Watches of a Manager. mu guards all.
type listeners struct {
	mu  sync.Mutex
	all map[*listener]struct{}
}

func (ls *listeners) add() *listener {
	l := &listener{events: make(chan *Event, watchQueue), behind: make(chan struct{})}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.all == nil {
		ls.all = map[*listener]struct{}{}
	}
	ls.all[l] = struct{}{}
	return l
}

func (ls *listeners) remove(l *listener) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.all, l)
}

// tell hands an event to all, and waits for none.
func (ls *listeners) tell(e Event) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for l := range ls.all {
		select {
		case l.events <- &e:
		default:
			close(l.behind)
			delete(ls.all, l)
		}
	}
}

// Watch calls fn for each event that this Manager publishes from now on, one at a time and in order for each grant, until
// ctx ends, fn returns an error, or the Manager is closed, and returns why. An event may come twice, with the same ID. No
// publication waits for fn: see [ErrBehind]. Watch may be called before Start.
//
// What other Managers publish is not heard, nor what was published before: where several work on one Store, or nothing
// may be missed, listen to what the Publisher publishes to.
func (m *Manager) Watch(ctx context.Context, fn func(Event) error) error {
	l := m.listeners.add()
	defer m.listeners.remove(l)
	for ctx.Err() == nil {
		select {
		case e := <-l.events:
			if err := fn(*e); err != nil {
				return err
			}
			continue
		default:
		}
		select {
		case e := <-l.events:
			if err := fn(*e); err != nil {
				return err
			}
		case <-l.behind:
			if len(l.events) == 0 {
				return ErrBehind
			}
		case <-m.background.Done():
			if len(l.events) == 0 {
				return errClosed
			}
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}
