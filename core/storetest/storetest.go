// Package storetest is the conformance suite that every core.Store passes. An embedder with a store of their own
// runs it from a test:
//
//	storetest.Run(t, func(t *testing.T) core.Store { return mystore.New(t.TempDir()) })
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
)

// patience bounds the wait for what a watch must tell.
const patience = 10 * time.Second

// Run runs the suite. open returns an empty store, fresh for each test; it registers its own clean-up with t.
func Run(t *testing.T, open func(t *testing.T) core.Store) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(*testing.T, core.Store)
	}{
		{"Put then Get returns the record", putThenGet},
		{"Get of an unknown key is ErrNoRecord", getUnknown},
		{"Put on another revision is ErrConflict and writes nothing", putConflict},
		{"Put of a new key over an old one is ErrConflict", createConflict},
		{"of many writers of one revision one wins", oneWriterWins},
		{"Delete removes at its revision only", deleteAtRevision},
		{"a deleted key can be put again", putAfterDelete},
		{"revisions grow over all keys", revisionsGrow},
		{"a record goes after its TTL", ttl},
		{"Watch tells what is there, then Synced, then writes", watchTells},
		{"Watch of an empty store tells Synced", watchEmpty},
		{"Watch is not silent while nothing happens", watchHeartbeat},
		{"Watch tells a delete", watchDelete},
		{"Time and Now are one clock", clock},
		{"a done context is an error", doneContext},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func record(key, value string, revision uint64) core.Record {
	return core.Record{Key: key, Public: fmt.Appendf(nil, `{"value":%q}`, value), Secret: []byte("secret " + value), Revision: revision}
}

func put(t *testing.T, s core.Store, r core.Record) uint64 {
	t.Helper()
	rev, err := s.Put(t.Context(), r)
	if err != nil {
		t.Fatalf("put %s: %v", r.Key, err)
	}
	return rev
}

func expect(t *testing.T, s core.Store, want core.Record) {
	t.Helper()
	got, err := s.Get(t.Context(), want.Key)
	if err != nil {
		t.Fatalf("get %s: %v", want.Key, err)
	}
	got.Time, got.TTL = time.Time{}, 0
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("record %s (-want +got):\n%s", want.Key, diff)
	}
}

func putThenGet(t *testing.T, s core.Store) {
	r := record("grant.g_1", "a", 0)
	r.Revision = put(t, s, r)
	expect(t, s, r)
	bare := core.Record{Key: "client.a-b", Public: []byte(`{}`)}
	bare.Revision = put(t, s, bare)
	got, err := s.Get(t.Context(), bare.Key)
	if err != nil || len(got.Secret) != 0 {
		t.Errorf("a record without a secret came back with %d bytes of it, %v", len(got.Secret), err)
	}
}

func getUnknown(t *testing.T, s core.Store) {
	if _, err := s.Get(t.Context(), "grant.g_none"); !errors.Is(err, core.ErrNoRecord) {
		t.Errorf("got %v, want ErrNoRecord", err)
	}
}

func putConflict(t *testing.T, s core.Store) {
	first := put(t, s, record("grant.g_1", "a", 0))
	r := record("grant.g_1", "b", first)
	r.Revision = put(t, s, r)
	if _, err := s.Put(t.Context(), record("grant.g_1", "c", first)); !errors.Is(err, core.ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
	expect(t, s, r)
}

func createConflict(t *testing.T, s core.Store) {
	put(t, s, record("grant.g_1", "a", 0))
	if _, err := s.Put(t.Context(), record("grant.g_1", "b", 0)); !errors.Is(err, core.ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
	if _, err := s.Put(t.Context(), record("grant.g_2", "b", 7)); !errors.Is(err, core.ErrConflict) {
		t.Errorf("a revision of a key that has none: got %v, want ErrConflict", err)
	}
}

func oneWriterWins(t *testing.T, s core.Store) {
	rev := put(t, s, record("grant.g_1", "a", 0))
	var mu sync.Mutex
	var wins, conflicts int
	var writers sync.WaitGroup
	for i := range 16 {
		writers.Go(func() {
			_, err := s.Put(t.Context(), record("grant.g_1", fmt.Sprint(i), rev))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				wins++
			case errors.Is(err, core.ErrConflict):
				conflicts++
			default:
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	writers.Wait()
	if wins != 1 || conflicts != 15 {
		t.Errorf("%d writers won and %d saw a conflict, want 1 and 15", wins, conflicts)
	}
}

func deleteAtRevision(t *testing.T, s core.Store) {
	first := put(t, s, record("ticket.g_1", "a", 0))
	second := put(t, s, record("ticket.g_1", "b", first))
	if err := s.Delete(t.Context(), "ticket.g_1", first); !errors.Is(err, core.ErrConflict) {
		t.Errorf("delete at an old revision: %v, want ErrConflict", err)
	}
	if err := s.Delete(t.Context(), "ticket.g_1", second); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := s.Get(t.Context(), "ticket.g_1"); !errors.Is(err, core.ErrNoRecord) {
		t.Errorf("get after delete: %v, want ErrNoRecord", err)
	}
}

func putAfterDelete(t *testing.T, s core.Store) {
	rev := put(t, s, record("ticket.g_1", "a", 0))
	if err := s.Delete(t.Context(), "ticket.g_1", rev); err != nil {
		t.Fatal(err)
	}
	r := record("ticket.g_1", "b", 0)
	r.Revision = put(t, s, r)
	if r.Revision <= rev {
		t.Errorf("revision %d after a delete is not above %d", r.Revision, rev)
	}
	expect(t, s, r)
}

func revisionsGrow(t *testing.T, s core.Store) {
	last := uint64(0)
	for i := range 10 {
		rev := put(t, s, record(fmt.Sprintf("grant.g_%d", i%5+10*i), "a", 0))
		if rev <= last {
			t.Errorf("write %d got revision %d, not above %d", i, rev, last)
		}
		last = rev
	}
}

func ttl(t *testing.T, s core.Store) {
	r := record("ticket.g_1", "a", 0)
	r.TTL = time.Second
	put(t, s, r)
	deadline := time.Now().Add(patience)
	for {
		_, err := s.Get(t.Context(), r.Key)
		if errors.Is(err, core.ErrNoRecord) {
			break
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the record is still there after %s, %v", patience, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	put(t, s, record(r.Key, "b", 0))
}

// watch starts a watch and returns its updates.
func watch(t *testing.T, s core.Store) <-chan core.Update {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	updates := make(chan core.Update, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Watch(ctx, func(u core.Update) { updates <- u }); err != nil && ctx.Err() == nil {
			t.Errorf("watch: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return updates
}

// next returns the next update that says something.
func next(t *testing.T, updates <-chan core.Update) core.Update {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case u := <-updates:
			if u.Synced || u.Record.Key != "" {
				return u
			}
		case <-timeout:
			t.Fatalf("the watch told nothing for %s", patience)
		}
	}
}

func watchTells(t *testing.T, s core.Store) {
	rev := put(t, s, record("grant.g_1", "a", 0))
	r := record("grant.g_1", "b", rev)
	r.Revision = put(t, s, r)
	updates := watch(t, s)
	if u := next(t, updates); u.Live || u.Record.Revision != r.Revision || string(u.Record.Secret) != "secret b" || u.Record.Time.IsZero() {
		t.Errorf("first update: live %v, revision %d, want the newest record, not live", u.Live, u.Record.Revision)
	}
	if u := next(t, updates); !u.Synced {
		t.Errorf("second update is about %s, want Synced", u.Record.Key)
	}
	r = record("grant.g_1", "c", r.Revision)
	r.Revision = put(t, s, r)
	if u := next(t, updates); !u.Live || u.Record.Revision != r.Revision {
		t.Errorf("a write while watching: live %v, revision %d; want live and %d", u.Live, u.Record.Revision, r.Revision)
	}
}

func watchEmpty(t *testing.T, s core.Store) {
	if u := next(t, watch(t, s)); !u.Synced {
		t.Errorf("first update is about %s, want Synced", u.Record.Key)
	}
}

func watchHeartbeat(t *testing.T, s core.Store) {
	updates := watch(t, s)
	next(t, updates)
	for range 3 {
		select {
		case <-updates:
		case <-time.After(2 * time.Second):
			t.Fatal("the watch was silent for two seconds; a word each second is promised")
		}
	}
}

func watchDelete(t *testing.T, s core.Store) {
	updates := watch(t, s)
	next(t, updates)
	rev := put(t, s, record("ticket.g_1", "a", 0))
	next(t, updates)
	if err := s.Delete(t.Context(), "ticket.g_1", rev); err != nil {
		t.Fatal(err)
	}
	if u := next(t, updates); !u.Deleted || u.Record.Key != "ticket.g_1" || u.Record.Revision <= rev {
		t.Errorf("got %+v, want the delete", u)
	}
}

func clock(t *testing.T, s core.Store) {
	before, err := s.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, record("grant.g_1", "a", 0))
	r, err := s.Get(t.Context(), "grant.g_1")
	if err != nil {
		t.Fatal(err)
	}
	after, err := s.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Time.Before(before.Add(-time.Second)) || r.Time.After(after.Add(time.Second)) {
		t.Errorf("written at %s, between %s and %s by Now", r.Time, before, after)
	}
}

func doneContext(t *testing.T, s core.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Get(ctx, "grant.g_1"); err == nil || errors.Is(err, core.ErrNoRecord) {
		t.Errorf("get: %v, want the context's error", err)
	}
	if _, err := s.Put(ctx, record("grant.g_1", "a", 0)); err == nil || errors.Is(err, core.ErrConflict) {
		t.Errorf("put: %v, want the context's error", err)
	}
}
