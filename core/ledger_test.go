package core_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
)

// A client that is refused: one event and one probe at a time for the fleet, by the grant that ends first; live tokens
// are served meanwhile, and no grant is dropped.
func TestSuspendedClientIsProbedOnceForTheFleetByTheGrantThatEndsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 3, team...)
		defer c.close()
		time.Sleep(35 * time.Minute)
		c.vendorDoes(refusesClient)
		time.Sleep(20 * time.Minute) // all are due, none has ended
		for _, m := range c.replicas {
			tok, err := m.Token(t.Context(), c.of("sixth"), 0)
			if err != nil || !slices.Contains(tok.Warnings, core.WarnClientSuspended) {
				t.Errorf("a live token: %v with %v, want client_suspended", err, tok.Warnings)
			}
			if cached, ok := m.CachedToken(t.Context(), c.of("sixth"), 0); !ok || !slices.Equal(cached.Warnings, tok.Warnings) {
				t.Errorf("from memory: %v with %v", ok, cached.Warnings)
			}
		}
		c.vendorDoes(refusesClient)
		time.Sleep(2 * time.Hour)
		calls := c.called()
		if len(calls) < 4 || len(calls) > 9 {
			t.Errorf("%d calls in two hours: %v; want one every half an hour", len(calls), calls)
		}
		for _, by := range calls {
			if by != "first" {
				t.Errorf("a probe of %q: the grant that ends first is the probe", by)
			}
		}
		for _, name := range team {
			if info := c.info(name); info.State != core.Active {
				t.Errorf("%s is %s", name, info.State)
			}
		}
		c.vendorDoes(nil)
		time.Sleep(35 * time.Minute)
		synctest.Wait()
		for _, name := range team {
			if info := c.info(name); info.Generation < 2 || info.Attempts != 0 || !info.NextAttempt.IsZero() || len(info.Warnings) != 0 {
				t.Errorf("%s after the client is accepted again: %+v", name, info)
			}
		}
		if diff := cmp.Diff([]string{"client.suspended invalid_client", "client.resumed"}, c.ofClient()); diff != "" {
			t.Error(diff)
		}
	})
}

// What keeps the grant that ends first from probing does not keep the client suspended.
func TestNextGrantProbesWhereTheFirstCannot(t *testing.T) {
	for _, how := range []struct {
		name string
		do   func(t *testing.T, c *crowd)
	}{
		{"its refresh token is dead", func(t *testing.T, c *crowd) {
			c.vendor.set(func(v *vendor) { delete(v.refresh, "of first") })
		}},
		{"it is revoked", func(t *testing.T, c *crowd) {
			if _, err := c.m.Revoke(t.Context(), c.of("first"), ""); err != nil {
				t.Fatal(err)
			}
		}},
		{"it is forgotten", func(t *testing.T, c *crowd) {
			if _, err := c.m.Forget(t.Context(), c.of("first")); err != nil {
				t.Fatal(err)
			}
		}},
		{"its timer is gone", func(t *testing.T, c *crowd) {
			if err := c.cfg.Timers.Disarm(t.Context(), "acme", core.GrantID(tenant, main, "first")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(how.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd(t, 2, team...)
				defer c.close()
				time.Sleep(35 * time.Minute)
				c.vendorDoes(refusesClient)
				time.Sleep(20 * time.Minute)
				how.do(t, c)
				synctest.Wait()
				next := c.info("second").NextAttempt
				if wait := time.Until(next); wait <= 0 || wait > 31*time.Minute {
					t.Fatalf("next attempt in %s", wait)
				}
				c.vendorDoes(nil)
				time.Sleep(time.Until(next) + 5*time.Second)
				synctest.Wait()
				if got := c.ofClient(); len(got) != 2 || got[1] != "client.resumed" {
					t.Errorf("events %v, calls %v; want the client resumed by the next probe", got, c.called())
				}
				time.Sleep(20 * time.Second)
				synctest.Wait()
				for _, name := range team[1:] {
					if info := c.info(name); info.Generation != 2 {
						t.Errorf("%s: generation %d, next attempt in %s, calls %v", name, info.Generation, time.Until(info.NextAttempt), c.called())
					}
				}
			})
		})
	}
}

// The first grant's refresh token has one more try, at the end of its life; until then others probe.
func TestGrantInDoubtDoesNotKeepAClientSuspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 2, "first", "second")
		defer c.close()
		time.Sleep(5 * time.Second)
		c.vendorDoes(func(string) error { return &core.VendorError{Outcome: core.Unknown, Code: core.CodeTimeout} })
		_, _ = c.m.Refresh(t.Context(), c.of("first"))
		time.Sleep(40 * time.Minute)
		c.vendorDoes(refusesClient)
		time.Sleep(11 * time.Minute) // second is due, the last try of first is not before its last minute
		c.vendorDoes(nil)
		time.Sleep(time.Until(c.info("second").NextAttempt) + 5*time.Second)
		synctest.Wait()
		if info := c.info("second"); info.Generation != 2 || !slices.Contains(c.ofClient(), "client.resumed") {
			t.Errorf("generation %d, events %v, calls %v", info.Generation, c.ofClient(), c.called())
		}
	})
}

// The process that probes dies in its call; another probes after the backoff.
func TestProbeOfADeadReplicaIsMadeByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(false, time.Hour, core.Eager)
		defer f.end()
		for _, folder := range []string{"a", "b"} {
			if _, err := f.start(folder); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.replicas[0].takeOver(t.Context()); err != nil {
			t.Fatal(err)
		}
		refuses, probes := true, 0
		f.set(func(r *replica, place string) *trouble {
			switch {
			case place != "before token" || !refuses:
				return nil
			case probes == 1:
				probes++
				return &trouble{kind: crash} // the first probe
			}
			probes++
			return &trouble{kind: refuse}
		})
		time.Sleep(52 * time.Minute)
		f.mu.Lock()
		refuses = false
		made := probes
		f.mu.Unlock()
		if made < 3 {
			t.Fatalf("%d calls", made)
		}
		time.Sleep(31 * time.Minute)
		synctest.Wait()
		if v := f.now(); v.Generation != 2 {
			t.Errorf("generation %d after %d calls: nobody probes any more", v.Generation, made)
		}
	})
}

// A success that was sent before the client was refused does not resume it, nor one that was sent before an outage end it.
func TestSlowSuccessTellsNothingOfWhatWasFoundOutSince(t *testing.T) {
	for name, does := range map[string]func(string) error{"client.suspended invalid_client": refusesClient, "vendor.unavailable breaker_open": unavailable} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd(t, 2, append(team, "slow")...)
				defer c.close()
				time.Sleep(5 * time.Second)
				c.vendorDoes(func(token string) error {
					if token == "of slow" {
						time.Sleep(8 * time.Second)
						return nil
					}
					return does(token)
				})
				var wait sync.WaitGroup
				wait.Go(func() {
					if tok, err := c.replicas[1].Refresh(t.Context(), c.of("slow")); err != nil || tok.Generation != 2 {
						t.Errorf("generation %d, %v", tok.Generation, err)
					}
				})
				synctest.Wait()
				for _, name := range team {
					_, _ = c.m.Refresh(t.Context(), c.of(name))
				}
				wait.Wait()
				time.Sleep(time.Second)
				if diff := cmp.Diff([]string{name}, c.ofClient()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// Each replica finds out by itself that the vendor does not answer, and that it does; the fleet tells it once.
func TestOutageIsToldOnceForTheFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 3, team...)
		defer c.close()
		for range 2 {
			time.Sleep(time.Minute)
			c.vendorDoes(unavailable)
			for _, m := range c.replicas { // each makes its own five calls
				for range 2 {
					for _, name := range team {
						_, _ = m.Refresh(t.Context(), c.of(name))
					}
					time.Sleep(time.Minute)
				}
			}
			c.vendorDoes(nil)
			time.Sleep(10 * time.Minute)
			for _, name := range team {
				if _, err := c.m.Refresh(t.Context(), c.of(name)); err != nil {
					t.Error(err)
				}
			}
			synctest.Wait()
		}
		want := []string{"vendor.unavailable breaker_open", "vendor.available", "vendor.unavailable breaker_open", "vendor.available"}
		if diff := cmp.Diff(want, c.ofClient()); diff != "" {
			t.Error(diff)
		}
	})
}

// A replica that alone cannot reach the vendor tells so once, and leaves the others alone.
func TestReplicaThatAloneCannotReachTheVendorTellsItOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 1, team...)
		defer c.close()
		cut := newVendor()
		cut.before = func(context.Context, core.TokenRequest) error { return unreachable() }
		healthy := c.cfg.Adapters
		c.cfg.Adapters = core.AdapterMap{"acme": cut}
		lame := c.another()
		c.cfg.Adapters = healthy
		for range 40 {
			for _, name := range team {
				_, _ = lame.Refresh(t.Context(), c.of(name))
				time.Sleep(2 * time.Second)
				_, _ = c.m.Refresh(t.Context(), c.of(name))
			}
			time.Sleep(30 * time.Second)
		}
		got := c.ofClient()
		if n := len(got); n > 4 {
			t.Errorf("%d events in an hour: %v", n, got)
		}
		for _, name := range team {
			if info := c.info(name); info.State != core.Active || info.Generation < 10 {
				t.Errorf("%s: %s, generation %d", name, info.State, info.Generation)
			}
		}
	})
}

// In the middle of a change of credentials, neither the old ones nor the new ones are accepted: the client is suspended
// once, for all replicas, and with either it resumes.
func TestTwoCredentialsThatAreBothRefusedAreOneSuspension(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 1, team...)
		defer c.close()
		old := c.cfg.Clients
		c.cfg.Clients = slices.Clone(old)
		c.cfg.Clients[0].ClientSecret = core.NewSecret("mistyped")
		c.replicas = append(c.replicas, c.another())
		time.Sleep(35 * time.Minute)
		c.vendorDoes(refusesClient)
		for range 60 {
			time.Sleep(time.Minute)
			for i, name := range team {
				_, _ = c.replicas[i%2].Refresh(t.Context(), c.of(name))
			}
		}
		if n := len(c.called()); n > 20 {
			t.Errorf("%d calls in an hour", n)
		}
		if diff := cmp.Diff([]string{"client.suspended invalid_client"}, c.ofClient()); diff != "" {
			t.Error(diff)
		}
		c.vendorDoes(nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		for _, name := range team {
			if info := c.info(name); info.Generation < 2 {
				t.Errorf("%s: %+v", name, info)
			}
		}
		if diff := cmp.Diff([]string{"client.suspended invalid_client", "client.resumed"}, c.ofClient()); diff != "" {
			t.Error(diff)
		}
	})
}
