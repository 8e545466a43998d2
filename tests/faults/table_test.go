package faults

import (
	"slices"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/sdk/plugintest/faultproxy"
)

// fate is what a row says of the request.
type fate string

const (
	notSent fate = "not_sent"
	refused fate = "refused"
	unknown fate = "unknown"
	issued  fate = "issued" // no failure: a token set came
)

// row says what is to come of one fault.
type row struct {
	fault  string // of faultproxy.Faults
	vendor string // whom the row is of; empty: all vendors that have no row of their own for this fault
	fate   fate
	// code and status are what the adapter says of a failure, wait how long the vendor wants to be left alone.
	code   string
	status int
	wait   time.Duration
	// scope is whose fault it is; consequences says what follows from that.
	scope scope
	// lifetime is that of an issued token, 0: the vendor's default.
	lifetime time.Duration
}

// table is the matrix. Each fault of faultproxy has a row, and further ones for vendors that differ.
func table() []row {
	const minute = time.Minute
	return []row{
		{fault: "400 invalid_grant", fate: refused, code: core.CodeInvalidGrant, status: 400, scope: ofGrant},
		{fault: "400 invalid_request", fate: refused, code: core.CodeInvalidRequest, status: 400, scope: unproven},
		{fault: "400 unknown code", fate: refused, code: core.CodeHTTPError, status: 400, scope: unproven},
		{fault: "400 no code", fate: refused, code: core.CodeHTTPError, status: 400, scope: unproven},
		{fault: "400 HTML", fate: refused, code: core.CodeHTTPError, status: 400, scope: unproven},
		{fault: "400 invalid_client", fate: refused, code: core.CodeInvalidClient, status: 400, scope: ofClient},
		{fault: "401 invalid_client", fate: refused, code: core.CodeInvalidClient, status: 401, scope: ofClient},
		{fault: "401 no code", fate: refused, code: core.CodeHTTPError, status: 401, scope: unproven},
		{fault: "403 unauthorized_client", fate: refused, code: core.CodeUnauthorizedClient, status: 403, scope: ofClient},
		{fault: "403 no code", fate: refused, code: core.CodeHTTPError, status: 403, scope: unproven},

		{fault: "429 no wait", fate: refused, code: core.CodeRateLimited, status: 429, scope: ofVendor},
		{fault: "429 Retry-After seconds", fate: refused, code: core.CodeRateLimited, status: 429, wait: 90 * time.Second, scope: ofVendor},
		{fault: "429 Retry-After date", fate: refused, code: core.CodeRateLimited, status: 429, wait: 90 * time.Second, scope: ofVendor},
		{fault: "429 retryAfter", fate: refused, code: core.CodeRateLimited, status: 429, wait: 90 * time.Second, scope: ofVendor},
		{fault: "429 Retry-After nonsense", fate: refused, code: core.CodeRateLimited, status: 429, scope: ofVendor},
		{fault: "429 Retry-After a year", fate: refused, code: core.CodeRateLimited, status: 429, wait: 24 * time.Hour, scope: ofVendor},

		{fault: "500", fate: unknown, code: core.CodeHTTPError, status: 500, scope: ofVendor},
		{fault: "500 invalid_grant", fate: unknown, code: core.CodeHTTPError, status: 500, scope: ofVendor},
		{fault: "502", fate: unknown, code: core.CodeHTTPError, status: 502, scope: ofVendor},
		{fault: "503", fate: refused, code: core.CodeUnavailable, status: 503, scope: ofVendor},
		{fault: "503 Retry-After", fate: refused, code: core.CodeUnavailable, status: 503, wait: 90 * time.Second, scope: ofVendor},
		{fault: "504", fate: unknown, code: core.CodeHTTPError, status: 504, scope: ofVendor},

		{fault: "slow headers", fate: unknown, code: core.CodeTimeout, scope: ofVendor},
		{fault: "a byte a second", fate: unknown, code: core.CodeTimeout, status: 200, scope: ofVendor},
		{fault: "hang", fate: unknown, code: core.CodeTimeout, scope: ofVendor},
		{fault: "hang in the body", fate: unknown, code: core.CodeTimeout, status: 200, scope: ofVendor},
		{fault: "reset", fate: unknown, code: core.CodeNetwork, scope: ofVendor},
		{fault: "reset in the body", fate: unknown, code: core.CodeNetwork, status: 200, scope: ofVendor},
		{fault: "closed", fate: unknown, code: core.CodeNetwork, scope: ofVendor},
		{fault: "not HTTP", fate: unknown, code: core.CodeNetwork, scope: ofVendor},
		{fault: "headers without end", fate: unknown, code: core.CodeNetwork, scope: ofVendor},
		{fault: "refused connection", fate: notSent, code: core.CodeNetwork, scope: ofVendor},
		{fault: "TLS untrusted", fate: notSent, code: core.CodeNetwork, scope: ofVendor},
		{fault: "TLS not spoken", fate: notSent, code: core.CodeNetwork, scope: ofVendor},

		{fault: "truncated JSON", fate: unknown, code: core.CodeNetwork, status: 200, scope: ofVendor},
		{fault: "truncated JSON, right length", fate: unknown, code: core.CodeMalformedResponse, status: 200, scope: ofVendor},
		{fault: "HTML in a 200", fate: unknown, code: core.CodeMalformedResponse, status: 200, scope: ofVendor},
		{fault: "empty 200", fate: unknown, code: core.CodeMalformedResponse, status: 200, scope: ofVendor},
		{fault: "empty object", fate: unknown, code: core.CodeMalformedResponse, status: 200, scope: ofVendor},
		{fault: "204", fate: unknown, code: core.CodeMalformedResponse, status: 204, scope: ofVendor},
		{fault: "64 MiB body", fate: unknown, code: core.CodeMalformedResponse, status: 200, scope: ofVendor},
		{fault: "compressed bomb", fate: unknown, code: core.CodeMalformedResponse, status: 200, scope: ofVendor},
		{fault: "error in a 200", fate: unknown, code: core.CodeInvalidGrant, status: 200, scope: ofVendor},
		{fault: "business error in a 200", fate: unknown, code: core.CodeMalformedResponse, status: 200, scope: ofVendor},
		{fault: "error beside a token", fate: unknown, code: core.CodeInvalidGrant, status: 200, scope: ofVendor},
		{fault: "UTF-16", fate: unknown, code: core.CodeMalformedResponse, status: 200, scope: ofVendor},

		{fault: "302 elsewhere", fate: unknown, code: core.CodeRedirected, status: 302, scope: ofVendor},
		{fault: "303 elsewhere", fate: unknown, code: core.CodeRedirected, status: 303, scope: ofVendor},
		{fault: "307 elsewhere", fate: unknown, code: core.CodeRedirected, status: 307, scope: ofVendor},
		{fault: "308 elsewhere", fate: unknown, code: core.CodeRedirected, status: 308, scope: ofVendor},

		{fault: "expires_in missing", fate: issued},
		{fault: "expires_in zero", fate: issued},
		{fault: "expires_in negative", fate: issued},
		// eSignGlobal says what is left of a token that it may have given out before: none.
		{fault: "expires_in zero", vendor: "esignglobal", fate: issued, lifetime: time.Second, scope: ofTooShort},
		{fault: "expires_in negative", vendor: "esignglobal", fate: issued, lifetime: time.Second, scope: ofTooShort},
		{fault: "expires_in string", fate: issued, lifetime: 30 * minute},
		{fault: "expires_in word", fate: issued},
		{fault: "expires_in huge", fate: issued},
		{fault: "no refresh_token", fate: issued},
		{fault: "scope a sentence", fate: issued},
		{fault: "duplicate keys", fate: issued},
		{fault: "Latin-1", fate: issued},
		{fault: "no content type", fate: issued},
	}
}

// scope is whose fault a failure is.
type scope string

const (
	none       scope = ""
	ofVendor   scope = "vendor"
	ofClient   scope = "client"
	ofGrant    scope = "grant"
	unproven   scope = "unproven"
	ofTooShort scope = "too short" // a token that is about to end: of no use, and no failure
)

// consequence is what follows from a scope.
type consequence struct {
	// live is the error code that a caller gets while the access token lives; empty: the token, with warning. spent is
	// the same where no access token lives. reason is that of the error; empty: the failure's code.
	live, spent core.Code
	warning     core.Warning
	// exchange is the error code for a code that could not be traded.
	exchange core.Code
	reason   string
	// state is the grant's afterwards, and event what is told of it.
	state core.State
	event core.EventType
	// first and most are the bounds of the wait before the next attempt.
	first, most time.Duration
	// binds says that the other grants of the client wait too, as they do where the vendor asked for a pause.
	binds bool
}

// consequences are those of each scope, for a first failure.
func consequences() map[scope]consequence {
	return map[scope]consequence{
		none: {state: core.Active, event: core.TokenIssued},
		ofVendor: {
			spent: core.TemporarilyUnavailable, warning: core.WarnVendorUnavailable, exchange: core.TemporarilyUnavailable,
			state: core.Active, event: core.TokenRefreshFailed, first: time.Second, most: 2 * time.Second,
		},
		unproven: {
			spent: core.TemporarilyUnavailable, warning: core.WarnVendorUnavailable, exchange: core.InvalidRequest,
			state: core.Active, event: core.TokenRefreshFailed, first: 5 * time.Second, most: 10 * time.Second,
		},
		ofClient: {
			spent: core.InvalidClient, warning: core.WarnClientSuspended, exchange: core.InvalidClient,
			state: core.Active, event: core.TokenRefreshFailed, first: 15 * time.Second, most: 30 * time.Second, binds: true,
		},
		ofGrant: {
			live: core.ReauthorizationRequired, spent: core.ReauthorizationRequired, reason: core.ReasonInvalidGrant,
			exchange: core.InvalidRequest, state: core.NeedsReauthorization, event: core.GrantReauthorizationRequired,
		},
		ofTooShort: {
			live: core.TemporarilyUnavailable, spent: core.TemporarilyUnavailable, reason: core.CodeUnavailable,
			state: core.Active, event: core.TokenIssued,
		},
	}
}

// rowFor returns the row of a fault for a vendor.
func rowFor(t *testing.T, fault, vendor string) row {
	t.Helper()
	rows := table()
	for _, of := range []string{vendor, ""} {
		i := slices.IndexFunc(rows, func(r row) bool { return r.fault == fault && r.vendor == of })
		if i >= 0 {
			return rows[i]
		}
	}
	t.Fatalf("the table has no row for %q at %s", fault, vendor)
	return row{}
}

func TestTableHasEachFaultAndNoOther(t *testing.T) {
	for _, f := range faultproxy.Faults() {
		if !slices.ContainsFunc(table(), func(r row) bool { return r.fault == f.Name && r.vendor == "" }) {
			t.Errorf("no row for %q", f.Name)
		}
	}
	seen := map[[2]string]bool{}
	for _, r := range table() {
		if _, ok := faultproxy.ByName(r.fault); !ok {
			t.Errorf("there is no fault %q", r.fault)
		}
		if !slices.ContainsFunc(vendors(), func(v vendor) bool { return r.vendor == "" || r.vendor == v.name }) {
			t.Errorf("%q: there is no vendor %q", r.fault, r.vendor)
		}
		if seen[[2]string{r.fault, r.vendor}] {
			t.Errorf("two rows for %q at %q", r.fault, r.vendor)
		}
		seen[[2]string{r.fault, r.vendor}] = true
		if (r.fate == issued) != (r.code == "") || (r.fate == issued) != (r.scope == none || r.scope == ofTooShort) {
			t.Errorf("%q says that it fails and that it does not", r.fault)
		}
	}
}
