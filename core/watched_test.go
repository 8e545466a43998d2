package core_test

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

// lagging is a store whose watch tells everything late, idle words and records alike.
type lagging struct {
	core.Store
	by time.Duration
}

func (s lagging) Watch(ctx context.Context, fn func(core.Update)) error {
	type late struct {
		at time.Time
		u  core.Update
	}
	queue := make(chan late, 10000)
	var wait sync.WaitGroup
	defer wait.Wait()
	defer close(queue)
	wait.Go(func() {
		for l := range queue {
			time.Sleep(time.Until(l.at))
			if ctx.Err() == nil {
				fn(l.u)
			}
		}
	})
	return s.Store.Watch(ctx, func(u core.Update) { queue <- late{time.Now().Add(s.by), u} })
}

// A backlog is delivered without a pause, each record ten seconds late: only a word that says "this was all" makes the
// cache fresh.
func TestBacklogOfTheWatchDoesNotCountAsFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := core.NewMemoryStore()
		store := &backlog{MemoryStore: inner}
		w := newWorld(t, lazy)
		w.close()
		w.cfg.Store = inner
		w.m = w.start()
		defer w.close()
		cfg := w.cfg
		cfg.Store, cfg.Spool, cfg.Owner = store, core.NewMemorySpool(), func() string { return "other folder" }
		late, err := core.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := late.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = late.Close(context.Background()) }()
		w.imported()
		time.Sleep(5 * time.Second)
		if _, ok := late.CachedToken(t.Context(), w.sel(), 0); !ok {
			t.Fatal("not in the cache")
		}
		store.late.Store(true)
		stop := make(chan struct{})
		var wait sync.WaitGroup
		wait.Go(func() { // other records are written all the time
			rev := uint64(0)
			for {
				select {
				case <-stop:
					return
				case <-time.After(200 * time.Millisecond):
				}
				rev, _ = inner.Put(context.Background(), core.Record{Key: "other.x", Public: []byte("{}"), Revision: rev})
			}
		})
		time.Sleep(15 * time.Second)
		if _, err := w.m.Revoke(t.Context(), w.sel(), ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if _, ok := late.CachedToken(t.Context(), w.sel(), 0); ok {
			t.Error("a revoked token is served three seconds after the revocation")
		}
		close(stop)
		wait.Wait()
	})
}

// backlog is a store whose watch, once late, tells records ten seconds late and has no idle word.
type backlog struct {
	*core.MemoryStore
	late atomic.Bool
}

func (s *backlog) Watch(ctx context.Context, fn func(core.Update)) error {
	var mu sync.Mutex
	var wait sync.WaitGroup
	defer wait.Wait()
	return s.MemoryStore.Watch(ctx, func(u core.Update) {
		if !s.late.Load() {
			mu.Lock()
			defer mu.Unlock()
			fn(u)
			return
		}
		if u.Record.Key == "" {
			return // the leader is ahead: there is no such word
		}
		u.Live = false
		wait.Go(func() {
			select {
			case <-time.After(10 * time.Second):
			case <-ctx.Done():
				return
			}
			mu.Lock()
			defer mu.Unlock()
			fn(u)
		})
		// What was written before goes on arriving without a pause.
		mu.Lock()
		defer mu.Unlock()
		fn(core.Update{Record: core.Record{Key: "other.y", Revision: 1}})
	})
}

// A record that cannot be read any more is not served from memory as it was before.
func TestUnreadableRecordIsNotServedFromTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		info := w.imported()
		synctest.Wait()
		rec, err := w.cfg.Store.Get(t.Context(), "grant."+info.Grant)
		if err != nil {
			t.Fatal(err)
		}
		var newer map[string]any
		if err := json.Unmarshal(rec.Public, &newer); err != nil {
			t.Fatal(err)
		}
		newer["format"], newer["state"] = 2, "revoked" // a newer replica wrote it
		rec.Public, _ = json.Marshal(newer)
		if _, err := w.cfg.Store.Put(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if tok, err := w.m.Token(t.Context(), w.sel(), 0); err == nil {
			t.Errorf("generation %d is served after the record was changed", tok.Generation)
		}
	})
}
