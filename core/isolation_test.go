package core_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

// mute is a vendor whose adapter does not even say its metadata.
type mute struct{ *vendor }

func (mute) Metadata(ctx context.Context) (core.Metadata, error) {
	<-ctx.Done()
	return core.Metadata{}, ctx.Err()
}

// refreshesBeside returns how long after the start of a second Manager each of many grants of one vendor was refreshed,
// while as many of another vendor are due.
func refreshesBeside(t *testing.T, grants int, other func(*vendor) core.Adapter) []time.Duration {
	const beside = "beside"
	quick := newVendor()
	quick.meta.Vendor = beside
	w := newWorld(t, func(c *core.Config) {
		c.Adapters.(core.AdapterMap)[beside] = quick
		c.Clients = append(c.Clients, core.Client{Name: beside, Vendor: beside, Tenants: []string{tenant}})
		c.Publisher = &tally{Publisher: c.Publisher}
	})
	ends := time.Now().Add(10 * time.Minute)
	for i := range grants {
		for client, v := range map[string]*vendor{main: w.vendor, beside: quick} {
			if _, err := w.m.Import(t.Context(), core.ImportRequest{Tenant: tenant, Client: client, Account: fmt.Sprint(i), RefreshToken: v.seed(fmt.Sprint(i)),
				AccessToken: core.NewSecret(fmt.Sprint("given-", i)), ExpiresAt: ends}); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.close()
	var mu sync.Mutex
	var done []time.Duration
	begun := time.Now()
	quick.set(func(v *vendor) {
		v.before = func(context.Context, core.TokenRequest) error { time.Sleep(100 * time.Millisecond); return nil }
		v.after = func(context.Context, core.TokenRequest) error {
			mu.Lock()
			defer mu.Unlock()
			done = append(done, time.Since(begun))
			return nil
		}
	})
	w.cfg.Adapters.(core.AdapterMap)["acme"] = other(w.vendor)
	w.m = w.start()
	defer w.close()
	time.Sleep(9 * time.Minute)
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(done)
	return done
}

func TestHangingVendorDelaysNoOther(t *testing.T) {
	t.Parallel()
	const grants = 200
	hang := func(ctx context.Context, _ core.TokenRequest) error { <-ctx.Done(); return ctx.Err() }
	run := func(t *testing.T, other func(*vendor) core.Adapter) (done []time.Duration) {
		synctest.Test(t, func(t *testing.T) { done = refreshesBeside(t, grants, other) })
		if len(done) != grants {
			t.Fatalf("%d of %d grants were refreshed", len(done), grants)
		}
		return done
	}
	calm := run(t, func(v *vendor) core.Adapter { return v })
	for name, other := range map[string]func(*vendor) core.Adapter{
		"its calls hang":    func(v *vendor) core.Adapter { v.set(func(v *vendor) { v.before = hang }); return v },
		"its adapter hangs": func(v *vendor) core.Adapter { return mute{v} },
	} {
		t.Run(name, func(t *testing.T) {
			beside := run(t, other)
			median, last := grants/2, grants-1
			t.Logf("refreshes of the other vendor: median after %s, last after %s; beside the one that hangs %s and %s",
				calm[median], calm[last], beside[median], beside[last])
			for i := range calm {
				if beside[i]-calm[i] > time.Second {
					t.Fatalf("the refresh that came as number %d came %s later", i, beside[i]-calm[i])
				}
			}
		})
	}
}

// What is due together, with no outage before, is not put on a ramp: all are refreshed before they end.
func TestGrantsDueTogetherAreRefreshedBeforeTheyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStormOf(t, stormSize(t), 1, time.Minute, 0)
		defer s.close()
		ends := time.Now().Add(time.Minute)
		time.Sleep(39 * time.Second)
		f := s.passed(time.Now())
		for i, at := range s.finished() {
			if at.After(ends) {
				t.Fatalf("grant %d was refreshed %s after its token had ended", i, at.Sub(ends))
			}
		}
		if rate := float64(s.n) / f.last.Seconds(); s.n >= 10000 && rate < 600 {
			t.Errorf("%.0f refreshes a second; 64 calls of 100 ms are 640", rate)
		}
	})
}

// A caller whose token needs a refresh does not wait behind those that are refreshed ahead, whether its own grant is
// among them or not.
func TestCallerGoesBeforeRefreshesAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStormOf(t, 1000, 1, time.Minute, 0)
		defer s.close()
		sel := func(i int) core.Selector {
			return core.Selector{Tenant: tenant, Client: main, Account: fmt.Sprint("account-", i)}
		}
		s.mu.Lock()
		s.takes = 2 * time.Second
		s.mu.Unlock()
		time.Sleep(50 * time.Second) // 32 a second are refreshed, of a thousand that are due
		backlog := s.n - len(s.finished())
		if backlog < 500 {
			t.Fatalf("%d grants wait", backlog)
		}
		var longest time.Duration
		for i := s.n - 1; i >= s.n-20; i-- {
			begun := time.Now()
			if _, err := s.m.Token(t.Context(), sel(i), 50*time.Second); err != nil {
				t.Error(err)
			}
			longest = max(longest, time.Since(begun))
		}
		t.Logf("while %d grants waited for a vendor that takes two seconds, a caller waited %s at most", backlog, longest)
		if longest > 6*time.Second {
			t.Error("the caller waited behind them")
		}
	})
}
