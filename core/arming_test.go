package core_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

// slowTimers take their time, and count what is armed.
type slowTimers struct {
	core.Timers
	list, arm time.Duration
	armed     atomic.Int32
}

func (s *slowTimers) Armed(ctx context.Context) (map[string]bool, error) {
	select {
	case <-time.After(s.list):
		return s.Timers.Armed(ctx)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *slowTimers) Arm(ctx context.Context, vendor, grant string, at time.Time) error {
	time.Sleep(s.arm)
	s.armed.Add(1)
	return s.Timers.Arm(ctx, vendor, grant, at)
}

// TestStopDoesNotWaitUntilAllTimersAreArmed stops a Manager that lists the timers, and one that arms those that are missing.
func TestStopDoesNotWaitUntilAllTimersAreArmed(t *testing.T) {
	const grants = 50
	tests := map[string]struct {
		list, arm time.Duration
		most      int32 // timers that are armed in the end
	}{
		"listing": {list: time.Minute},
		"arming":  {arm: time.Second, most: 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				for i := range grants {
					_, err := w.m.Import(t.Context(), core.ImportRequest{
						Tenant: tenant, Client: main, Account: fmt.Sprintf("%d@example.com", i), RefreshToken: w.vendor.seed(fmt.Sprintf("seed-%d", i)),
					})
					if err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				w.close()
				timers := &slowTimers{Timers: core.NewMemoryTimers(), list: tt.list, arm: tt.arm}
				w.cfg.Timers = timers
				w.m = w.start()
				synctest.Wait()
				begun := time.Now()
				w.close()
				if took, n := time.Since(begun), timers.armed.Load(); took > 2*time.Second || n > tt.most {
					t.Errorf("it stopped after %s, with %d timers armed; at most %d", took, n, tt.most)
				}
				timers.list, timers.arm = 0, 0
				w.m = w.start()
				defer w.close()
				synctest.Wait()
				if armed, err := timers.Armed(t.Context()); err != nil || len(armed) != grants {
					t.Errorf("after the next start %d timers are armed, %v; want %d", len(armed), err, grants)
				}
			})
		})
	}
}
