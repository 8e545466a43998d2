package sandbox

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// rateLimit counts the calls of a minute. It may be used from many goroutines.
type rateLimit struct {
	most int
	now  func() time.Time

	mu    sync.Mutex // guards what follows
	used  int
	reset time.Time
}

// limited answers with 429 and without h once the minute's calls are used up. Every answer says how many are left.
func (l *rateLimit) limited(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		left, reset := l.take()
		setRateLimit(w.Header(), l.most, max(left, 0), reset)
		if left < 0 {
			refuseAPI(w, http.StatusTooManyRequests, "exceeded_rate", "Too many requests.")
			return
		}
		h(w, r)
	}
}

// take uses up one call and returns how many are left, less than none where there was none, and when there are more.
func (l *rateLimit) take() (left int, reset time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.now(); !now.Before(l.reset) {
		l.used, l.reset = 0, now.Add(time.Minute)
	}
	l.used = min(l.used+1, l.most+1)
	return l.most - l.used, l.reset
}

// setRateLimit sets the vendor's headers: the three that it documents, and the one that is seen in place of the second.
// There is no Retry-After.
func setRateLimit(h http.Header, limit, left int, reset time.Time) {
	h.Set("X-RateLimit-Limit", strconv.Itoa(limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(left))
	h.Set("X-RateLimit-Limit-Remaining", strconv.Itoa(left))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(reset.Unix(), 10))
}
