package client

import (
	"context"
	"time"
)

// WaitReadyAsking is WaitReady that asks by itself no sooner than after first.
func (c *Client) WaitReadyAsking(ctx context.Context, sel Selector, first time.Duration) error {
	return c.waitReady(ctx, sel, pace{first: first, longest: max(first, 30*time.Second)})
}
