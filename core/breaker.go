package core

import (
	"errors"
	"hash/fnv"
	"sync"
	"time"
)

const (
	breakerOpensAt = 5                // failures of the vendor in a row
	breakerPause   = 20 * time.Second // between the tries of an open breaker
	trialPause     = time.Second      // how long others wait for such a try before they look again
)

// breaker leaves a vendor alone that failed many times in a row: then one call at a time tries, after a pause.
type breaker struct {
	pause func() time.Duration // until the next try
	tell  func()               // called when it opens

	mu       sync.Mutex
	failures int       // in a row; guarded by mu
	open     bool      // guarded by mu
	next     time.Time // when one may try; guarded by mu
	trying   bool      // guarded by mu
	opened   int       // how often it opened or closed; guarded by mu
}

// newBreaker makes the breaker of a client at its vendor. Those of all replicas try at the same moments by the store's
// clock, different ones for each client, so that the grants which wait have one order over all of them.
func (m *Manager) newBreaker(cl *Client) *breaker {
	h := fnv.New32a()
	_, _ = h.Write([]byte(cl.Name))
	phase := time.Duration(h.Sum32()) * time.Microsecond
	return &breaker{
		tell: func() { m.work.Go(func() { m.noteBreaker(cl) }) },
		pause: func() time.Duration {
			soonest := m.now().Add(breakerPause / 2)
			return breakerPause/2 + breakerPause - time.Duration((soonest.UnixNano()+int64(phase))%int64(breakerPause))
		},
	}
}

// shut says that the vendor is left alone, and for how long; nil where it is not.
func (b *breaker) shut() *VendorError {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.shutLocked()
}

func (b *breaker) shutLocked() *VendorError {
	wait := time.Until(b.next)
	switch {
	case !b.open:
		return nil
	case b.trying:
		wait = trialPause
	case wait <= 0:
		return nil
	}
	return &VendorError{Outcome: NotSent, Code: CodeBreakerOpen, RetryAfter: wait,
		Detail: "the vendor failed many times in a row and is left alone for a while"}
}

// permit is the breaker's leave to call the vendor once.
type permit struct {
	*breaker
	opened int
	used   bool
}

// admit asks for leave to call the vendor. The caller settles it, or gives it back.
func (b *breaker) admit() (*permit, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if v := b.shutLocked(); v != nil {
		return nil, v
	}
	b.trying = b.open
	return &permit{breaker: b, opened: b.opened}, nil
}

// errNotCalled says that a call which the breaker let through was not made: it tells nothing of the vendor.
var errNotCalled = errors.New("the vendor was not called")

// giveBack ends a permit that was not used.
func (p *permit) giveBack() { p.settle(errNotCalled) }

// settle says how the call went: nil where the vendor works. What was sent before the breaker opened or closed tells
// nothing of what is since.
func (p *permit) settle(err error) {
	b := p.breaker
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.used || p.opened != b.opened {
		return
	}
	p.used, b.trying = true, false
	switch {
	case errors.Is(err, errNotCalled):
	case err == nil:
		if b.failures = 0; b.open {
			b.open = false
			b.opened++
		}
	case b.open:
		b.next = time.Now().Add(b.pause())
	default:
		if b.failures++; b.failures >= breakerOpensAt {
			b.open, b.next = true, time.Now().Add(b.pause())
			b.opened++
			b.tell()
		}
	}
}
