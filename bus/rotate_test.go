package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/esignd/esignd/core"
)

func rotate(t *testing.T, b *Bus) KeyStatus {
	t.Helper()
	st, err := b.RotateKeys(testContext(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// primaryOf returns the key that a Bus seals with.
func primaryOf(t *testing.T, b *Bus) uint32 {
	t.Helper()
	ses, err := b.opened()
	if err != nil {
		t.Fatal(err)
	}
	return ses.keys.now.Load().primary
}

// keysOnDisk counts the records of the stream by the id in their ciphertext.
func keysOnDisk(t *testing.T, b *Bus) map[uint32]int {
	t.Helper()
	ses, err := b.opened()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[uint32]int{}
	err = ses.eachSealed(testContext(t), func(r sealedRecord) error {
		id, ok := keyOf(r.Sealed)
		if !ok {
			t.Errorf("%s is sealed in another form than Tink's", r.key)
		}
		counts[id]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return counts
}

// writers change records by compare-and-set until they are stopped.
type writers struct {
	stop   context.CancelFunc
	done   sync.WaitGroup
	mu     sync.Mutex // guards what follows
	writes int
	last   map[string]string // what was acknowledged
}

func startWriters(t *testing.T, stores ...core.Store) *writers {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	w := &writers{stop: cancel, last: map[string]string{}}
	for i, s := range stores {
		for j := range 3 {
			key := fmt.Sprintf("grant.busy_%d_%d", i, j)
			w.done.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					w.write(t, s, core.Record{Key: key, Public: []byte(`{}`), Secret: fmt.Appendf(nil, "%s %d", key, n)})
				}
			})
		}
	}
	t.Cleanup(w.end)
	return w
}

func (w *writers) end() {
	w.stop()
	w.done.Wait()
}

// write writes until it is written: a re-seal may come between.
func (w *writers) write(t *testing.T, s core.Store, r core.Record) {
	for {
		old, err := s.Get(context.Background(), r.Key)
		if err != nil && !errors.Is(err, core.ErrNoRecord) {
			t.Errorf("read %s: %v", r.Key, err)
			return
		}
		r.Revision = old.Revision
		_, err = s.Put(context.Background(), r)
		if errors.Is(err, core.ErrConflict) {
			continue
		}
		if err != nil {
			t.Errorf("write %s: %v", r.Key, err)
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.writes++
		w.last[r.Key] = string(r.Secret)
		return
	}
}

// awaitWrites returns when n more writes were acknowledged.
func (w *writers) awaitWrites(t *testing.T, n int) {
	t.Helper()
	count := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.writes
	}
	until := count() + n
	eventually(t, "writes go on", func() bool { return count() >= until })
}

func (w *writers) check(t *testing.T, s core.Store) {
	t.Helper()
	for key, want := range w.last {
		if r, err := s.Get(testContext(t), key); err != nil || string(r.Secret) != want {
			t.Errorf("%s holds %q, want %q: %v", key, r.Secret, want, err)
		}
	}
}

func TestRotationUnderLoadLeavesNothingUnderTheOldKey(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	old := primaryOf(t, b)
	want := map[string]string{}
	for i := range 100 {
		key := fmt.Sprintf("grant.g_%d", i)
		put(t, b.Store(), core.Record{Key: key, Public: []byte(`{"state":"active"}`), Secret: []byte("token of " + key)})
		want[key] = "token of " + key
	}
	put(t, b.Store(), core.Record{Key: "client.clear", Public: []byte(`{}`)})
	before, err := b.Store().Get(testContext(t), "grant.g_7")
	if err != nil {
		t.Fatal(err)
	}
	w := startWriters(t, b.Store())
	w.awaitWrites(t, 10)
	st := rotate(t, b)
	w.awaitWrites(t, 10)
	w.end()
	if counts := keysOnDisk(t, b); counts[old] != 0 || counts[primaryOf(t, b)] != 103 || primaryOf(t, b) == old {
		t.Errorf("old key %d, primary %d, records by key %v", old, primaryOf(t, b), counts)
	}
	if len(st.Keys) != 2 || st.Keys[0].ID != old || st.Keys[0].Role != KeyOld || st.Keys[0].Records != 0 ||
		st.Keys[1].Role != KeyPrimary || st.Keys[1].Records == 0 || time.Since(st.Keys[1].Made) > time.Minute {
		t.Errorf("status %+v", st)
	}
	for key, secret := range want {
		if r, err := b.Store().Get(testContext(t), key); err != nil || string(r.Secret) != secret {
			t.Errorf("%s holds %q: %v", key, r.Secret, err)
		}
	}
	w.check(t, b.Store())
	after, err := b.Store().Get(testContext(t), "grant.g_7")
	if err != nil || !after.Time.Equal(before.Time) || after.Revision == before.Revision {
		t.Errorf("the record was written at %v, revision %d; after the rotation at %v, revision %d: %v",
			before.Time, before.Revision, after.Time, after.Revision, err)
	}
}

// Whatever stops a rotation after a step, the next run goes on from there.
func TestRotationThatWasStoppedGoesOn(t *testing.T) {
	t.Parallel()
	for _, at := range []KeyStep{KeyAdded, KeyKnown, KeyPromoted, KeyInUse, KeyResealed} {
		t.Run(string(at), func(t *testing.T) {
			cfg := embeddedConfig(t.TempDir())
			cfg.Keys.Wrap = wrapOf(1)
			b := openBus(t, cfg)
			put(t, b.Store(), core.Record{Key: "grant.g_1", Public: []byte(`{}`), Secret: []byte("token")})
			if err := b.Spool().Put(core.Record{Key: "grant.g_2", Public: []byte(`{}`), Secret: []byte("waits")}); err != nil {
				t.Fatal(err)
			}
			old := primaryOf(t, b)
			stopped := errors.New("stopped")
			_, err := b.RotateKeys(testContext(t), func(s KeyStep) error {
				if s == at {
					return stopped
				}
				return nil
			})
			if !errors.Is(err, stopped) {
				t.Fatalf("the rotation ended with %v", err)
			}
			closeBus(t, b)

			b = openBus(t, cfg)
			st := rotate(t, b)
			wantKeys := 2
			if at == KeyResealed { // it had ended, but for the word of it
				wantKeys = 3
			}
			if counts := keysOnDisk(t, b); len(st.Keys) != wantKeys || counts[old] != 0 || counts[primaryOf(t, b)] != 1 {
				t.Errorf("keys %+v, records by key %v", st.Keys, counts)
			}
			if r, err := b.Store().Get(testContext(t), "grant.g_1"); err != nil || string(r.Secret) != "token" {
				t.Errorf("the record holds %q: %v", r.Secret, err)
			}
			if all, err := b.Spool().All(); err != nil || len(all) != 1 || string(all[0].Secret) != "waits" {
				t.Errorf("the spool holds %v: %v", all, err)
			}
		})
	}
}

func TestRotationReachesEveryReplica(t *testing.T) {
	t.Parallel()
	cfg := externalConfig(t, startExternal(t, nil).ClientURL())
	a, b := openBus(t, cfg), openOther(t, cfg)
	old := primaryOf(t, a)
	watch := startWatch(t, b.Store())
	watch.until(t, "synced", isSynced)
	w := startWriters(t, a.Store(), b.Store())
	w.awaitWrites(t, 10)
	st := rotate(t, a)
	w.awaitWrites(t, 10)
	w.end()
	if primaryOf(t, b) != primaryOf(t, a) || primaryOf(t, a) == old {
		t.Errorf("one seals with %d, the other with %d; before it was %d", primaryOf(t, a), primaryOf(t, b), old)
	}
	if counts := keysOnDisk(t, a); counts[old] != 0 || counts[primaryOf(t, a)] != 6 {
		t.Errorf("records by key %v", counts)
	}
	w.check(t, b.Store())
	if len(st.Replicas) != 2 || st.Replicas[0].Primary != st.Replicas[1].Primary || st.Replicas[0].Owner == st.Replicas[1].Owner {
		t.Errorf("replicas %+v", st.Replicas)
	}
	put(t, a.Store(), core.Record{Key: "grant.last", Public: []byte(`{}`), Secret: []byte("x")})
	for _, u := range watch.until(t, "the last write", isKey("grant.last")) {
		if u.Err != nil {
			t.Errorf("the watch of the other replica was told %v", u.Err)
		}
	}
}

func TestRollCallIsAnsweredToInboxesAlone(t *testing.T) {
	t.Parallel()
	b := openBus(t, externalConfig(t, startExternal(t, nil).ClientURL()))
	nc := dialOutside(t, b)
	if err := nc.PublishRequest(rollCallSubject("esign"), recordPrefix+"grant.g_1", nil); err != nil {
		t.Fatal(err)
	}
	// Roll calls are answered one after the other: when this one is, so would the first be.
	if m, err := nc.Request(rollCallSubject("esign"), nil, 15*time.Second); err != nil || !strings.Contains(string(m.Data), b.Owner()) {
		t.Errorf("an inbox gets %v, %v", m, err)
	}
	if _, err := b.Store().Get(testContext(t), "grant.g_1"); !errors.Is(err, core.ErrNoRecord) {
		t.Errorf("a record was written by an answer: %v", err)
	}
}

// change edits a keyset behind the back of those that use it.
func change(t *testing.T, b *Bus, edit func(*keyset.Manager, map[uint32]time.Time) error) *sealer {
	t.Helper()
	ses, err := b.opened()
	if err != nil {
		t.Fatal(err)
	}
	if err := ses.keys.file.change(testContext(t), edit); err != nil {
		t.Fatal(err)
	}
	s, _, err := ses.keys.file.read(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A replica that heard nothing of a rotation learns of it from the first record that it meets.
func TestReplicaThatSleptLearnsOfTheRotation(t *testing.T) {
	t.Parallel()
	for name, asleep := range map[string]int{"through all of it": 0, "since the key was added": 1} {
		t.Run(name, func(t *testing.T) {
			b := openBus(t, embeddedConfig(t.TempDir()))
			ses, err := b.opened()
			if err != nil {
				t.Fatal(err)
			}
			var id uint32
			change(t, b, func(m *keyset.Manager, _ map[uint32]time.Time) (err error) {
				id, err = m.Add(aead.XAES256GCM192BitNonceKeyTemplate())
				return err
			})
			if asleep == 1 {
				if err := ses.keys.reload(testContext(t)); err != nil {
					t.Fatal(err)
				}
			}
			s := change(t, b, func(m *keyset.Manager, _ map[uint32]time.Time) error { return m.SetPrimary(id) })
			value := mustEncode(t, s, "grant.g_1", core.Record{Public: []byte(`{}`), Secret: []byte("token")})
			if _, err := ses.js.Publish(testContext(t), recordPrefix+"grant.g_1", value); err != nil {
				t.Fatal(err)
			}
			if primaryOf(t, b) == id {
				t.Fatal("it knows already")
			}
			if r, err := b.Store().Get(testContext(t), "grant.g_1"); err != nil || string(r.Secret) != "token" {
				t.Errorf("read %q: %v", r.Secret, err)
			}
			put(t, b.Store(), core.Record{Key: "grant.g_2", Public: []byte(`{}`), Secret: []byte("token")})
			if counts := keysOnDisk(t, b); counts[id] != 2 {
				t.Errorf("records by key %v, want both under %d", counts, id)
			}
		})
	}
}
