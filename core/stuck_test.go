package core_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

func refuseClient(context.Context, core.TokenRequest) error {
	return &core.VendorError{Outcome: core.Refused, Code: core.CodeInvalidClient, Status: 401}
}

// A suspended client is probed although nothing is refreshed ahead: by lazy policy, and where the only grant is one of
// client_credentials that has no token yet.
func TestSuspendedClientIsProbedWhereNothingIsRefreshedAhead(t *testing.T) {
	t.Run("lazy", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, lazy)
			defer w.close()
			w.imported()
			time.Sleep(2 * time.Hour)
			w.vendor.set(func(v *vendor) { v.before = refuseClient })
			_, _ = w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL)
			w.vendor.set(func(v *vendor) { v.before = nil })
			var err error
			for range 12 {
				time.Sleep(time.Hour)
				_, err = w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL)
			}
			if err != nil {
				t.Errorf("twelve hours after the client is accepted again: %v", err)
			}
		})
	})
	t.Run("client_credentials", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			defer w.close()
			sel := core.Selector{Tenant: tenant, Client: robot}
			w.vendor.set(func(v *vendor) { v.before = refuseClient })
			_, _ = w.m.Token(t.Context(), sel, core.DefaultMinTTL)
			w.vendor.set(func(v *vendor) { v.before = nil })
			var err error
			for range 12 {
				time.Sleep(time.Hour)
				_, err = w.m.Token(t.Context(), sel, core.DefaultMinTTL)
			}
			if err != nil {
				t.Errorf("twelve hours after the client is accepted again: %v", err)
			}
		})
	})
	t.Run("the grant that ends first is of a tenant that left the configuration", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, func(c *core.Config) { c.Clients[0].Tenants = []string{tenant, "left"} })
			if _, err := w.m.Import(t.Context(), core.ImportRequest{Tenant: "left", Client: main, Account: "bob", RefreshToken: w.vendor.seed("bob")}); err != nil {
				t.Fatal(err)
			}
			w.close()
			w.cfg.Clients[0].Tenants = []string{tenant}
			time.Sleep(time.Minute)
			w.m = w.start()
			defer w.close()
			w.imported()
			w.vendor.set(func(v *vendor) { v.before = refuseClient })
			time.Sleep(2 * time.Hour)
			w.vendor.set(func(v *vendor) { v.before = nil })
			time.Sleep(12 * time.Hour)
			if _, err := w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL); err != nil {
				t.Errorf("twelve hours after the client is accepted again: %v", err)
			}
		})
	})
}

// A grant whose last try probes a suspended client is not dropped for what is the client's fault.
func TestRefusedClientDoesNotSpendTheLastTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.imported()
		time.Sleep(5 * time.Second)
		w.vendor.set(func(v *vendor) {
			v.before = func(context.Context, core.TokenRequest) error {
				return &core.VendorError{Outcome: core.Unknown, Code: core.CodeTimeout}
			}
		})
		_, _ = w.m.Refresh(t.Context(), w.sel())
		w.vendor.set(func(v *vendor) { v.before = refuseClient })
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if info, err := w.m.Grant(t.Context(), w.sel()); err != nil || info.State != core.Active {
			t.Errorf("state %s (%s) %v: invalid_client is the app's fault and drops no grant", info.State, info.Reason, err)
		}
	})
}

// steppedStore is a store whose wall clock can be stepped.
type steppedStore struct {
	core.Store
	by atomic.Int64
}

func (s *steppedStore) Now(context.Context) (time.Time, error) {
	return time.Now().Add(time.Duration(s.by.Load())), nil
}

// The store's clock was a day ahead when a refresh failed, and was then set right.
func TestClockSetBackDoesNotPutRefreshesOffForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &steppedStore{Store: core.NewMemoryStore()}
		w := newWorld(t, func(c *core.Config) { c.Store = store })
		w.imported()
		w.close()
		store.by.Store(int64(24 * time.Hour))
		w.m = w.start()
		w.vendor.set(func(v *vendor) {
			v.before = func(context.Context, core.TokenRequest) error {
				return &core.VendorError{Outcome: core.Refused, Code: core.CodeUnavailable, Status: 503}
			}
		})
		_, _ = w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL)
		time.Sleep(5 * time.Second)
		_, _ = w.m.Report(t.Context(), w.sel(), 1)
		w.close()
		store.by.Store(0)
		w.vendor.set(func(v *vendor) { v.before = nil })
		w.m = w.start()
		defer w.close()
		time.Sleep(3 * time.Hour)
		if tok, err := w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL); err != nil || tok.Generation < 2 {
			t.Errorf("three hours after the clock was set right: generation %d, %v", tok.Generation, err)
		}
	})
}

func TestTokenExpiringIsToldWhileTheVendorIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		w.imported()
		time.Sleep(5 * time.Second)
		w.vendor.set(func(v *vendor) {
			v.before = func(context.Context, core.TokenRequest) error {
				return &core.VendorError{Outcome: core.Refused, Code: core.CodeRateLimited, Status: 429, RetryAfter: time.Hour}
			}
		})
		_, _ = w.m.Refresh(t.Context(), w.sel())
		time.Sleep(55 * time.Minute)
		if got := w.events.types(); !slices.Contains(got, "token.expiring") {
			t.Errorf("five minutes before the end: events %v", got)
		}
	})
}

// refusingPublisher takes nothing while down.
type refusingPublisher struct {
	core.Publisher
	down atomic.Bool
}

func (p *refusingPublisher) Publish(ctx context.Context, e core.Event) error {
	if p.down.Load() {
		return errors.New("the stream of events does not take it")
	}
	return p.Publisher.Publish(ctx, e)
}

func TestEventThatCannotBePublishedDoesNotStopTheRefreshAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &refusingPublisher{}
		w := newWorld(t, func(c *core.Config) { p.Publisher = c.Publisher; c.Publisher = p })
		defer w.close()
		p.down.Store(true)
		w.imported()
		time.Sleep(58 * time.Minute)
		if tok := w.token(); tok.Generation != 2 || w.vendor.refreshes() != 2 {
			t.Errorf("generation %d, %d refreshes", tok.Generation, w.vendor.refreshes())
		}
		if info, err := w.m.Grant(t.Context(), w.sel()); err != nil || info.Generation != 2 || time.Until(info.ExpiresAt) < 50*time.Minute-10*time.Minute {
			t.Errorf("%+v %v", info, err)
		}
	})
}

func TestRefreshTokenIsNotSentToAnotherVendor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lazy)
		w.imported()
		w.close()
		otherVendor := newVendor()
		otherVendor.meta.Vendor = "evil"
		var mu sync.Mutex
		var got []string
		otherVendor.before = func(_ context.Context, r core.TokenRequest) error {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, r.RefreshToken.Reveal())
			return nil
		}
		w.cfg.Adapters.(core.AdapterMap)["evil"] = otherVendor
		w.cfg.Clients[0].Vendor = "evil"
		w.m = w.start()
		defer w.close()
		time.Sleep(2 * time.Hour)
		_, _ = w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL)
		mu.Lock()
		defer mu.Unlock()
		if len(got) != 0 {
			t.Errorf("the refresh token of a grant of acme was sent to another vendor")
		}
	})
}

// restoredStore is put back in time: its revisions begin anew.
type restoredStore struct {
	mu        sync.Mutex
	cur       core.Store
	moved     chan struct{}
	conflicts atomic.Int32
}

func (s *restoredStore) now() (core.Store, chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cur, s.moved
}

func (s *restoredStore) Get(ctx context.Context, key string) (core.Record, error) {
	cur, _ := s.now()
	return cur.Get(ctx, key)
}

func (s *restoredStore) Put(ctx context.Context, r core.Record) (uint64, error) {
	cur, _ := s.now()
	if s.conflicts.Load() > 500 {
		return 0, errors.New("five hundred conflicts in a row")
	}
	rev, err := cur.Put(ctx, r)
	if errors.Is(err, core.ErrConflict) {
		s.conflicts.Add(1)
	}
	return rev, err
}

func (s *restoredStore) Delete(ctx context.Context, key string, rev uint64) error {
	cur, _ := s.now()
	return cur.Delete(ctx, key, rev)
}

func (s *restoredStore) Now(ctx context.Context) (time.Time, error) {
	cur, _ := s.now()
	return cur.Now(ctx)
}

func (s *restoredStore) Watch(ctx context.Context, fn func(core.Update)) error {
	for ctx.Err() == nil {
		cur, moved := s.now()
		one, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(one, func() {})
		go func() {
			select {
			case <-moved:
			case <-one.Done():
			}
			cancel()
		}()
		_ = cur.Watch(one, fn)
		stop()
		cancel()
	}
	return ctx.Err()
}

func TestStoreThatWentBackInTimeIsReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &restoredStore{cur: core.NewMemoryStore(), moved: make(chan struct{})}
		w := newWorld(t, lazy, func(c *core.Config) { c.Store = store })
		defer w.close()
		w.imported()
		time.Sleep(5 * time.Second)
		backup := copyStore(t, store.cur)
		for range 3 {
			time.Sleep(5 * time.Second)
			if _, err := w.m.Refresh(t.Context(), w.sel()); err != nil {
				t.Fatal(err)
			}
		}
		store.mu.Lock()
		store.cur = backup
		close(store.moved)
		store.moved = make(chan struct{})
		store.mu.Unlock()
		time.Sleep(10 * time.Second)
		if _, err := w.m.Revoke(t.Context(), w.sel(), ""); err != nil || store.conflicts.Load() > 100 {
			t.Errorf("revoke: %v after %d conflicts", err, store.conflicts.Load())
		}
	})
}
