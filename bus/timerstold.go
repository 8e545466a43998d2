package bus

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// dueTellEvery is how long a line is held back that every worker of a vendor would write.
const dueTellEvery = 10 * time.Second

// dueTold is what the workers of a vendor have told the log.
type dueTold struct {
	unworked rate.Sometimes

	mu    sync.Mutex // guards what follows
	since time.Time  // when due timers could not be asked for; zero where they can
	until time.Time  // when they could again, the last time
}

// interrupted takes in how asking for due timers ended that began at a time. The first worker that meets an outage tells
// of it.
func (w dueWorker) interrupted(ctx context.Context, began time.Time, err error) {
	t := w.told
	t.mu.Lock()
	defer t.mu.Unlock()
	if ctx.Err() != nil || !t.since.IsZero() || began.Before(t.until) {
		return
	}
	t.since = time.Now()
	w.timers.bus.log.WarnContext(ctx, "due timers cannot be asked for; esignd goes on asking, and the sweep looks at grants that are overdue",
		"vendor", w.vendor, "error", err)
}

// resumed tells that an outage is over, of which asking that began at a time and went well is the proof.
func (w dueWorker) resumed(ctx context.Context, began time.Time) {
	t := w.told
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() || began.Before(t.since) {
		return
	}
	w.timers.bus.log.InfoContext(ctx, "due timers are asked for again", "vendor", w.vendor, "after", time.Since(t.since).Round(time.Millisecond))
	t.since, t.until = time.Time{}, time.Now()
}

// unworked tells that a due timer was not worked. Where many are not, it tells of some.
func (w dueWorker) unworked(ctx context.Context, grant string, err error) {
	w.told.unworked.Do(func() {
		w.timers.bus.log.WarnContext(ctx, "a due timer could not be worked; it will be told again, within a minute", "vendor", w.vendor, "grant", grant,
			"error", err)
	})
}
