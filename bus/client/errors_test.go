package client_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
)

// What the daemon answers is told apart as its package doc says.
func TestErrorsTellWhatToDo(t *testing.T) {
	t.Parallel()
	app := client.Selector{Client: "app"}
	for name, tc := range map[string]struct {
		vendor error
		quota  bus.Quota
		sel    client.Selector
		is     []error
		isNot  []error
		check  func(*client.Error) bool
	}{
		"the owner must authorize": {
			sel: alice, is: []error{client.ReauthorizationRequired},
			isNot: []error{client.TemporarilyUnavailable, client.ErrRateLimited, client.ErrVendorUnavailable, client.ErrClientSuspended},
			check: func(e *client.Error) bool {
				return strings.HasPrefix(e.ConnectURL, "https://esignd.example/connect/") && e.Reason == string(core.Pending)
			},
		},
		"the vendor takes no more": {
			vendor: &core.VendorError{Outcome: core.Refused, Code: core.CodeRateLimited, Status: 429, RetryAfter: 90 * time.Second},
			sel:    app, is: []error{client.ErrRateLimited, client.TemporarilyUnavailable},
			isNot: []error{client.ErrVendorUnavailable, client.ErrClientSuspended},
			check: func(e *client.Error) bool { return e.RetryAfter >= 60*time.Second && e.RetryAfter <= 3*time.Minute },
		},
		"esignd takes no more of this caller": {
			quota: bus.Quota{PerSecond: 1, Concurrent: 1},
			sel:   client.Selector{Client: "main", Account: "nobody"}, is: []error{client.ErrRateLimited, client.TemporarilyUnavailable},
			isNot: []error{client.ErrVendorUnavailable},
			check: func(e *client.Error) bool { return e.Reason == "quota_exceeded" && e.RetryAfter == time.Second },
		},
		"the vendor fails": {
			vendor: &core.VendorError{Outcome: core.Refused, Code: core.CodeUnavailable, Status: 503},
			sel:    app, is: []error{client.ErrVendorUnavailable, client.TemporarilyUnavailable},
			isNot: []error{client.ErrRateLimited, client.ErrClientSuspended},
			check: func(e *client.Error) bool { return e.RetryAfter >= time.Second && e.Reason == core.CodeUnavailable },
		},
		"the way to the vendor fails": {
			vendor: &core.VendorError{Outcome: core.NotSent, Code: core.CodeNetwork},
			sel:    app, is: []error{client.ErrVendorUnavailable, client.TemporarilyUnavailable},
			isNot: []error{client.ErrRateLimited, client.ErrClientSuspended},
			check: func(e *client.Error) bool { return e.RetryAfter >= time.Second },
		},
		"the vendor refuses the client": {
			vendor: &core.VendorError{Outcome: core.Refused, Code: core.CodeInvalidClient, Status: 401},
			sel:    app, is: []error{client.ErrClientSuspended, client.InvalidClient},
			isNot: []error{client.TemporarilyUnavailable, client.ErrVendorUnavailable, client.ErrRateLimited},
			check: func(e *client.Error) bool { return e.RetryAfter >= time.Second },
		},
		"nobody knows the grant": {
			sel: client.Selector{Client: "main", Account: "nobody"}, is: []error{client.NotFound},
			isNot: []error{client.ErrVendorUnavailable, client.ErrRateLimited, client.ErrClientSuspended, core.Cause("")},
			check: func(*client.Error) bool { return true },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startEsignd(t, func(e *esignd) { e.quota = tc.quota })
			e.vendor.failWith(tc.vendor)
			c := e.client(t)
			if _, err := e.manager.Authorize(testContext(t), core.AuthorizeRequest{Tenant: "default", Client: "main", Account: "alice"}); err != nil {
				t.Fatal(err)
			}
			var err error
			until(t, "the answer comes", func() bool { _, err = c.Token(testContext(t), tc.sel); return errors.Is(err, tc.is[0]) })
			var answer *client.Error
			if !errors.As(err, &answer) || !tc.check(answer) {
				t.Errorf("got %+v", answer)
			}
			wantIs(t, err, true, tc.is)
			wantIs(t, err, false, tc.isNot)
		})
	}
}

// wantIs checks that err is each of the others, or is none of them.
func wantIs(t *testing.T, err error, want bool, others []error) {
	t.Helper()
	for _, other := range others {
		if is := errors.Is(err, other); is != want {
			t.Errorf("%v is %v: %v, want %v", err, other, is, want)
		}
	}
}
