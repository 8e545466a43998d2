package core

import (
	"context"
	"sync/atomic"
	"time"
)

// VendorTime adds up how long the calls that were made with a context waited for the vendor. What is left of a call of
// an adapter is the adapter's own time, and the way to it. Its methods may be called concurrently.
type VendorTime struct{ spent atomic.Int64 }

type vendorTimeKey struct{}

// WithVendorTime returns a context whose calls are added up. What contexts around it add up is not told of them.
func WithVendorTime(ctx context.Context) (context.Context, *VendorTime) {
	t := &VendorTime{}
	return context.WithValue(ctx, vendorTimeKey{}, t), t
}

// AddVendorTime says that the vendor was waited for. It does nothing where nobody adds up; an adapter that uses
// plugins/oauth need not call it.
func AddVendorTime(ctx context.Context, d time.Duration) {
	if t, ok := ctx.Value(vendorTimeKey{}).(*VendorTime); ok && d > 0 {
		t.spent.Add(int64(d))
	}
}

// Total is what was added so far.
func (t *VendorTime) Total() time.Duration { return time.Duration(t.spent.Load()) }
