package core_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

// lateAndLast has A stalled in its call and B in its last try, each until its channel is closed. wait waits for both.
func (w *world) lateAndLast() (holdA, holdB chan struct{}, wait *sync.WaitGroup) {
	w.t.Helper()
	other := w.another()
	w.imported()
	time.Sleep(30 * time.Minute)
	holdA, holdB, wait = make(chan struct{}), make(chan struct{}), new(sync.WaitGroup)
	var calls atomic.Int32
	w.vendor.set(func(v *vendor) {
		v.after = func(context.Context, core.TokenRequest) error { <-holdA; return nil }
		v.before = func(context.Context, core.TokenRequest) error {
			if calls.Add(1) == 2 {
				<-holdB
			}
			return nil
		}
	})
	wait.Go(func() { _, _ = w.m.Refresh(w.t.Context(), w.sel()) })
	synctest.Wait()
	time.Sleep(20 * time.Second)
	synctest.Wait()
	wait.Go(func() { _, _ = other.Report(w.t.Context(), w.sel(), 1) }) // the last try
	synctest.Wait()
	if calls.Load() != 2 {
		w.t.Fatalf("%d calls, want A's and B's", calls.Load())
	}
	return holdA, holdB, wait
}

// A is stalled in its call, B settles A's claim and makes the last try with the old refresh token. A's token set
// comes and is committed; then the vendor refuses B.
func TestRefusedLastTryDoesNotEndAGrantThatALateTokenSetRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lazy)
		defer w.close()
		holdA, holdB, wait := w.lateAndLast()
		close(holdA)
		synctest.Wait()
		if info, err := w.m.Grant(t.Context(), w.sel()); err != nil || info.Generation != 2 {
			t.Fatalf("A's late commit: %+v %v", info, err)
		}
		close(holdB)
		wait.Wait()
		synctest.Wait()
		info, err := w.m.Grant(t.Context(), w.sel())
		if err != nil || info.State != core.Active {
			t.Errorf("state %s (%s), %v; the stored refresh token is not the one that was refused", info.State, info.Reason, err)
		}
	})
}

// As above, but B dies in its last try: settling its claim must not touch the token set that came meanwhile.
func TestDeadLastTryDoesNotEndAGrantThatALateTokenSetRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lazy)
		defer w.close()
		holdA, holdB, wait := w.lateAndLast()
		close(holdA)
		time.Sleep(40 * time.Second) // B hangs for longer than its claim
		synctest.Wait()
		info, err := w.m.Grant(t.Context(), w.sel())
		if err != nil || info.State != core.Active || slices.Contains(info.Warnings, core.WarnOutcomeUnknown) {
			t.Errorf("state %s (%s) warnings %v, %v; generation 2 was never presented", info.State, info.Reason, info.Warnings, err)
		}
		close(holdB)
		wait.Wait()
	})
}

// The claim of the last try is written and its acknowledgement lost: the vendor is not called, and the grant lives.
func TestLostAckOfAClaimIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &flakyStore{Store: lagging{core.NewMemoryStore(), 100 * time.Millisecond}}
		w := newWorld(t, lazy, func(c *core.Config) { c.Store = store })
		defer w.close()
		w.imported()
		time.Sleep(5 * time.Second)
		calls := w.vendor.refreshes()
		store.set(func(s *flakyStore) { s.lostAck = true })
		_, _ = w.m.Refresh(t.Context(), w.sel())
		time.Sleep(time.Minute)
		synctest.Wait()
		tok := w.token()
		if n := w.vendor.refreshes() - calls; n != 0 {
			t.Fatalf("%d calls without an acknowledged claim", n)
		}
		if slices.Contains(tok.Warnings, core.WarnOutcomeUnknown) {
			t.Errorf("warnings %v although the vendor was not called", tok.Warnings)
		}
	})
}
