package client

import (
	"context"
	"time"
)

// WaitReadyAsking is WaitReady that asks by itself no sooner than after first.
func (c *Client) WaitReadyAsking(ctx context.Context, sel Selector, first time.Duration) error {
	return c.waitReady(ctx, sel, pace{first, max(first, longestPause)})
}

// WaitReadyAsking is WaitReady that asks by itself no sooner than after first.
func (l *Local) WaitReadyAsking(ctx context.Context, sel Selector, first time.Duration) error {
	return l.waitReady(ctx, sel, pace{first, max(first, longestPause)})
}

// Hearing is what a WaitReady for a grant hears from now on.
func (l *Local) Hearing(sel Selector) (hear func(context.Context, time.Duration) (bool, error), end func()) {
	e := &localEar{manager: l.manager, wanted: newWaiter(l.tenant, sel).wants}
	e.listen()
	return e.hear, e.close
}

// Age makes what a Cached Client keeps as old as d, however long ago it was asked for.
func (c *Client) Age(d time.Duration) {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	for _, s := range c.cache.slots {
		if s.kept != nil {
			asked := time.Now().Add(-d)
			s.kept = &keptToken{token: s.kept.token, asked: asked, byWall: asked.UnixNano()}
		}
	}
}

// HoldEvents keeps a Cached Client from hearing until it is released.
func (c *Client) HoldEvents() (release func()) {
	c.cache.mu.Lock()
	return c.cache.mu.Unlock
}

// Kept is how many tokens a Cached Client keeps, and for how many it has room.
func (c *Client) Kept() (tokens, room int) {
	c.cache.mu.RLock()
	defer c.cache.mu.RUnlock()
	for _, s := range c.cache.slots {
		if s.kept != nil {
			tokens++
		}
	}
	return tokens, max(len(c.cache.slots), len(c.cache.named))
}
