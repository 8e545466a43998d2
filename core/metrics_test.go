package core_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/esignd/esignd/core"
)

// measured is a world whose metrics are read.
func measured(t *testing.T, options ...func(*core.Config)) (*world, sdkmetric.Reader) {
	reader := sdkmetric.NewManualReader()
	options = append(options, func(c *core.Config) { c.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)) })
	return newWorld(t, options...), reader
}

// values returns the sums of a metric, or the counts of a histogram, by the values of its attributes, in the order of
// their keys. What is zero is left out.
func values(t *testing.T, r sdkmetric.Reader, name string) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	add := func(set attribute.Set, n int64) {
		key := ""
		for _, a := range set.ToSlice() {
			key += a.Value.String() + " "
		}
		if n != 0 {
			got[key[:max(0, len(key)-1)]] = n
		}
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != name {
				continue
			}
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, int64(p.Count))
				}
			default:
				t.Fatalf("%s is %T", name, data)
			}
		}
	}
	return got
}

func wantValues(t *testing.T, r sdkmetric.Reader, name string, want map[string]int64) {
	t.Helper()
	if diff := cmp.Diff(want, values(t, r, name)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestMetricsFollowAGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := measured(t)
		defer w.close()
		w.imported()
		wantValues(t, r, "esignd.grant.count", map[string]int64{"acme-main active acme": 1})
		wantValues(t, r, "esignd.token.issued", map[string]int64{"acme-main imported acme": 1})
		time.Sleep(55 * time.Minute)
		synctest.Wait()
		w.token()
		wantValues(t, r, "esignd.token.issued", map[string]int64{"acme-main imported acme": 1, "acme-main refreshed acme": 1})
		wantValues(t, r, "esignd.refresh.duration", map[string]int64{"acme": 1})
		wantValues(t, r, "esignd.refresh.phase.duration", map[string]int64{
			"queue acme": 1, "claim acme": 1, "plugin acme": 1, "commit acme": 1,
		})
		wantValues(t, r, "esignd.claim.attempts", map[string]int64{"won acme-main acme": 1})
		wantValues(t, r, "esignd.event.published", map[string]int64{"token.issued acme": 2, "token.expiring acme": 1})
		wantValues(t, r, "esignd.event.owed", map[string]int64{})
		wantValues(t, r, "esignd.token.remaining", map[string]int64{"acme-main acme": 1})
		if lag := values(t, r, "esignd.timer.lag"); lag["acme"] == 0 {
			t.Errorf("no timer was measured: %v", lag)
		}
		if _, err := w.m.Revoke(t.Context(), w.sel(), ""); err != nil {
			t.Fatal(err)
		}
		wantValues(t, r, "esignd.grant.count", map[string]int64{"acme-main revoked acme": 1})
		if _, err := w.m.Forget(t.Context(), w.sel()); err != nil {
			t.Fatal(err)
		}
		wantValues(t, r, "esignd.grant.count", map[string]int64{})
	})
}

func TestMetricsOfTheLastMomentAreThereAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := measured(t)
		w.imported()
		w.token()
		w.close()
		wantValues(t, r, "esignd.token.remaining", map[string]int64{"acme-main acme": 1})
	})
}

func TestMetricsTellOfAVendorThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := measured(t)
		defer w.close()
		w.imported()
		w.vendor.set(func(v *vendor) {
			v.before = func(context.Context, core.TokenRequest) error {
				return &core.VendorError{Outcome: core.Refused, Code: core.CodeUnavailable, Status: 503}
			}
		})
		wantValues(t, r, "esignd.breaker.count", map[string]int64{"closed acme-main acme": 1, "closed acme-robot acme": 1})
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		wantValues(t, r, "esignd.breaker.count", map[string]int64{"open acme-main acme": 1, "closed acme-robot acme": 1})
		wantValues(t, r, "esignd.grant.expired", map[string]int64{"acme-main acme": 1})
		failed := values(t, r, "esignd.token.request.failures")
		if n := failed["vendor_unavailable acme-main vendor refused acme refresh_token"]; n < 5 || len(failed) != 1 {
			t.Errorf("failures %v", failed)
		}
		w.vendor.set(func(v *vendor) { v.before = nil })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		wantValues(t, r, "esignd.breaker.count", map[string]int64{"closed acme-main acme": 1, "closed acme-robot acme": 1})
		wantValues(t, r, "esignd.grant.expired", map[string]int64{})
	})
}

func TestMetricsTellWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := measured(t)
		defer w.close()
		w.imported()
		time.Sleep(2 * time.Second)
		release := make(chan struct{})
		w.vendor.set(func(v *vendor) {
			v.before = func(ctx context.Context, _ core.TokenRequest) error {
				core.AddVendorTime(ctx, time.Second)
				<-release
				return nil
			}
		})
		done := make(chan error, 1)
		go func() {
			_, err := w.m.Refresh(t.Context(), w.sel())
			done <- err
		}()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		wantValues(t, r, "esignd.refresh.active", map[string]int64{"": 1})
		wantValues(t, r, "esignd.vendor.call.active", map[string]int64{"acme": 1})
		close(release)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		wantValues(t, r, "esignd.refresh.active", map[string]int64{})
		wantValues(t, r, "esignd.vendor.call.active", map[string]int64{})
		if n := values(t, r, "esignd.refresh.phase.duration")["vendor acme"]; n != 1 {
			t.Errorf("the vendor's part was measured %d times", n)
		}
	})
}
