package core

import (
	"context"
	"time"
)

// Timers call back about a grant at a time. There is one timer per grant: arming it again replaces the old one.
// Timers are derived data: a lost one is armed again from the grant's record, and one that fires early or twice does
// no harm, since it only says "look at this grant".
type Timers interface {
	// Arm sets the grant's timer to at, by the store's clock. A time that has passed fires soon.
	Arm(ctx context.Context, vendor, grant string, at time.Time) error
	// Disarm removes the grant's timer.
	Disarm(ctx context.Context, vendor, grant string) error
	// Armed returns the ids of the grants that have a timer, or a due message that was not worked yet.
	Armed(ctx context.Context) (map[string]bool, error)
	// Work calls fn for each due timer of the vendor, up to limit at once, until ctx ends. Over all replicas one
	// of them gets each. A due timer counts as done when fn returns nil; else it is told again later.
	Work(ctx context.Context, vendor string, limit int, fn func(context.Context, Due) error) error
}

// Due is a timer that has fired.
type Due struct {
	Grant string
	// Time is when it fired, by the store's clock.
	Time time.Time
}
