package esignd

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
)

// typePrefix is before esignd's code in the type of an application error.
const typePrefix = "esignd."

// The types of the other application errors of this package.
const (
	// TypeTokenInPayload: what an activity or a caller wanted to write into history holds a token. It is not retried.
	TypeTokenInPayload = typePrefix + "token_in_payload"
	// TypeVendorAPI: the vendor's API answered with an error, see [CheckResponse].
	TypeVendorAPI = typePrefix + "vendor_api"
)

// ErrorType is the type of the application error with which an activity fails where esignd answered with code, such as
// "esignd.reauthorization_required".
func ErrorType(code error) string { return typePrefix + code.Error() }

// NeedsOwner reports whether an activity failed because the grant's owner has to connect the account again. A workflow that sees it
// tells the owner, by an activity with [ConnectURL], and waits in [AwaitGrant].
func NeedsOwner(err error) bool {
	var app *temporal.ApplicationError
	return errors.As(err, &app) && app.Type() == ErrorType(client.ReauthorizationRequired)
}

// applicationError returns err as an application error where it wraps an answer of esignd's. What the activity made an
// application error itself stays as it is.
func applicationError(err error) error {
	var app *temporal.ApplicationError
	var e *client.Error
	if err == nil || errors.As(err, &app) || !errors.As(err, &e) {
		return err
	}
	opts := temporal.ApplicationErrorOptions{NonRetryable: hopeless(e.Code)}
	// Where no daemon listens, the workflow's own policy backs off better than a second at a time.
	if e.Reason != client.ReasonNoResponders {
		opts.NextRetryDelay = e.RetryAfter
	}
	if e.Reason != "" {
		opts.Details = []any{e.Reason}
	}
	return temporal.NewApplicationErrorWithOptions(err.Error(), ErrorType(e.Code), opts)
}

// hopeless reports whether asking again brings the same answer, until somebody does something.
func hopeless(code core.Code) bool {
	switch code {
	case client.ReauthorizationRequired, client.InvalidRequest, client.NotFound, client.AccessDenied, client.Unsupported:
		return true
	}
	return false
}

const (
	leastPause = time.Second
	mostPause  = time.Hour
)

// CheckResponse returns nil for a 2xx of the vendor's API, and otherwise an application error of [TypeVendorAPI] to
// return from the activity. After 429 and 503 it is retried after as long as the answer says, in Retry-After or
// X-RateLimit-Reset, at most an hour; 401, 408 and other 5xx by the activity's policy; other 4xx are not retried. The body is not read.
func CheckResponse(r *http.Response) error {
	if r.StatusCode/100 == 2 {
		return nil
	}
	opts := temporal.ApplicationErrorOptions{Details: []any{r.StatusCode}}
	switch r.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		opts.NextRetryDelay = pause(r.Header, time.Now())
	case http.StatusUnauthorized, http.StatusRequestTimeout:
	default:
		opts.NonRetryable = r.StatusCode/100 != 5
	}
	return temporal.NewApplicationErrorWithOptions(fmt.Sprintf("the vendor's API answers with status %d", r.StatusCode), TypeVendorAPI, opts)
}

// pause is how long the vendor asks to be left alone, zero where it does not say.
func pause(h http.Header, now time.Time) time.Duration {
	after := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseInt(after, 10, 32); err == nil {
		return bounded(time.Duration(seconds) * time.Second)
	}
	if at, err := http.ParseTime(after); err == nil {
		return bounded(at.Sub(now))
	}
	if reset, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil {
		return bounded(time.Unix(reset, 0).Sub(now))
	}
	return 0
}

func bounded(d time.Duration) time.Duration { return min(max(d, leastPause), mostPause) }
