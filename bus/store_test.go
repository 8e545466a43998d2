package bus

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/core"
)

func TestStoreGivesBackWhatWasPut(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	s := b.Store()
	want := core.Record{Key: "grant.g_1", Public: []byte(`{ "a": "<&>", "b" :1.0 }`), Secret: []byte("s3cr3t\x00\xff")}
	want.Revision = put(t, s, want)
	before, err := s.Now(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(testContext(t), want.Key)
	if err != nil {
		t.Fatal(err)
	}
	if got.Time.IsZero() || got.Time.After(before) {
		t.Errorf("written at %v, while the store's clock later says %v", got.Time, before)
	}
	got.Time = time.Time{}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

func TestStoreRefusesAWriteOverAnotherRevision(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	s, ctx := b.Store(), testContext(t)
	r := core.Record{Key: "grant.g_1", Public: []byte(`{"n":1}`)}
	first := put(t, s, r)
	if _, err := s.Put(ctx, r); !errors.Is(err, core.ErrConflict) {
		t.Errorf("create over a record: %v, want ErrConflict", err)
	}
	r.Revision = first
	second := put(t, s, r)
	if _, err := s.Put(ctx, r); !errors.Is(err, core.ErrConflict) {
		t.Errorf("write over an old revision: %v, want ErrConflict", err)
	}
	if err := s.Delete(ctx, r.Key, first); !errors.Is(err, core.ErrConflict) {
		t.Errorf("remove an old revision: %v, want ErrConflict", err)
	}
	if err := s.Delete(ctx, r.Key, second); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, r.Key); !errors.Is(err, core.ErrNoRecord) {
		t.Errorf("read what was removed: %v, want ErrNoRecord", err)
	}
	if _, err := s.Put(ctx, r); !errors.Is(err, core.ErrConflict) {
		t.Errorf("write over what was removed: %v, want ErrConflict", err)
	}
	r.Revision = 0
	if third := put(t, s, r); third <= second {
		t.Errorf("revision %d after %d: revisions grow", third, second)
	}
}

func TestStoreRefusesKeysThatAreNoSubject(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	for _, key := range []string{"", "a", ".", "a.", ".a", "a..b", "a.*", "a.>", "a.b c", "a.b/../c", "a.\n"} {
		if _, err := b.Store().Put(testContext(t), core.Record{Key: key, Public: []byte(`{}`)}); err == nil {
			t.Errorf("key %q was taken", key)
		}
		if err := b.Spool().Put(core.Record{Key: key, Public: []byte(`{}`)}); err == nil {
			t.Errorf("key %q was spooled", key)
		}
	}
}

func TestStoreDropsARecordAfterItsTTL(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	s, ctx := b.Store(), testContext(t)
	w := startWatch(t, s)
	w.until(t, "synced", func(u core.Update) bool { return u.Synced })
	put(t, s, core.Record{Key: "ticket.1", Public: []byte(`{}`), TTL: 100 * time.Millisecond})
	w.until(t, "written", func(u core.Update) bool { return u.Record.Key == "ticket.1" && !u.Deleted })
	w.until(t, "dropped", func(u core.Update) bool { return u.Record.Key == "ticket.1" && u.Deleted })
	if _, err := s.Get(ctx, "ticket.1"); !errors.Is(err, core.ErrNoRecord) {
		t.Errorf("read what has ended: %v, want ErrNoRecord", err)
	}
	put(t, s, core.Record{Key: "ticket.1", Public: []byte(`{}`)})
}

func TestStoreTellsDamageByKeyAndGoesOn(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	s, ctx := b.Store(), testContext(t)
	whole := core.Record{Key: "grant.whole", Public: []byte(`{"state":"active"}`), Secret: []byte("token")}
	put(t, s, whole)
	ses, err := b.opened()
	if err != nil {
		t.Fatal(err)
	}
	value, err := ses.keys.encode("grant.moved", whole.Public, whole.Secret)
	if err != nil {
		t.Fatal(err)
	}
	damaged := map[string][]byte{
		"grant.foreign": mustEncode(t, goldenSealer(t), "grant.foreign", whole), // with the key of another keyset
		"grant.huge":    bytes.Repeat([]byte(`{"v":1,"public":`), 50_000),
		"grant.bare":    []byte(`{"state":"active"}`), // without a format
		"grant.torn":    value[:len(value)/2],
		"grant.junk":    []byte("\x00\x01"),
		"grant.empty":   nil,
		"grant.later":   []byte(`{"v":2,"public":{}}`),
		"grant.other":   value, // sealed for another key
		"grant.changed": bytes.Replace(mustEncode(t, ses.keys.now.Load(), "grant.changed", whole), []byte("active"), []byte("revoke"), 1),
	}
	for key, v := range damaged {
		if _, err := ses.js.PublishMsg(ctx, &nats.Msg{Subject: recordPrefix + key, Data: v}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(ctx, key); !errors.Is(err, core.ErrDamaged) {
			t.Errorf("read %s: %v, want ErrDamaged", key, err)
		}
	}
	w := startWatch(t, s)
	seen := w.until(t, "synced", func(u core.Update) bool { return u.Synced })
	for _, u := range seen {
		if _, bad := damaged[u.Record.Key]; bad != errors.Is(u.Err, core.ErrDamaged) {
			t.Errorf("%s: error %v", u.Record.Key, u.Err)
		}
		delete(damaged, u.Record.Key)
	}
	if len(damaged) > 0 {
		t.Errorf("not told: %v", damaged)
	}
}

func mustEncode(t *testing.T, s *sealer, key string, r core.Record) []byte {
	t.Helper()
	b, err := s.encode(key, r.Public, r.Secret)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNoSecretReachesTheDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := openBus(t, embeddedConfig(dir))
	const canary = "canary-5f0c2e7d"
	r := core.Record{Key: "grant.g_1", Public: []byte(`{"shown":"canary-public"}`), Secret: []byte(canary)}
	put(t, b.Store(), r)
	if err := b.Spool().Put(r); err != nil {
		t.Fatal(err)
	}
	closeBus(t, b)
	var public int
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(canary)) {
			t.Errorf("%s holds the secret", path)
		}
		public += bytes.Count(content, []byte("canary-public"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if public < 2 {
		t.Errorf("found the public part %d times, so the search proves nothing", public)
	}
}

func TestPartsOfABusThatIsNotRunningSaySo(t *testing.T) {
	t.Parallel()
	b, err := New(embeddedConfig(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	_, getErr := b.Store().Get(ctx, "grant.g_1")
	_, putErr := b.Store().Put(ctx, core.Record{Key: "grant.g_1", Public: []byte(`{}`)})
	errs := []error{
		getErr, putErr, b.Ready(), b.Spool().Put(core.Record{Key: "grant.g_1", Public: []byte(`{}`)}),
		b.Publisher().Publish(ctx, core.Event{}), b.Timers().Arm(ctx, "v", "g", time.Now()),
		b.Store().Watch(ctx, func(core.Update) {}),
	}
	for i, err := range errs {
		if !errors.Is(err, ErrNotRunning) {
			t.Errorf("call %d: %v, want ErrNotRunning", i, err)
		}
	}
	if b.Owner() != "" || b.Conn() != nil || b.ClientURL() != "" {
		t.Error("a Bus that is not running has an owner, a connection or an address")
	}
}
