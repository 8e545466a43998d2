package client

import (
	"context"
	"fmt"
	"time"

	"github.com/esignd/esignd/bus/wire"
)

// flightKey is what a request asks for.
type flightKey struct {
	grant string
	opts  tokenOptions
}

// flight is one request for a token, which others wait for too.
type flight struct {
	grant   string
	asked   time.Time
	losses  uint64 // so far
	began   uint64 // how many events were heard so far
	spoiled bool   // the answer is not to be kept; guarded by the cache's mutex

	done      chan struct{} // closed when what follows is there
	token     Token
	err       error
	abandoned bool // whose request it was did not wait for the answer
}

// ask asks for a token of the grant, which take named, or waits for one that another asks for.
func (k *cache) ask(ctx context.Context, c *Client, sel Selector, o tokenOptions, grant string) (Token, error) {
	if grant == "" {
		return c.token(ctx, wire.TokenGet, o.request(sel)) // the daemon says what is wrong with it
	}
	for {
		f, mine := k.board(ctx, flightKey{grant, o})
		if mine {
			return k.fly(ctx, c, sel, o, f)
		}
		select {
		case <-ctx.Done():
			return Token{}, fmt.Errorf("ask esignd for %s: %w", wire.TokenGet, ctx.Err())
		case <-f.done:
			if !f.abandoned {
				return f.token, f.err
			}
		}
	}
}

// board returns a flight under way, one that landed after the caller had looked for a token, or one of the caller's own.
func (k *cache) board(ctx context.Context, key flightKey) (f *flight, mine bool) {
	k.mu.Lock()
	f = k.flights[key]
	if f == nil {
		f = k.landed(key)
	}
	if f != nil {
		k.mu.Unlock()
		return f, false
	}
	f = k.newFlight(key.grant)
	k.flights[key] = f
	k.mu.Unlock()
	k.depart(ctx, f)
	return f, true
}

// landed returns a flight that brought the token that is kept, nil where none is. The cache's mutex is held.
func (k *cache) landed(key flightKey) *flight {
	s := k.slots[key.grant]
	if s == nil || s.kept == nil {
		return nil
	}
	left, ok := s.kept.serves(key.opts.least())
	if !ok {
		return nil
	}
	f := &flight{done: make(chan struct{}), token: s.kept.token}
	f.token.ExpiresIn = left.Truncate(time.Second)
	close(f.done)
	return f
}

// newFlight returns a flight that nobody can join yet. The cache's mutex is held.
func (k *cache) newFlight(grant string) *flight {
	return &flight{grant: grant, done: make(chan struct{}), losses: k.losses, began: k.least.count}
}

// depart notes when f asks. Where events may not be heard, its answer will not be kept.
func (k *cache) depart(ctx context.Context, f *flight) {
	_ = k.listen(ctx)
	f.asked = time.Now()
}

// fly asks, and tells those who wait.
func (k *cache) fly(ctx context.Context, c *Client, sel Selector, o tokenOptions, f *flight) (Token, error) {
	defer k.land(f, flightKey{f.grant, o})
	f.abandoned = true // a panic leaves it so
	f.token, f.err = c.token(ctx, wire.TokenGet, o.request(sel))
	f.abandoned = ctx.Err() != nil && f.err != nil
	if f.err == nil {
		k.keep(f, f.token)
	}
	return f.token, f.err
}

func (k *cache) land(f *flight, key flightKey) {
	k.mu.Lock()
	if k.flights[key] == f {
		delete(k.flights, key)
	}
	k.mu.Unlock()
	close(f.done)
}

// force asks for another token than the one there is, of a generation from least on.
func (k *cache) force(ctx context.Context, sel Selector, least uint64, ask func() (Token, error)) (Token, error) {
	grant := k.open(sel)
	if grant == "" {
		return ask()
	}
	k.drop(grant, least, true)
	k.mu.Lock()
	f := k.newFlight(grant)
	k.mu.Unlock()
	k.depart(ctx, f)
	t, err := ask()
	if err == nil {
		k.keep(f, t)
	}
	return t, err
}

// end does what ends a grant's tokens.
func (k *cache) end(sel Selector, do func() (Grant, error)) (Grant, error) {
	grant := k.open(sel)
	if grant == "" {
		return do()
	}
	k.drop(grant, 0, true)
	g, err := do()
	least := uint64(0)
	if err == nil {
		least = g.Generation + 1
	}
	k.drop(grant, least, true) // what was answered meanwhile
	return g, err
}
