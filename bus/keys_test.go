package bus

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/core"
)

func TestKeysetOfOthersIsNotTaken(t *testing.T) {
	t.Parallel()
	b, other := openBus(t, embeddedConfig(t.TempDir())), openBus(t, embeddedConfig(t.TempDir()))
	record := core.Record{Key: "grant.g_1", Public: []byte(`{}`), Secret: []byte("token")}
	put(t, b.Store(), record)
	ours, err := b.opened()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := other.opened()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(theirs.keys.file.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeFile(ours.keys.file.path, content); err != nil {
		t.Fatal(err)
	}
	if _, err := b.RotateKeys(testContext(t), nil); err == nil || !strings.Contains(err.Error(), "put the right one back") {
		t.Errorf("rotate with another keyset: %v", err)
	}
	if after, err := os.ReadFile(ours.keys.file.path); err != nil || !slices.Equal(after, content) {
		t.Errorf("the rotation changed the file: %v", err)
	}
	if r, err := b.Store().Get(testContext(t), "grant.g_1"); err != nil || string(r.Secret) != "token" {
		t.Errorf("read %q: %v", r.Secret, err)
	}
}

func TestOneRotationAtATime(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	var inner error
	_, err := b.RotateKeys(testContext(t), func(s KeyStep) error {
		if s == KeyAdded {
			_, inner = b.RotateKeys(testContext(t), nil)
		}
		return nil
	})
	if err != nil || !errors.Is(inner, errLocked) {
		t.Errorf("the rotation: %v, one within it: %v", err, inner)
	}
}

func TestOldKeysAreDroppedOnceNothingIsUnderThem(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	if _, err := b.DropKeys(testContext(t)); !errors.Is(err, errNoOldKeys) {
		t.Errorf("with one key: %v", err)
	}
	ses, err := b.opened()
	if err != nil {
		t.Fatal(err)
	}
	stale := ses.keys.now.Load()
	record := core.Record{Key: "grant.g_1", Public: []byte(`{}`), Secret: []byte("token")}
	put(t, b.Store(), record)
	if err := b.Spool().Put(record); err != nil {
		t.Fatal(err)
	}
	rotate(t, b)
	if _, err := b.DropKeys(testContext(t)); err == nil || !strings.Contains(err.Error(), "1 waiting outcomes") {
		t.Errorf("with an outcome under the old key: %v", err)
	}
	if err := b.Spool().Remove(record.Key); err != nil {
		t.Fatal(err)
	}
	late := &nats.Msg{Subject: recordPrefix + "grant.late", Data: mustEncode(t, stale, "grant.late", record)}
	if _, err := ses.js.PublishMsg(testContext(t), late); err != nil {
		t.Fatal(err)
	}
	if _, err := b.DropKeys(testContext(t)); err == nil || !strings.Contains(err.Error(), "1 records") {
		t.Errorf("with a record under the old key: %v", err)
	}
	if st := rotate(t, b); len(st.Keys) != 2 {
		t.Errorf("a record under the old key was no rotation to be ended: %+v", st.Keys)
	}
	st, err := b.DropKeys(testContext(t))
	if err != nil || len(st.Keys) != 1 || st.Keys[0].Role != KeyPrimary || st.Keys[0].Records != 2 {
		t.Errorf("keys %+v: %v", st.Keys, err)
	}
	// What somebody seals with the old key now is not believed.
	if _, err := ses.js.PublishMsg(testContext(t), late); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Store().Get(testContext(t), "grant.late"); !errors.Is(err, core.ErrDamaged) {
		t.Errorf("read what is under a dropped key: %v, want ErrDamaged", err)
	}
}

func TestDamagedRecordHoldsUpNoRotation(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	ses, err := b.opened()
	if err != nil {
		t.Fatal(err)
	}
	// It was moved from another grant.
	value := mustEncode(t, ses.keys.now.Load(), "grant.g_2", core.Record{Public: []byte(`{}`), Secret: []byte("token")})
	if _, err := ses.js.Publish(testContext(t), recordPrefix+"grant.g_1", value); err != nil {
		t.Fatal(err)
	}
	for n := 2; n <= 3; n++ {
		st := rotate(t, b)
		if len(st.Keys) != n || st.Keys[0].Damaged != 1 || st.Keys[0].Records != 0 {
			t.Errorf("keys %+v, want %d and one damaged record", st.Keys, n)
		}
	}
	if r, err := ses.records.GetLastMsgForSubject(testContext(t), recordPrefix+"grant.g_1"); err != nil || cmp.Diff(value, r.Data) != "" {
		t.Errorf("the damaged record was changed: %v", err)
	}
}

func TestRecordsThatEndDoSoAfterARotation(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	put(t, b.Store(), core.Record{Key: "ticket.1", Public: []byte(`{}`), Secret: []byte("link"), TTL: 10 * time.Minute})
	rotate(t, b)
	ses, err := b.opened()
	if err != nil {
		t.Fatal(err)
	}
	m, err := ses.records.GetLastMsgForSubject(testContext(t), recordPrefix+"ticket.1")
	if err != nil {
		t.Fatal(err)
	}
	ttl, err := time.ParseDuration(m.Header.Get(jetstream.MsgTTLHeader))
	if err != nil || ttl > 10*time.Minute || ttl < 8*time.Minute {
		t.Errorf("the ticket's TTL is %q: %v", m.Header.Get(jetstream.MsgTTLHeader), err)
	}
	if id, _ := keyOf(mustEnvelope(t, "ticket.1", m.Data).Sealed); id != primaryOf(t, b) {
		t.Errorf("the ticket is under %d", id)
	}
}

func mustEnvelope(t *testing.T, key string, value []byte) envelope {
	t.Helper()
	e, err := readEnvelope(key, value)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
