package oauth

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
)

// maxBody is how much of an answer is read. A token answer has some kilobytes.
const maxBody = 1 << 20

// answer is what a vendor answered, as far as it could be read.
type answer struct {
	host    string // whom we asked
	status  int
	header  http.Header
	members members // of the body, where it is a JSON object
	time    time.Time
	// incomplete is a code where the answer was not read to its end.
	incomplete string
}

func readAnswer(res *http.Response, host string) answer {
	a := answer{host: host, status: res.StatusCode, header: res.Header, time: answerTime(res.Header)}
	if res.StatusCode == http.StatusSwitchingProtocols {
		// This "body" is the connection itself, which no context closes.
		_ = res.Body.Close()
		return a
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	// The read is over, well or badly: what Close could say of the connection changes nothing.
	_ = res.Body.Close()
	if a.incomplete = incompleteCode(body, err); a.incomplete != "" {
		return a
	}
	encoding := res.Header.Get("Content-Encoding")
	if encoding == "" || strings.EqualFold(encoding, "identity") {
		a.members = parseMembers(body)
	}
	if undelimited(res) && a.members == nil {
		// Only the end of the connection ended this body, and that is how a cut looks as well.
		a.incomplete = core.CodeNetwork
	}
	return a
}

func incompleteCode(body []byte, err error) string {
	var send *sendError
	switch {
	case errors.As(err, &send):
		return send.code
	case err != nil:
		return core.CodeNetwork
	case len(body) > maxBody:
		return core.CodeMalformedResponse
	default:
		return ""
	}
}

// undelimited reports whether the body has neither a length nor chunks (RFC 9112 §6.3, the last case).
func undelimited(res *http.Response) bool {
	return res.ContentLength < 0 && !slices.Contains(res.TransferEncoding, "chunked")
}

// answerTime is the vendor's clock as the answer tells it, so that the vendor's points in time are set against its
// own clock and not against ours.
func answerTime(h http.Header) time.Time {
	if t, err := http.ParseTime(h.Get("Date")); err == nil {
		return t
	}
	return time.Now()
}

// ok reports whether the status is a 2xx.
func (a answer) ok() bool { return a.status/100 == 2 }

// refused reports whether a is a complete refusal: the vendor did not act.
func (a answer) refused() bool {
	return a.incomplete == "" && (a.status/100 == 4 || a.status == http.StatusServiceUnavailable)
}

// vendorCode is the error code of the body in lower case, "" where it has none. It is the vendor's text.
func (a answer) vendorCode() string { return a.members.errorCode() }

// failure is the error that a stands for; a 2xx reaches it where the body is not what it should be.
func (a answer) failure() *core.VendorError {
	e := &core.VendorError{
		Outcome:    core.Unknown,
		Code:       a.code(),
		Status:     a.status,
		RetryAfter: a.retryAfter(),
		Detail:     "answer of " + a.host,
	}
	if a.refused() {
		e.Outcome = core.Refused
	}
	if a.incomplete != "" {
		e.Detail += " was not read to its end"
	}
	return e
}

// code is one of core.VendorCodes: what the vendor says itself counts only in a complete answer, and only where it
// says it in the words of OAuth.
func (a answer) code() string {
	switch {
	case a.incomplete != "":
		return a.incomplete
	case a.status/100 == 3:
		return core.CodeRedirected
	case a.status == http.StatusTooManyRequests:
		return core.CodeRateLimited
	case a.status == http.StatusServiceUnavailable:
		return core.CodeUnavailable
	case a.status/100 == 4 && oauthCode(a.vendorCode()):
		return a.vendorCode()
	case a.ok() && oauthCode(a.vendorCode()):
		return a.vendorCode()
	case a.ok():
		return core.CodeMalformedResponse
	default:
		return core.CodeHTTPError
	}
}

// oauthCode reports whether code is an error code of RFC 6749 §5.2, or access_denied. Our own codes are not: a vendor
// does not get to say that it is our plugin that failed.
func oauthCode(code string) bool {
	switch code {
	case core.CodeInvalidGrant, core.CodeInvalidClient, core.CodeUnauthorizedClient, core.CodeInvalidRequest,
		core.CodeInvalidScope, core.CodeUnsupportedGrantType, core.CodeAccessDenied:
		return true
	}
	return false
}
