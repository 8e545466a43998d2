package boltstore

import (
	"sync"

	"github.com/esignd/esignd/core"
)

// watches are those who hear of writes. No writer waits for them.
type watches struct {
	mu  sync.Mutex
	all map[*watch]struct{} // guarded by mu
}

// watch is one of them.
type watch struct {
	wake  chan struct{} // has room for one
	mu    sync.Mutex
	queue []core.Update // guarded by mu
}

func (ws *watches) begin() *watch {
	w := &watch{wake: make(chan struct{}, 1)}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.all == nil {
		ws.all = map[*watch]struct{}{}
	}
	ws.all[w] = struct{}{}
	return w
}

func (ws *watches) end(w *watch) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.all, w)
}

func (ws *watches) tell(u core.Update) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.all {
		w.put(u)
	}
}

func (w *watch) put(u core.Update) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, u)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watch) take() []core.Update {
	w.mu.Lock()
	defer w.mu.Unlock()
	queue := w.queue
	w.queue = nil
	return queue
}
