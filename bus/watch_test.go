package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/core"
)

// watching is a running watch whose updates are read one by one.
type watching struct {
	updates chan core.Update
	stop    func()
}

func startWatch(t *testing.T, s core.Store) *watching {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &watching{updates: make(chan core.Update)}
	done := make(chan error, 1)
	go func() {
		done <- s.Watch(ctx, func(u core.Update) {
			select {
			case w.updates <- u:
			case <-ctx.Done():
			}
		})
	}()
	w.stop = func() {
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the watch ended with %v", err)
			}
			done <- err
		case <-time.After(time.Minute):
			t.Error("the watch does not end")
		}
	}
	t.Cleanup(w.stop)
	return w
}

// until reads until an update matches, and returns those about records on the way, the matching one included.
func (w *watching) until(t *testing.T, what string, match func(core.Update) bool) []core.Update {
	t.Helper()
	var seen []core.Update
	deadline := time.After(time.Minute)
	for {
		select {
		case u := <-w.updates:
			if u.Record.Key != "" {
				seen = append(seen, u)
			}
			if match(u) {
				return seen
			}
		case <-deadline:
			t.Fatalf("the watch does not tell: %s", what)
		}
	}
}

func isSynced(u core.Update) bool { return u.Synced }

func isKey(key string) func(core.Update) bool {
	return func(u core.Update) bool { return u.Record.Key == key }
}

func TestWatchOfAnEmptyStoreIsSyncedAtOnce(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	w := startWatch(t, b.Store())
	if seen := w.until(t, "synced", isSynced); len(seen) > 0 {
		t.Errorf("an empty store told %v", seen)
	}
}

func TestWatchTellsWhatThereIsThenWhatIsWritten(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	s := b.Store()
	first := put(t, s, core.Record{Key: "grant.a", Public: []byte(`{"n":1}`), Secret: []byte("x")})
	put(t, s, core.Record{Key: "grant.a", Public: []byte(`{"n":2}`), Secret: []byte("y"), Revision: first})
	gone := put(t, s, core.Record{Key: "grant.gone", Public: []byte(`{}`)})
	if err := s.Delete(testContext(t), "grant.gone", gone); err != nil {
		t.Fatal(err)
	}
	w := startWatch(t, s)
	seen := w.until(t, "synced", isSynced)
	if len(seen) != 1 || seen[0].Live || string(seen[0].Record.Public) != `{"n":2}` || string(seen[0].Record.Secret) != "y" {
		t.Errorf("at the start it told %+v, want the newest of grant.a", seen)
	}
	revision := put(t, s, core.Record{Key: "grant.b", Public: []byte(`{}`)})
	seen = w.until(t, "grant.b", isKey("grant.b"))
	if u := seen[len(seen)-1]; !u.Live || u.Record.Revision != revision {
		t.Errorf("a write while watching was told as %+v, want live, revision %d", u, revision)
	}
	if err := s.Delete(testContext(t), "grant.b", revision); err != nil {
		t.Fatal(err)
	}
	seen = w.until(t, "grant.b removed", isKey("grant.b"))
	if u := seen[len(seen)-1]; !u.Deleted {
		t.Errorf("a removal was told as %+v", u)
	}
}

func TestWatchIsHeardEverySecondWhileTheStoreAnswers(t *testing.T) {
	t.Parallel()
	if 2*pollInterval > time.Second || 2*time.Second > contactAge {
		t.Errorf("it asks every %s, and what it heard is good for %s", pollInterval, contactAge)
	}
	b := openBus(t, embeddedConfig(t.TempDir()))
	put(t, b.Store(), core.Record{Key: "grant.a", Public: []byte(`{}`)})
	w := startWatch(t, b.Store())
	w.until(t, "synced", isSynced)
	longest, heard, late := time.Duration(0), time.Now(), heldUp(t, b.Store(), "grant.a")
	for range 4 {
		select {
		case u := <-w.updates:
			if u.Record.Key != "" || u.Synced || u.Deleted || u.Err != nil {
				t.Errorf("a sign of life is %+v", u)
			}
		case <-time.After(time.Minute):
			t.Fatal("it is silent")
		}
		longest = max(longest, time.Since(heard))
		heard = time.Now()
	}
	if by := late(); longest > time.Second+by {
		t.Errorf("silent for %s, where what else waits and asks the store was held up by %s", longest, by)
	}
}

// heldUp asks for a record as often as a watch asks, until late is called: that returns by how long the machine, and the store,
// held up one who did so at most.
func heldUp(t *testing.T, s core.Store, key string) (late func() time.Duration) {
	t.Helper()
	ctx, enough, most := testContext(t), make(chan struct{}), make(chan time.Duration, 1)
	go func() {
		by := time.Duration(0)
		for {
			select {
			case <-enough:
				most <- by
				return
			default:
			}
			begun := time.Now()
			<-time.After(pollInterval)
			if _, err := s.Get(ctx, key); err != nil {
				t.Error(err)
			}
			by = max(by, time.Since(begun)-pollInterval)
		}
	}()
	late = sync.OnceValue(func() time.Duration {
		close(enough)
		return <-most
	})
	t.Cleanup(func() { late() })
	return late
}

func TestWatchIsSilentWhileTheStoreIsAwayAndResumes(t *testing.T) {
	t.Parallel()
	e := startExternal(t, func(o *server.Options) { o.SyncAlways = true })
	cfg := externalConfig(t, e.ClientURL())
	b, other := openBus(t, cfg), openOther(t, cfg)
	put(t, b.Store(), core.Record{Key: "grant.a", Public: []byte(`{}`)})
	w := startWatch(t, b.Store())
	w.until(t, "synced", isSynced)

	e.stop()
	awaitAway(t, b)
	awaitAway(t, other)
	if heard := drainFor(w, 1500*time.Millisecond); heard > 2 {
		t.Errorf("heard %d signs of life of a store that is away", heard)
	}
	if _, err := b.Store().Put(testContext(t), core.Record{Key: "grant.late", Public: []byte(`{}`)}); err == nil {
		t.Error("a write without a server was taken")
	}
	e.restart(t)
	revision := putWhenUp(t, other.Store(), core.Record{Key: "grant.b", Public: []byte(`{}`)})
	seen := w.until(t, "grant.b", isKey("grant.b"))
	if len(seen) != 1 || seen[0].Record.Revision != revision {
		t.Errorf("after the store came back it told %+v, want grant.b alone", seen)
	}
	eventually(t, "the Bus is ready again", func() bool { return b.Ready() == nil })
	if _, err := b.Store().Get(testContext(t), "grant.late"); !errors.Is(err, core.ErrNoRecord) {
		t.Errorf("a write that had failed came late: %v", err)
	}
	w.until(t, "a sign of life", func(u core.Update) bool { return u.Record.Key == "" })
	put(t, other.Store(), core.Record{Key: "grant.c", Public: []byte(`{}`)})
	if seen := w.until(t, "grant.c", isKey("grant.c")); !seen[len(seen)-1].Live {
		t.Error("a write after the watch had resumed is not live")
	}
}

// openOther opens a second replica on the same server and keyset.
func openOther(t *testing.T, cfg Config) *Bus {
	t.Helper()
	cfg.DataDir = t.TempDir()
	return openBus(t, cfg)
}

func drainFor(w *watching, d time.Duration) int {
	var heard int
	for end := time.After(d); ; {
		select {
		case <-w.updates:
			heard++
		case <-end:
			return heard
		}
	}
}

func putWhenUp(t *testing.T, s core.Store, r core.Record) (revision uint64) {
	t.Helper()
	eventually(t, "the store takes a write", func() bool {
		var err error
		revision, err = s.Put(testContext(t), r)
		return err == nil
	})
	return revision
}

func TestWatchSurvivesTheLossOfItsConsumer(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	s, ctx := b.Store(), testContext(t)
	w := startWatch(t, s)
	w.until(t, "synced", isSynced)
	ses, err := b.opened()
	if err != nil {
		t.Fatal(err)
	}
	names := ses.records.ConsumerNames(ctx)
	for name := range names.Name() {
		if err := ses.records.DeleteConsumer(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, core.Record{Key: "grant.a", Public: []byte(`{}`)})
	w.until(t, "grant.a", isKey("grant.a"))
}

func TestWatchTellsWhatIsGoneFromAStoreThatWentBack(t *testing.T) {
	t.Parallel()
	e := startExternal(t, nil)
	cfg := externalConfig(t, e.ClientURL())
	b := openBus(t, cfg)
	s, ctx := b.Store(), testContext(t)
	put(t, s, core.Record{Key: "grant.a", Public: []byte(`{}`), Secret: []byte("x")})
	put(t, s, core.Record{Key: "grant.b", Public: []byte(`{}`), Secret: []byte("x")})
	w := startWatch(t, s)
	w.until(t, "synced", isSynced)

	ses, err := b.opened()
	if err != nil {
		t.Fatal(err)
	}
	if err := ses.js.DeleteStream(ctx, recordStream); err != nil {
		t.Fatal(err)
	}
	if _, err := ses.ensureStream(ctx, ses.js, recordConfig(1)); err != nil {
		t.Fatal(err)
	}
	put(t, s, core.Record{Key: "grant.b", Public: []byte(`{"again":true}`)})
	seen := w.until(t, "grant.a gone", func(u core.Update) bool { return u.Record.Key == "grant.a" && u.Deleted })
	if !slices.ContainsFunc(seen, func(u core.Update) bool {
		return u.Record.Key == "grant.b" && string(u.Record.Public) == `{"again":true}`
	}) {
		t.Errorf("it told %+v, and not the new grant.b", seen)
	}
}

func TestWatchReadsManyRecords(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	ses, err := b.opened()
	if err != nil {
		t.Fatal(err)
	}
	const many = 2000
	async, err := jetstream.New(ses.state, jetstream.WithPublishAsyncMaxPending(256))
	if err != nil {
		t.Fatal(err)
	}
	for i := range many {
		key := fmt.Sprintf("grant.g_%d", i)
		value := mustEncode(t, ses.keys.now.Load(), key, core.Record{Public: []byte(`{}`), Secret: []byte("token")})
		if _, err := async.PublishAsync(recordPrefix+key, value, jetstream.WithStallWait(30*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	<-async.PublishAsyncComplete()
	w := startWatch(t, b.Store())
	if seen := w.until(t, "synced", isSynced); len(seen) != many {
		t.Errorf("told %d records of %d before it was synced", len(seen), many)
	}
}

func TestWriteThatWasHeardLateIsNotLive(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	w := startWatch(t, b.Store())
	w.until(t, "synced", isSynced)
	put(t, b.Store(), core.Record{Key: "grant.early", Public: []byte(`{}`)})
	// The watch is held up, as that of a stopped process would be: nobody takes what it tells.
	time.Sleep(contactAge + pollInterval + 100*time.Millisecond)
	put(t, b.Store(), core.Record{Key: "grant.later", Public: []byte(`{}`)})
	for _, u := range w.until(t, "grant.later", isKey("grant.later"))[1:] {
		if u.Live {
			t.Errorf("%s was written while the watch did not look on, and is live", u.Record.Key)
		}
	}
	w.until(t, "a sign of life", func(u core.Update) bool { return u.Record.Key == "" })
	put(t, b.Store(), core.Record{Key: "grant.live", Public: []byte(`{}`)})
	if seen := w.until(t, "grant.live", isKey("grant.live")); !seen[len(seen)-1].Live {
		t.Error("a write after that is not live")
	}
}
