package esignd

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
)

func TestAnswersOfEsigndBecomeApplicationErrors(t *testing.T) {
	retried := map[core.Code]bool{
		client.TemporarilyUnavailable: true, client.InvalidClient: true, client.ServerError: true,
		client.ReauthorizationRequired: false, client.NotFound: false, client.InvalidRequest: false, client.AccessDenied: false, client.Unsupported: false,
	}
	for _, code := range core.Codes() {
		want, known := retried[code]
		if !known {
			t.Errorf("whether %s is retried is not said", code)
		}
		err := applicationError(fmt.Errorf("send: %w", &client.Error{Code: code, Description: "why", ConnectURL: "https://esignd/connect/4711", RetryAfter: time.Minute}))
		var app *temporal.ApplicationError
		if !errors.As(err, &app) || app.NonRetryable() == want || app.Type() != "esignd."+string(code) || app.NextRetryDelay() != time.Minute {
			t.Errorf("%s became %#v", code, err)
		}
		if NeedsOwner(err) != (code == client.ReauthorizationRequired) {
			t.Errorf("%s needs the owner: %v", code, NeedsOwner(err))
		}
		if got := err.Error(); got != fmt.Sprintf("send: %s: why (type: esignd.%s, retryable: %v)", code, code, want) {
			t.Errorf("%s says %q", code, got)
		}
	}
}

func TestOtherErrorsStayAsTheyAre(t *testing.T) {
	own := temporal.NewApplicationErrorWithCause("mine", "mine", &client.Error{Code: client.NotFound})
	for _, err := range []error{nil, errors.New("x"), own, activity.ErrResultPending} {
		if got := applicationError(err); got != err { //nolint:errorlint // the same error, not one like it
			t.Errorf("%v became %v", err, got)
		}
	}
	var app *temporal.ApplicationError
	absent := applicationError(&client.Error{Code: client.TemporarilyUnavailable, Reason: client.ReasonNoResponders, RetryAfter: time.Second})
	if !errors.As(absent, &app) || app.NextRetryDelay() != 0 {
		t.Errorf("where no daemon listens, the next try is after %v", app.NextRetryDelay())
	}
}

func TestAnswersOfTheVendorsAPI(t *testing.T) {
	soon := time.Now().Add(30 * time.Second)
	for _, c := range []struct {
		status      int
		header      http.Header
		final       bool
		least, most time.Duration
	}{
		{status: 400, final: true}, {status: 404, final: true}, {status: 302, final: true}, {status: 401}, {status: 408}, {status: 500}, {status: 503},
		{status: 429},
		{status: 429, header: http.Header{"Retry-After": {"7"}}, least: 7 * time.Second, most: 7 * time.Second},
		{status: 429, header: http.Header{"Retry-After": {"-7"}}, least: leastPause, most: leastPause},
		{status: 503, header: http.Header{"Retry-After": {"86400"}}, least: mostPause, most: mostPause},
		{status: 429, header: http.Header{"Retry-After": {soon.UTC().Format(http.TimeFormat)}}, least: leastPause, most: 30 * time.Second},
		{status: 429, header: http.Header{"X-Ratelimit-Reset": {fmt.Sprint(soon.Unix())}}, least: leastPause, most: 30 * time.Second},
		{status: 429, header: http.Header{"Retry-After": {"soon"}, "X-Ratelimit-Reset": {"later"}}},
		{status: 500, header: http.Header{"Retry-After": {"7"}}},
	} {
		err := CheckResponse(&http.Response{StatusCode: c.status, Header: c.header})
		var app *temporal.ApplicationError
		if !errors.As(err, &app) || app.Type() != TypeVendorAPI || app.NonRetryable() != c.final {
			t.Errorf("%d became %#v", c.status, err)
			continue
		}
		if d := app.NextRetryDelay(); d < c.least || d > c.most {
			t.Errorf("%d with %v is retried after %v", c.status, c.header, d)
		}
	}
	if err := CheckResponse(&http.Response{StatusCode: http.StatusNoContent}); err != nil {
		t.Errorf("204 became %v", err)
	}
}

func TestGrantReferenceIsAGrantsID(t *testing.T) {
	if err := GrantRef(core.GrantID("default", "adobe-main", "jane@example.com")).Validate(); err != nil {
		t.Error(err)
	}
	for _, bad := range []GrantRef{"", "jane@example.com", "g_", "g_123", GrantRef("g_" + string(make([]byte, 40)))} {
		if err := bad.Validate(); err == nil {
			t.Errorf("%q is a grant reference", bad)
		}
	}
}
