package core_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

// fullSpool takes nothing while full.
type fullSpool struct {
	core.Spool
	full atomic.Bool
}

func (s *fullSpool) Put(r core.Record) error {
	if s.full.Load() {
		return errors.New("no space left")
	}
	return s.Spool.Put(r)
}

// The disk is full as an answer comes: neither the store nor the spool takes it. There is room again, but the store takes
// nothing until a restart. By then the spool has it, at the latest as esignd ends in order.
func TestOutcomeThatWasInMemoryAloneReachesTheSpoolWhenThereIsRoomAgain(t *testing.T) {
	for name, waits := range map[string]time.Duration{"while it runs": time.Minute, "as it ends": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, spool := &flakyStore{Store: core.NewMemoryStore()}, &fullSpool{}
				w := newWorld(t, func(c *core.Config) { c.Store, spool.Spool, c.Spool = store, c.Spool, spool })
				w.imported()
				time.Sleep(5 * time.Second)
				w.vendor.set(func(v *vendor) {
					v.after = func(context.Context, core.TokenRequest) error {
						store.set(func(s *flakyStore) { s.broken = true })
						spool.full.Store(true)
						return nil
					}
				})
				_, _ = w.m.Refresh(t.Context(), w.sel())
				if kept, err := spool.All(); err != nil || len(kept) != 0 {
					t.Fatalf("%d outcomes in a full spool, %v", len(kept), err)
				}
				spool.full.Store(false)
				time.Sleep(waits)
				if waits == 0 {
					w.close()
				}
				if kept, err := spool.All(); err != nil || len(kept) != 1 {
					t.Errorf("%d outcomes in the spool that has room again, %v; want 1", len(kept), err)
				}
				if waits != 0 {
					w.close()
				}
				w.vendor.set(func(v *vendor) { v.after = nil })
				store.set(func(s *flakyStore) { s.broken = false })
				w.m = w.start()
				defer w.close()
				time.Sleep(time.Minute)
				if tok := w.token(); tok.Generation != 2 || w.vendor.presentedTwice() != 0 {
					t.Errorf("after the restart: generation %d, %d second presentations; want 2 and 0", tok.Generation, w.vendor.presentedTwice())
				}
			})
		})
	}
}
