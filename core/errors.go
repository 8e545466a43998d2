package core

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Code is the error code of an answer. Codes are part of the contract with other programs.
type Code string

// The codes. Each is also an error, so that errors.Is(err, core.NotFound) works on what a Manager returns.
const (
	InvalidRequest          Code = "invalid_request"
	NotFound                Code = "not_found"
	AccessDenied            Code = "access_denied"
	ReauthorizationRequired Code = "reauthorization_required"
	TemporarilyUnavailable  Code = "temporarily_unavailable"
	InvalidClient           Code = "invalid_client"
	Unsupported             Code = "unsupported"
	ServerError             Code = "server_error"
)

// Codes returns every code.
func Codes() []Code {
	return []Code{
		InvalidRequest, NotFound, AccessDenied, ReauthorizationRequired, TemporarilyUnavailable, InvalidClient, Unsupported, ServerError,
	}
}

func (c Code) Error() string { return string(c) }

// Cause is why there is no token for now, where the Code alone does not tell. Each is an error: errors.Is(err,
// core.ErrRateLimited) looks at Code and Reason of the Error.
type Cause string

// The causes.
const (
	// ErrRateLimited: the vendor takes no more requests for now (rate_limited), or esignd takes no more from this caller
	// (quota_exceeded). The Error's RetryAfter says for how long.
	ErrRateLimited Cause = "rate limited"
	// ErrVendorUnavailable: the vendor, or the way to it, fails. The Reason is one of [VendorCodes].
	ErrVendorUnavailable Cause = "vendor unavailable"
	// ErrClientSuspended: the vendor refuses the credentials of the client. The operator has to mend them.
	ErrClientSuspended Cause = "client suspended"
)

func (c Cause) Error() string { return string(c) }

// ReasonQuota is the Reason of a TemporarilyUnavailable to a caller who asks for more than its share.
const ReasonQuota = "quota_exceeded"

// Error is an answer that is not a token: every method of a Manager that fails returns one.
type Error struct {
	Code        Code
	Description string // a sentence: what was wrong, where, what to do; never a secret, never a vendor's text
	Reason      string // machine-readable detail, such as a grant's reason; may be empty
	RetryAfter  time.Duration
	ConnectURL  string // where the resource owner can authorize again
	Field       string // the request's field at fault, with InvalidRequest
	err         error
}

// Errorf returns an Error whose Description is the formatted text; a %w in it can be unwrapped.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Description: err.Error(), err: errors.Unwrap(err)}
}

// FieldErrorf is Errorf with InvalidRequest and the name of the request's field that was wrong.
func FieldErrorf(field, format string, args ...any) *Error {
	e := Errorf(InvalidRequest, format, args...)
	e.Field, e.Description = field, field+": "+e.Description
	return e
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Description }

// Is matches the Error's Code, and the Cause that Code and Reason tell.
func (e *Error) Is(target error) bool {
	switch t := target.(type) {
	case Code:
		return t == e.Code
	case Cause:
		return t != "" && t == e.cause()
	}
	return false
}

// cause is empty where there is none.
func (e *Error) cause() Cause {
	switch {
	case e.Code == InvalidClient:
		return ErrClientSuspended
	case e.Code != TemporarilyUnavailable:
		return ""
	case e.Reason == CodeRateLimited, e.Reason == ReasonQuota:
		return ErrRateLimited
	case slices.Contains(VendorCodes(), e.Reason):
		return ErrVendorUnavailable
	}
	return ""
}

// Unwrap returns what the error wraps.
func (e *Error) Unwrap() error { return e.err }

// AsError returns err as an *Error: itself where it is one, else a ServerError that wraps it and does not show it,
// since the text of a foreign error is for the log and not for the caller.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: ServerError, Description: "esignd could not do this; its log says why", err: err}
}

// Outcome is what is known of the fate of a request to a vendor.
type Outcome int

const (
	// Unknown says that something was sent and no complete refusal came back. The vendor may have acted.
	Unknown Outcome = iota
	// NotSent says that not a byte of the request reached the vendor.
	NotSent
	// Refused says that the vendor answered completely and did not act: a 4xx, 429 included, or a 503.
	Refused
)

func (o Outcome) String() string {
	switch o {
	case NotSent:
		return "not_sent"
	case Refused:
		return "refused"
	default:
		return "unknown"
	}
}

// VendorError is why a call of an adapter failed. It says nothing in the vendor's words.
type VendorError struct {
	Outcome Outcome
	// Code is one of [VendorCodes]: an OAuth error code (RFC 6749 §5.2), or one of ours where the vendor gave none.
	Code string
	// Status is the HTTP status, 0 where there was no answer.
	Status int
	// RetryAfter is how long the vendor asked us to wait, 0 where it did not.
	RetryAfter time.Duration
	// Detail is a sentence of ours for the operator.
	Detail string
}

// Codes of a VendorError. The first group are OAuth's (RFC 6749 §4.1.2.1 and §5.2), the second ours.
const (
	CodeInvalidGrant         = "invalid_grant"
	CodeInvalidClient        = "invalid_client"
	CodeUnauthorizedClient   = "unauthorized_client"
	CodeInvalidRequest       = "invalid_request"
	CodeInvalidScope         = "invalid_scope"
	CodeUnsupportedGrantType = "unsupported_grant_type"
	CodeAccessDenied         = "access_denied"

	CodeRateLimited       = "rate_limited"       // 429
	CodeUnavailable       = "vendor_unavailable" // 503
	CodeHTTPError         = "http_error"         // another status, with no OAuth code in a readable body
	CodeRedirected        = "redirected"         // 3xx; esignd does not follow
	CodeMalformedResponse = "malformed_response" // a 2xx that cannot be read, or with no access token
	CodeNetwork           = "network"            // dial, TLS or connection failure
	CodeTimeout           = "timeout"            // no complete answer in time
	CodeHostRefused       = "host_refused"       // a host that esignd does not call
	CodePlugin            = "plugin_unavailable" // the adapter's process is down, or went down in the call
	CodeBreakerOpen       = "breaker_open"       // too many failures; the vendor is being left alone
	CodeInternal          = "internal"           // the adapter itself failed
)

// VendorCodes are the values that VendorError.Code takes. Whoever reads a VendorError from another process replaces
// a code that is not among them by CodeInternal.
func VendorCodes() []string {
	return []string{
		CodeInvalidGrant, CodeInvalidClient, CodeUnauthorizedClient, CodeInvalidRequest, CodeInvalidScope,
		CodeUnsupportedGrantType, CodeAccessDenied, CodeRateLimited, CodeUnavailable, CodeHTTPError, CodeRedirected,
		CodeMalformedResponse, CodeNetwork, CodeTimeout, CodeHostRefused, CodePlugin, CodeBreakerOpen, CodeInternal,
	}
}

func (e *VendorError) Error() string {
	s := e.Code
	if e.Status != 0 {
		s = fmt.Sprintf("%s (HTTP %d)", s, e.Status)
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s + " [" + e.Outcome.String() + "]"
}

// AsVendorError returns err as a *VendorError. An error of another type is an internal failure of the adapter whose
// outcome is unknown; its text is dropped, since nothing is known of what it holds.
func AsVendorError(err error) *VendorError {
	var e *VendorError
	if errors.As(err, &e) {
		return e
	}
	return &VendorError{Outcome: Unknown, Code: CodeInternal, Detail: "the adapter failed without saying how"}
}
