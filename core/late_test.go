package core_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

// stoppedStore answers nothing while its server is stopped. What was sent to it then it takes when it goes on, in order,
// as a server does with what lies in its sockets.
type stoppedStore struct {
	core.Store
	mu      sync.Mutex // guards what follows
	stopped bool
	waiting []core.Record
}

func (s *stoppedStore) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
}

func (s *stoppedStore) resume(ctx context.Context) {
	s.mu.Lock()
	waiting := s.waiting
	s.stopped, s.waiting = false, nil
	s.mu.Unlock()
	for _, r := range waiting {
		_, _ = s.Store.Put(ctx, r) // nobody hears the answer
	}
}

// hangs waits for the end of ctx where the server is stopped.
func (s *stoppedStore) hangs(ctx context.Context, r *core.Record) error {
	s.mu.Lock()
	stopped := s.stopped
	if stopped && r != nil {
		s.waiting = append(s.waiting, *r)
	}
	s.mu.Unlock()
	if !stopped {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *stoppedStore) Put(ctx context.Context, r core.Record) (uint64, error) {
	if err := s.hangs(ctx, &r); err != nil {
		return 0, err
	}
	return s.Store.Put(ctx, r)
}

func (s *stoppedStore) Get(ctx context.Context, key string) (core.Record, error) {
	if err := s.hangs(ctx, nil); err != nil {
		return core.Record{}, err
	}
	return s.Store.Get(ctx, key)
}

func (s *stoppedStore) Now(ctx context.Context) (time.Time, error) {
	if err := s.hangs(ctx, nil); err != nil {
		return time.Time{}, err
	}
	return s.Store.Now(ctx)
}

func (s *stoppedStore) Watch(ctx context.Context, fn func(core.Update)) error {
	return s.Store.Watch(ctx, func(u core.Update) {
		s.mu.Lock()
		silent := s.stopped
		s.mu.Unlock()
		if !silent {
			fn(u)
		}
	})
}

// The commit of a refresh lies in the socket of a server that is stopped for an hour, and is written when it goes on: its
// record then says that the token is new.
func TestTokenWhoseCommitWasLongOnItsWayIsAsOldAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &stoppedStore{Store: core.NewMemoryStore()}
		w := newWorld(t, lazy, func(c *core.Config) { c.Store = store })
		other := w.another()
		defer w.close()
		w.imported()
		time.Sleep(30 * time.Minute)
		w.vendor.set(func(v *vendor) {
			v.after = func(context.Context, core.TokenRequest) error { store.stop(); return nil }
		})
		_, _ = w.m.Refresh(t.Context(), w.sel())
		w.vendor.set(func(v *vendor) { v.after = nil })
		time.Sleep(time.Hour)
		store.resume(t.Context())
		for _, pause := range []time.Duration{0, time.Millisecond, time.Second} {
			time.Sleep(pause)
			if tok := w.token(); tok.Generation == 2 {
				t.Errorf("%s later: generation 2 is handed out, which expired", pause)
			}
		}
		time.Sleep(15 * time.Second) // at the latest the outcome was tried again by then
		if tok, err := other.Token(t.Context(), w.sel(), core.DefaultMinTTL); err != nil || tok.Generation == 2 {
			t.Errorf("the other replica: generation %d, %v", tok.Generation, err)
		}
		if w.vendor.presentedTwice() != 0 {
			t.Error("a refresh token was presented twice")
		}
	})
}
