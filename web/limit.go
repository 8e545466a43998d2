package web

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxAddresses bounds each half of a limiter's memory.
const maxAddresses = 8192

// limiter counts requests per address. It remembers the addresses of the last minute or two, and no more than twice
// maxAddresses of them: where there are more, those not seen for longest begin anew.
type limiter struct {
	perMinute int
	now       func() time.Time

	mu      sync.Mutex // guards all below
	rotated time.Time
	recent  map[netip.Prefix]*rate.Limiter
	older   map[netip.Prefix]*rate.Limiter
}

func newLimiter(perMinute int, now func() time.Time) *limiter {
	return &limiter{perMinute: perMinute, now: now, rotated: now(), recent: make(map[netip.Prefix]*rate.Limiter)}
}

// take counts one request of an address, and returns 0, or how long to wait where it is one too many.
func (l *limiter) take(from netip.Prefix) time.Duration {
	now := l.now()
	bucket := l.bucket(from, now)
	reservation := bucket.ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}

func (l *limiter) bucket(from netip.Prefix, now time.Time) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A bucket that was not used for a minute is full again, so it can be forgotten.
	if len(l.recent) >= maxAddresses || now.Sub(l.rotated) >= time.Minute {
		l.older, l.recent, l.rotated = l.recent, make(map[netip.Prefix]*rate.Limiter), now
	}
	if bucket, ok := l.recent[from]; ok {
		return bucket
	}
	bucket, ok := l.older[from]
	if !ok {
		bucket = rate.NewLimiter(rate.Limit(float64(l.perMinute)/60), l.perMinute)
	}
	l.recent[from] = bucket
	return bucket
}
