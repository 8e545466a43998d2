package core_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

// An open breaker is asked before anything is written: only the grants whose calls were made have attempts.
func TestOpenBreakerCountsNoAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := make([]string, 40)
		for i := range names {
			names[i] = fmt.Sprint("account-", i)
		}
		c := newCrowd(t, 1, names...)
		defer c.close()
		c.vendorDoes(unavailable)
		time.Sleep(2*time.Hour + 20*time.Minute)
		synctest.Wait()
		attempts := 0
		for _, name := range names {
			attempts += c.info(name).Attempts
		}
		if calls := len(c.called()); attempts != calls || calls > 360 {
			t.Errorf("%d attempts are recorded of %d calls; want one every 20 s at most", attempts, calls)
		}
	})
}

// grant.get says when a grant is tried again, whatever holds it back.
func TestNextAttemptTellsTheTruth(t *testing.T) {
	wait := func(d time.Duration) func(string) error { return func(string) error { return busyFor(d)() } }
	for _, c := range []struct {
		name   string
		does   func(string) error
		most   time.Duration // until the next attempt
		warned core.Warning
		tried  bool // each grant finds out by itself
	}{
		{"the client is suspended", refusesClient, 31 * time.Minute, core.WarnClientSuspended, false},
		{"the vendor wants to be left alone", wait(40 * time.Minute), 41 * time.Minute, core.WarnVendorUnavailable, false},
		{"the breaker is open", unavailable, 5 * time.Minute, core.WarnVendorUnavailable, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCrowd(t, 2, team...)
				defer w.close()
				if info := w.info("first"); !info.NextAttempt.IsZero() || info.Attempts != 0 {
					t.Errorf("a grant that nothing holds back: %+v", info)
				}
				time.Sleep(35 * time.Minute)
				w.vendorDoes(c.does)
				time.Sleep(20 * time.Minute) // all are due, most were never tried
				synctest.Wait()
				untried := 0
				for _, name := range team {
					info := w.info(name)
					if d := time.Until(info.NextAttempt); d < 0 || d > c.most {
						t.Errorf("%s is tried again in %s", name, d)
					}
					if (info.Attempts == 0) != (info.LastError == "") {
						t.Errorf("%s: %d attempts, last error %q", name, info.Attempts, info.LastError)
					}
					if info.Attempts == 0 {
						untried++
					}
					if tok, err := w.m.Token(t.Context(), w.of(name), 0); err != nil || !slices.Contains(tok.Warnings, c.warned) {
						t.Errorf("%s: %v with %v, want %s", name, err, tok.Warnings, c.warned)
					}
				}
				if (untried == 0) != c.tried {
					t.Errorf("%d grants were never tried", untried)
				}
				next := w.info("first").NextAttempt
				w.vendorDoes(nil)
				time.Sleep(time.Until(next) - 100*time.Millisecond)
				synctest.Wait()
				early := w.info("first").Generation
				time.Sleep(25 * time.Second)
				synctest.Wait()
				if info := w.info("first"); early != 1 && !c.tried || info.Generation != 2 {
					t.Errorf("generation %d just before its time and %d after it; want 1 and 2", early, info.Generation)
				}
			})
		})
	}
}
