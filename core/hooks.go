package core

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Hooks are functions of the program that has the engine in it.
//
// They run in the process that wrote the change: of several Managers on one Store each tells its own writes, once. What
// happens wherever it happens is told by events, which also outlive a crash; hooks do not.
type Hooks struct {
	// Transition is told of each Transition after it is written, one at a time and, for each grant, in order. No write
	// waits for it: at most 4,096 transitions wait to be told, then the oldest is left out and the next one counts it as
	// Missed. A panic is logged and contained. It may ask the Manager, but not close it: Close waits until everything is
	// told, for 5 seconds or as long as its context lasts; then ctx ends.
	Transition func(ctx context.Context, t Transition)
}

// Transition is a change in the life of a grant: of its state, or a new token set, as the table of transitions has them.
// It holds no secret.
//
// One whose write the store did not acknowledge is told when its record is seen in the store, unless others have changed
// that by then. That a revoked grant is forgotten, or that its vendor was told at last, is none.
type Transition struct {
	Grant, Tenant, Client, Vendor, Account string

	// From is the state before; empty where there was no grant, or a forgotten one. To is the state since.
	From, To State
	// Event is the type of the event that tells of it, and is published after it. Empty: none does, or one comes later.
	Event EventType
	// Reason is that of the event, or the one that a revocation was given.
	Reason string
	// Generation is the grant's since.
	Generation uint64
	// Rotated says that a refresh brought another refresh token.
	Rotated bool
	// Time is when it was written, by the store's clock.
	Time time.Time
	// Missed is how many transitions before this one were not told, since the hook did not keep up. Ask the Manager how
	// the grants are.
	Missed uint64
}

const (
	hookQueue  = 4096            // transitions that wait to be told
	hookUnsure = 1024            // transitions of which it is not known whether they were written
	hooksEnd   = 5 * time.Second // how long Close waits for hooks
	hookGrace  = time.Second     // how long a hook may take to heed the end of its context
	maxStack   = 6 << 10         // bytes of a panic's stack that are logged
)

// transition is what g's change is once g is written.
func (g *grant) transition(at time.Time) Transition {
	t := *g.moved
	t.Grant, t.Tenant, t.Client, t.Vendor, t.Account = g.ID, g.Tenant, g.Client, g.Vendor, g.Account
	t.To, t.Generation, t.Time = g.State, g.Generation, at
	t.Reason = cmp.Or(g.Reason, t.Reason)
	return t
}

// outbox brings transitions to a hook in the order of their writes, and holds up nobody who writes. A nil outbox takes
// none.
type outbox struct {
	hook    func(context.Context, Transition)
	log     *slog.Logger
	seldom  rate.Sometimes
	ctx     context.Context // of the hook
	end     context.CancelFunc
	wake    chan struct{} // has room for one
	done    chan struct{} // closed when the hook is not called any more
	started bool          // set before anything is closed

	mu sync.Mutex
	// writes have begun and are in this order: the next write of a grant begins when the one before it has reached the
	// store, though maybe before its acknowledgement has reached us. Guarded by mu, as is all that follows.
	writes  []*writing
	queue   []Transition
	missed  uint64 // since the last that was told
	closing bool
	unsure  map[string]*writing // by grant
}

// writing is a write of a transition.
type writing struct {
	grant  string
	told   Transition
	public string // of the record
	base   uint64 // the revision that it replaces
	state  writingState
	seen   time.Time // when it was written, by the record in the store; zero while that was not seen
}

// is reports whether a record in the store is the one that was to be written.
func (w *writing) is(rec Record) bool { return rec.Revision > w.base && string(rec.Public) == w.public }

type writingState int

const (
	underWay writingState = iota
	isWritten
	notWritten
)

func newOutbox(h Hooks, log *slog.Logger) *outbox {
	if h.Transition == nil {
		return nil
	}
	o := &outbox{hook: h.Transition, log: log, seldom: rate.Sometimes{First: 1, Interval: time.Minute},
		wake: make(chan struct{}, 1), done: make(chan struct{}), unsure: map[string]*writing{}}
	o.ctx, o.end = context.WithCancel(context.Background()) // ends with Close
	return o
}

// begin notes that g is about to be written as rec, where it has a transition.
func (o *outbox) begin(g *grant, rec Record) *writing {
	if o == nil || g.moved == nil {
		return nil
	}
	w := &writing{grant: g.ID, public: string(rec.Public), base: g.revision}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writes = append(o.writes, w)
	return w
}

// ended notes how a write ended, at a time of the store's clock.
func (o *outbox) ended(w *writing, g *grant, at time.Time, err error) {
	if w == nil {
		return
	}
	o.mu.Lock()
	w.told, w.state = g.transition(at), isWritten
	switch {
	case err == nil:
		delete(o.unsure, g.ID) // this is in its place: it was not written
	case errors.Is(err, ErrConflict):
		w.state = notWritten
	case !w.seen.IsZero():
		w.told.Time = w.seen
	default:
		w.state = notWritten
		if len(o.unsure) < hookUnsure {
			o.unsure[g.ID] = w
		}
	}
	missed := o.advanceLocked()
	o.mu.Unlock()
	o.complain(missed)
}

// seen takes in a record of a grant that is in the store: its write may be one that is not acknowledged, or not yet.
func (o *outbox) seen(grant string, rec Record) {
	if o == nil {
		return
	}
	o.mu.Lock()
	for _, w := range o.writes {
		if w.grant == grant && w.is(rec) {
			w.seen = rec.Time
		}
	}
	if w := o.unsure[grant]; w != nil && rec.Revision > w.base {
		delete(o.unsure, grant)
		if w.is(rec) {
			late := *w // w itself counts as not written
			late.state, late.told.Time = isWritten, rec.Time
			o.writes = append(o.writes, &late)
		}
	}
	missed := o.advanceLocked()
	o.mu.Unlock()
	o.complain(missed)
}

// advanceLocked moves what was written, and before which nothing is under way, into the queue. It returns how many were
// left out.
func (o *outbox) advanceLocked() (missed uint64) {
	for len(o.writes) > 0 && o.writes[0].state != underWay {
		if o.writes[0].state == isWritten {
			o.queue = append(o.queue, o.writes[0].told)
		}
		o.writes = o.writes[1:]
	}
	if over := len(o.queue) - hookQueue; over > 0 {
		o.queue = o.queue[over:]
		missed = uint64(over)
		o.missed += missed
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return missed
}

func (o *outbox) complain(missed uint64) {
	if missed > 0 {
		o.seldom.Do(func() {
			o.log.Warn("the hook does not keep up, and is not told of the oldest transitions that wait; it may be blocked", "waiting", hookQueue)
		})
	}
}

// start begins to call the hook, until close.
func (o *outbox) start() {
	if o == nil {
		return
	}
	o.started = true
	go o.run()
}

func (o *outbox) run() {
	defer close(o.done)
	for o.ctx.Err() == nil {
		t, ok, closing := o.next()
		switch {
		case ok:
			o.call(t)
			continue
		case closing:
			return
		}
		select {
		case <-o.wake:
		case <-o.ctx.Done():
		}
	}
}

// next takes the oldest transition that waits.
func (o *outbox) next() (t Transition, ok, closing bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		return t, false, o.closing
	}
	t, o.queue = o.queue[0], o.queue[1:]
	t.Missed, o.missed = o.missed, 0
	return t, true, false
}

// call calls the hook. What it panics with is not logged, unless it is the runtime's own error: it may be anything.
func (o *outbox) call(t Transition) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		what := fmt.Sprintf("a value of type %T", p)
		if e, ok := p.(runtime.Error); ok {
			what = e.Error()
		}
		stack := debug.Stack()
		o.log.Error("a hook panicked; it is told of the next transition all the same", "grant", t.Grant, "panic", what, "stack", string(stack[:min(len(stack), maxStack)]))
	}()
	o.hook(o.ctx, t)
}

// close has the hook told of what waits, for a while. Nothing is written any more when it is called.
func (o *outbox) close() error {
	if o == nil {
		return nil
	}
	defer o.end()
	if !o.started {
		return nil
	}
	o.mu.Lock()
	o.closing = true
	o.advanceLocked()
	o.mu.Unlock()
	if !ended(o.done, hooksEnd) {
		o.end()
		if !ended(o.done, hookGrace) {
			return errors.New("a hook did not return when its context ended; its goroutine is left")
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := uint64(len(o.queue)) + o.missed; n > 0 {
		return fmt.Errorf("the hook was not told of the last %d transitions: it takes too long", n)
	}
	return nil
}

// abandon ends the context of the hook: nobody waits for it any more.
func (o *outbox) abandon() {
	if o != nil {
		o.end()
	}
}

func ended(done <-chan struct{}, within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
