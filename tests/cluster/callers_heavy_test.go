//go:build heavy

package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/esignd/esignd/bus/client"
)

// callers ask for tokens while replicas and servers die, and use what they get.
type callers struct {
	storm   *storm
	workers errgroup.Group
	cancel  context.CancelFunc

	served, told, longest atomic.Int64

	mu      sync.Mutex // guards refused
	refused []string   // accounts whose token the vendor did not take
}

// startCallers starts n callers, each on a connection of its own.
func (s *storm) startCallers(n int) *callers {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	c := &callers{storm: s, cancel: cancel}
	for range n {
		cl := s.service()
		c.workers.Go(func() error {
			for ctx.Err() == nil {
				c.call(ctx, cl)
			}
			return nil
		})
	}
	s.t.Cleanup(c.stop)
	return c
}

// stop ends the callers. It may be called again.
func (c *callers) stop() {
	c.cancel()
	_ = c.workers.Wait() // the functions return no error
}

// call asks for one token and uses it.
func (c *callers) call(ctx context.Context, cl *client.Client) {
	asking, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// A service works with a token, or waits before it asks again.
	defer pause(ctx, 20*time.Millisecond)
	n, begun := rand.N(c.storm.size), time.Now()
	tok, err := cl.Token(asking, selector(n))
	if ctx.Err() != nil {
		return
	}
	for waited := time.Since(begun).Nanoseconds(); ; {
		if known := c.longest.Load(); waited <= known || c.longest.CompareAndSwap(known, waited) {
			break
		}
	}
	switch {
	case errors.Is(err, client.TemporarilyUnavailable), errors.Is(err, client.ReauthorizationRequired), errors.Is(err, context.DeadlineExceeded):
		c.told.Add(1)
		return
	case err != nil:
		c.storm.t.Errorf("a caller was told %v", err)
		return
	}
	c.served.Add(1)
	if !begun.Before(tok.ExpiresAt) { // it may end on its way
		c.storm.t.Errorf("an expired token of %s was handed out", account(n))
	}
	if live, err := c.storm.vendor.live(tok.AccessToken.Reveal()); err == nil && !live {
		c.mu.Lock()
		c.refused = append(c.refused, account(n))
		c.mu.Unlock()
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
