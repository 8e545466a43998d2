package oauth

import (
	"net/http"
	"strconv"
	"time"
)

// maxRetryAfter keeps a slip of the vendor from silencing us for years.
const maxRetryAfter = 24 * time.Hour

// retryAfter is how long the vendor asks us to wait, by whichever of its ways says longest: the Retry-After header in
// seconds or as a date (RFC 9110 §10.2.3), retryAfter in the body, and for a 429 X-RateLimit-Reset in Unix seconds.
// The longest, since with some vendors an early retry starts the wait again.
func (a answer) retryAfter() time.Duration {
	if a.status < 400 {
		return 0
	}
	wait := max(a.retryAfterHeader(), 0)
	if n, ok := a.members.number("retryAfter"); ok {
		wait = max(wait, seconds(n))
	}
	if a.status == http.StatusTooManyRequests {
		if reset, err := strconv.ParseFloat(a.header.Get("X-RateLimit-Reset"), 64); err == nil {
			wait = max(wait, seconds(reset-float64(a.time.Unix())))
		}
	}
	return wait
}

func (a answer) retryAfterHeader() time.Duration {
	value := a.header.Get("Retry-After")
	if n, err := strconv.ParseFloat(value, 64); err == nil {
		return seconds(n)
	}
	if t, err := http.ParseTime(value); err == nil {
		return seconds(t.Sub(a.time).Seconds())
	}
	return 0
}

// seconds returns n whole seconds, rounded up, between none and maxRetryAfter.
func seconds(n float64) time.Duration {
	if !(n > 0) { // NaN too
		return 0
	}
	if n >= maxRetryAfter.Seconds() {
		return maxRetryAfter
	}
	d := time.Duration(n * float64(time.Second))
	return (d + time.Second - 1).Truncate(time.Second)
}
