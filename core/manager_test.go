package core_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/esignd/esignd/core"
)

func TestTokenIsRefreshedAheadAndEventsTellIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.imported()
		if tok := w.token(); tok.Generation != 1 || tok.ExpiresIn < 59*time.Minute {
			t.Fatalf("first token: generation %d, expires in %s", tok.Generation, tok.ExpiresIn)
		}
		time.Sleep(55 * time.Minute)
		synctest.Wait()
		tok := w.token()
		if tok.Generation != 2 || w.vendor.presentedTwice() != 0 {
			t.Errorf("generation %d, refresh tokens presented twice %d; want 2 and 0", tok.Generation, w.vendor.presentedTwice())
		}
		want := []string{"token.issued imported", "token.expiring", "token.issued refreshed"}
		if diff := cmp.Diff(want, w.events.types()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTokenRefreshesOnceForFiftyCallersWhenExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lazy)
		defer w.close()
		w.imported()
		time.Sleep(2 * time.Hour)
		before := w.vendor.refreshes()
		w.vendor.set(func(v *vendor) {
			v.before = func(context.Context, core.TokenRequest) error { time.Sleep(time.Second); return nil }
		})
		impatient, giveUp := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer giveUp()
		var callers sync.WaitGroup
		callers.Go(func() {
			if _, err := w.m.Token(impatient, w.sel(), core.DefaultMinTTL); !errors.Is(err, core.TemporarilyUnavailable) {
				t.Errorf("the caller that gave up got %v", err)
			}
		})
		synctest.Wait() // the impatient caller's refresh is the one that all share
		for range 50 {
			callers.Go(func() {
				if tok, err := w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL); err != nil || tok.Generation != 2 {
					t.Errorf("generation %d, %v", tok.Generation, err)
				}
			})
		}
		callers.Wait()
		if n := w.vendor.refreshes() - before; n != 1 {
			t.Errorf("%d refreshes, want 1", n)
		}
	})
}

func TestInvalidGrantEndsTheGrantAndANewConsentRevivesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.imported()
		w.vendor.set(func(v *vendor) { clear(v.refresh) })
		if _, err := w.m.Refresh(t.Context(), w.sel()); err != nil {
			t.Fatalf("right after the import: %v, want the token that was imported", err)
		}
		time.Sleep(2 * time.Second)
		_, err := w.m.Refresh(t.Context(), w.sel())
		var e *core.Error
		if !errors.As(err, &e) || e.Code != core.ReauthorizationRequired || e.Reason != "invalid_grant" || e.ConnectURL == "" {
			t.Fatalf("got %v, want reauthorization_required with a connect URL", err)
		}
		visit, err := w.m.Visit(t.Context(), ticketOf(t, e.ConnectURL))
		if err != nil {
			t.Fatal(err)
		}
		reply, err := w.m.Callback(t.Context(), core.CallbackAnswer{Client: main, Cookie: visit.Cookie, Params: answerTo(t, visit.RedirectURL, "code")})
		if err != nil || reply.Status != "connected" {
			t.Fatalf("callback: %+v %v", reply, err)
		}
		if tok := w.token(); tok.Generation != 2 {
			t.Errorf("generation %d after a new consent, want 2: it never restarts", tok.Generation)
		}
		if got := w.events.types(); !slices.Contains(got, "grant.reauthorization_required invalid_grant") || !slices.Contains(got, "token.issued authorized") {
			t.Errorf("events %v", got)
		}
	})
}

func TestUnknownOutcomeOfARotatingVendorIsTriedOnceMoreAndOnlyAtTheEnd(t *testing.T) {
	for _, c := range []struct {
		name  string
		acted bool
		want  core.Code // of the answer after the last try; empty: a token
	}{
		{"the vendor had not acted", false, ""},
		{"the vendor had acted", true, core.ReauthorizationRequired},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				metrics := sdkmetric.NewManualReader()
				w := newWorld(t, func(c *core.Config) {
					c.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(metrics))
				})
				defer w.close()
				w.imported()
				lost := func(context.Context, core.TokenRequest) error {
					return &core.VendorError{Outcome: core.Unknown, Code: core.CodeTimeout}
				}
				w.vendor.set(func(v *vendor) {
					if v.before = lost; c.acted {
						v.before, v.after = nil, lost
					}
				})
				time.Sleep(52 * time.Minute)
				synctest.Wait()
				calls := w.vendor.refreshes()
				tok := w.token()
				if !slices.Contains(tok.Warnings, core.WarnOutcomeUnknown) || tok.Generation != 1 {
					t.Errorf("warnings %v, generation %d; want the live token with outcome_unknown", tok.Warnings, tok.Generation)
				}
				if n := w.vendor.refreshes(); n != 2 || calls != 2 { // the import's and the lost one
					t.Errorf("%d calls while the token lives, want 2", n)
				}
				w.vendor.set(func(v *vendor) { v.before, v.after = nil, nil })
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				_, err := w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL)
				if c.want == "" && err != nil || c.want != "" && !errors.Is(err, c.want) {
					t.Errorf("after the last try: %v, want %q", err, c.want)
				}
				if n := w.vendor.refreshes(); n != 3 {
					t.Errorf("%d calls in all, want 3: one last try", n)
				}
				if n := counted(t, metrics, "esignd.refresh.last_tries"); n != 1 {
					t.Errorf("%d last tries counted, want 1", n)
				}
			})
		})
	}
}

// counted returns the sum of a counter.
func counted(t *testing.T, r sdkmetric.Reader, name string) (n int64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if sum, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == name {
				for _, p := range sum.DataPoints {
					n += p.Value
				}
			}
		}
	}
	return n
}

func TestVendorFailureServesTheLiveTokenAndBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.imported()
		w.vendor.set(func(v *vendor) {
			v.before = func(context.Context, core.TokenRequest) error {
				return &core.VendorError{Outcome: core.Refused, Code: core.CodeUnavailable, Status: 503}
			}
		})
		time.Sleep(55 * time.Minute)
		synctest.Wait()
		if tok := w.token(); tok.Generation != 1 {
			t.Fatalf("generation %d", tok.Generation)
		}
		if n := w.vendor.refreshes(); n < 3 || n > 20 {
			t.Errorf("%d calls in an outage of minutes; want a few, with backoff", n)
		}
		time.Sleep(10 * time.Minute)
		_, err := w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL)
		var e *core.Error
		if !errors.As(err, &e) || e.Code != core.TemporarilyUnavailable || e.RetryAfter < time.Second {
			t.Errorf("after expiry: %v, want temporarily_unavailable with retry_after", err)
		}
		w.vendor.set(func(v *vendor) { v.before = nil })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if tok := w.token(); tok.Generation < 2 {
			t.Errorf("generation %d after the vendor is back", tok.Generation)
		}
	})
}

func TestRefusedClientIsSuspendedAndNoGrantIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.imported()
		w.vendor.set(func(v *vendor) {
			v.before = func(context.Context, core.TokenRequest) error {
				return &core.VendorError{Outcome: core.Refused, Code: core.CodeInvalidClient, Status: 401}
			}
		})
		time.Sleep(52 * time.Minute)
		tok, err := w.m.Token(t.Context(), w.sel(), 30*time.Minute)
		if err != nil || !slices.Contains(tok.Warnings, core.WarnClientSuspended) {
			t.Errorf("%v %v, want the live token with client_suspended", tok.Warnings, err)
		}
		time.Sleep(10 * time.Minute)
		if _, err := w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL); !errors.Is(err, core.InvalidClient) {
			t.Errorf("no live token: %v, want invalid_client", err)
		}
		w.vendor.set(func(v *vendor) { v.before = nil })
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if tok := w.token(); tok.Generation < 2 {
			t.Errorf("generation %d after the client works again", tok.Generation)
		}
		got := w.events.types()
		if !slices.Contains(got, "client.suspended invalid_client") || !slices.Contains(got, "client.resumed") {
			t.Errorf("events %v", got)
		}
	})
}

func TestRevokeEndsTheTokenAtTheVendorFirstAndTellsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.imported()
		down := true
		w.vendor.set(func(v *vendor) {
			v.onRevoke = func() error {
				if down {
					return &core.VendorError{Outcome: core.Unknown, Code: core.CodeTimeout}
				}
				return nil
			}
		})
		info, err := w.m.Revoke(t.Context(), w.sel(), "contract ended")
		if err != nil || *info.VendorRevoked || !slices.Contains(info.Warnings, core.WarnVendorRevocationPending) {
			t.Fatalf("%+v %v, want vendor_revocation_pending", info, err)
		}
		if _, err := w.m.Token(t.Context(), w.sel(), 0); !errors.Is(err, core.ReauthorizationRequired) {
			t.Errorf("token after revoke: %v", err)
		}
		w.vendor.set(func(*vendor) { down = false })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if info, err := w.m.Revoke(t.Context(), w.sel(), "again"); err != nil || !*info.VendorRevoked {
			t.Errorf("revoked again: %+v %v, want the same answer", info, err)
		}
		want := []string{"token.issued imported", "token.revoked contract ended"}
		if diff := cmp.Diff(want, w.events.types()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestForgottenGrantLeavesNothingButItsGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.imported()
		if _, err := w.m.Forget(t.Context(), w.sel()); err != nil {
			t.Fatal(err)
		}
		if _, err := w.m.Grant(t.Context(), w.sel()); !errors.Is(err, core.NotFound) {
			t.Errorf("grant.get after forget: %v", err)
		}
		w.imported()
		if tok := w.token(); tok.Generation != 2 {
			t.Errorf("generation %d after forget and import, want 2", tok.Generation)
		}
	})
}

func TestClientCredentialsIssueOnFirstAskAndAfterRevoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		sel := core.Selector{Tenant: tenant, Client: robot}
		for want := uint64(1); want <= 2; want++ {
			tok, err := w.m.Token(t.Context(), sel, core.DefaultMinTTL)
			if err != nil || tok.Generation != want {
				t.Fatalf("generation %d, %v; want %d", tok.Generation, err, want)
			}
			if _, err := w.m.Revoke(t.Context(), sel, ""); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestReportRefreshesOnceAndAStaleReportGetsTheCurrentToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.imported()
		time.Sleep(5 * time.Second)
		for range 3 {
			tok, err := w.m.Report(t.Context(), w.sel(), 1)
			if err != nil || tok.Generation != 2 {
				t.Fatalf("generation %d, %v", tok.Generation, err)
			}
		}
		if n := w.vendor.refreshes(); n != 2 {
			t.Errorf("%d refreshes, want the import's and one", n)
		}
		if _, err := w.m.Report(t.Context(), w.sel(), 9); !errors.Is(err, core.InvalidRequest) {
			t.Errorf("a generation that was never issued: %v", err)
		}
		tok, err := w.m.Refresh(t.Context(), w.sel())
		if err != nil || !slices.Contains(tok.Warnings, core.WarnRefreshedRecently) {
			t.Errorf("%v %v, want refreshed_recently", tok.Warnings, err)
		}
	})
}
