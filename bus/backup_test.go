package bus

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/esignd/esignd/core"
)

func sampleGrant(id string, generation uint64) core.Record {
	return core.Record{
		Key: "grant." + id, Secret: []byte(`{"access_token":"at-` + id + `","refresh_token":"rt-` + id + `"}`),
		Public: fmt.Appendf(nil, `{"format":1,"id":%q,"tenant":"default","client":"main","vendor":"adobesign","account":"alice@example.com","state":"active","consent":"c","generation":%d,"lifetime":3600000000000}`, id, generation),
	}
}

// stock puts n grants, a client, a key, and what does not belong in a backup into the store.
func stock(t *testing.T, b *Bus, n int) {
	t.Helper()
	for i := range n {
		put(t, b.Store(), sampleGrant(fmt.Sprintf("g_%d", i), 3))
	}
	put(t, b.Store(), core.Record{Key: "client.main", Public: []byte(`{"format":1,"name":"main","vendor":"adobesign"}`)})
	put(t, b.Store(), core.Record{Key: "key.fingerprint", Public: []byte(`{"format":1}`), Secret: []byte("print-key")})
	put(t, b.Store(), core.Record{Key: "ticket.g_0", Public: []byte(`{"format":1}`), Secret: []byte(`{}`), TTL: time.Minute})
	put(t, b.Store(), core.Record{Key: "import.g_0", Public: []byte(`{}`), TTL: time.Minute})
}

// backUp backs up a Bus that runs, or with nil the store of one that is stopped.
func backUp(t *testing.T, cfg Config, b *Bus) ([]byte, BackupInfo) {
	t.Helper()
	var file bytes.Buffer
	var err error
	if b != nil {
		err = b.Backup(testContext(t), &file)
	} else {
		err = BackupStopped(testContext(t), cfg, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	info, err := CheckBackup(testContext(t), cfg, bytes.NewReader(file.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes(), info
}

// restoreInto restores and returns what became of each record.
func restoreInto(t *testing.T, cfg Config, file []byte, dry bool) (map[string]core.RestoreResult, error) {
	t.Helper()
	done := map[string]core.RestoreResult{}
	_, err := Restore(testContext(t), cfg, bytes.NewReader(file), dry, func(r core.Restoration) { done[r.Key] = r.Result })
	return done, err
}

// giveKeyset copies the keyset of one data_dir to another.
func giveKeyset(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(from, keysetFile))
	if err == nil {
		err = os.WriteFile(filepath.Join(to, keysetFile), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestBackupOfARunningBusIsRestoredIntoAnEmptyOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := embeddedConfig(dir)
	b := openBus(t, cfg)
	stock(t, b, 300)
	file, info := backUp(t, cfg, b)
	if info.Records != 302 || info.Grants != 300 || info.Owner != b.Owner() || time.Since(info.Time).Abs() > time.Minute {
		t.Errorf("the backup is said to be %+v", info)
	}
	if err := b.Ready(); err != nil {
		t.Errorf("after the backup: %v", err)
	}
	closeBus(t, b)
	_, stopped := backUp(t, cfg, nil)
	if stopped.Records != info.Records || stopped.Owner != info.Owner {
		t.Errorf("the backup of the stopped one is said to be %+v", stopped)
	}
	to := embeddedConfig(t.TempDir())
	giveKeyset(t, dir, to.DataDir)
	if done, err := restoreInto(t, to, file, true); err != nil || len(done) != 302 {
		t.Fatalf("dry run: %d records, %v", len(done), err)
	}
	for round, want := range []core.RestoreResult{core.Restored, core.Kept} {
		done, err := restoreInto(t, to, file, false)
		if err != nil || len(done) != 302 || done["grant.g_7"] != want || done["client.main"] != want || done["key.fingerprint"] != want {
			t.Fatalf("round %d: %d records, grant.g_7 %s, %v", round, len(done), done["grant.g_7"], err)
		}
	}
	r, err := openBus(t, to).Store().Get(testContext(t), "grant.g_7")
	if err != nil || !bytes.Contains(r.Public, []byte(`"generation":4`)) || !bytes.Contains(r.Public, []byte(`"restored":true`)) || !bytes.Contains(r.Secret, []byte("rt-g_7")) {
		t.Errorf("the grant came back as %s, %v", r.Public, err)
	}
}

func TestBackupTellsNothingOutsideTheSeal(t *testing.T) {
	t.Parallel()
	cfg := embeddedConfig(t.TempDir())
	b := openBus(t, cfg)
	stock(t, b, 3)
	file, _ := backUp(t, cfg, b)
	for _, word := range []string{"rt-g_1", "at-g_1", "g_1", "alice", "adobesign", "main", "generation", "print-key",
		base64.StdEncoding.EncodeToString([]byte("print-key"))[:8]} {
		if bytes.Contains(file, []byte(word)) {
			t.Errorf("%q can be read in the backup", word)
		}
	}
	if !bytes.HasPrefix(file, []byte(backupMagic)) || !bytes.Contains(file, []byte(b.Owner())) {
		t.Error("the backup does not say what it is and whose")
	}
}

// Whatever was done to a backup is found before anything is written.
func TestDamagedBackupIsRefused(t *testing.T) {
	t.Parallel()
	cfg := embeddedConfig(t.TempDir())
	b := openBus(t, cfg)
	stock(t, b, 400) // several segments
	file, _ := backUp(t, cfg, b)
	closeBus(t, b)
	if len(file) < 2*backupSegment {
		t.Fatalf("the backup has %d bytes; the test needs more than two segments", len(file))
	}
	_, keys, err := offline(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	broken := func(what string, file []byte) {
		t.Helper()
		if _, err := keys.readBackup(bytes.NewReader(file), func(core.Record) error { return nil }); err == nil {
			t.Errorf("%s was not noticed", what)
		}
	}
	for n := 0; n < len(file); n += 1 + n/50 {
		broken(fmt.Sprintf("a file cut to %d of %d bytes", n, len(file)), file[:n])
		flipped := bytes.Clone(file)
		flipped[n] ^= 1
		broken(fmt.Sprintf("a bit flipped in byte %d", n), flipped)
	}
	header := bytes.IndexByte(file[len(backupMagic):], '\n') + len(backupMagic) + 1
	last := len(file) - 1
	broken("a byte less", file[:last])
	broken("a byte more", append(bytes.Clone(file), 'x'))
	broken("the file twice", append(bytes.Clone(file), file[header:]...))
	first, second := file[header+backupSegment:header+2*backupSegment], file[header:header+backupSegment]
	broken("two segments in each other's place", append(append(append(bytes.Clone(file[:header]), first...), second...), file[header+2*backupSegment:]...))
	broken("a segment missing", append(bytes.Clone(file[:header+backupSegment]), file[header+2*backupSegment:]...))
}

func TestRestoreRefusesWhatItCannotReadAndWritesNothing(t *testing.T) {
	t.Parallel()
	cfg := embeddedConfig(t.TempDir())
	b := openBus(t, cfg)
	stock(t, b, 2)
	file, _ := backUp(t, cfg, b)
	closeBus(t, b)
	other := embeddedConfig(t.TempDir())
	closeBus(t, openBus(t, other))
	cut, flipped := file[:len(file)-1], bytes.Clone(file)
	flipped[len(file)-40] ^= 1
	later := bytes.Replace(file, []byte(backupMagic), []byte("esignd backup 2\n"), 1)
	for name, c := range map[string]struct {
		cfg  Config
		file []byte
		want string
	}{
		"wrong keyset":   {other, file, "made by an esignd with another keyset"},
		"truncated":      {cfg, cut, "changed, or cut short"},
		"flipped byte":   {cfg, flipped, "changed, or cut short"},
		"foreign file":   {cfg, []byte("PK\x03\x04 not ours\n"), "not a backup that esignd wrote"},
		"empty file":     {cfg, nil, "not a backup that esignd wrote"},
		"later format":   {cfg, later, `of format "2"`},
		"without keyset": {embeddedConfig(t.TempDir()), file, "there is no keyset at"},
	} {
		before := tree(t, c.cfg.DataDir)
		done, err := restoreInto(t, c.cfg, c.file, false)
		if err == nil || !strings.Contains(err.Error(), c.want) || len(done) != 0 {
			t.Errorf("%s: %v, %d records; want an error with %q", name, err, len(done), c.want)
		}
		if diff := cmp.Diff(before, tree(t, c.cfg.DataDir)); diff != "" {
			t.Errorf("%s: data_dir was changed: %s", name, diff)
		}
	}
}

// tree lists the files of a folder with their content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestRestoreWantsTheDaemonStopped(t *testing.T) {
	t.Parallel()
	cfg := embeddedConfig(t.TempDir())
	b := openBus(t, cfg)
	stock(t, b, 1)
	file, _ := backUp(t, cfg, b)
	if _, err := restoreInto(t, cfg, file, false); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "stopped") {
		t.Errorf("restore under a running daemon: %v", err)
	}
}

func TestBackupOfAnExternalServer(t *testing.T) {
	t.Parallel()
	cfg := externalConfig(t, startExternal(t, nil).ClientURL())
	b := openBus(t, cfg)
	stock(t, b, 20)
	running, info := backUp(t, cfg, b)
	if info.Records != 22 {
		t.Errorf("asked of the one that runs: %+v", info)
	}
	elsewhere := cfg
	elsewhere.DataDir = t.TempDir()
	if _, own := backUp(t, elsewhere, nil); !cmp.Equal(info, own, cmpopts.IgnoreFields(BackupInfo{}, "Time", "Owner")) {
		t.Errorf("read by ourselves: %+v; asked: %+v", own, info)
	}
	to := externalConfig(t, startExternal(t, nil).ClientURL())
	to.Keys = cfg.Keys
	live := openBus(t, to) // a replica that serves meanwhile
	to.DataDir = t.TempDir()
	if done, err := restoreInto(t, to, running, false); err != nil || done["grant.g_3"] != core.Restored {
		t.Errorf("into an external server: %v, %v", done, err)
	}
	if _, err := live.Store().Get(testContext(t), "grant.g_3"); err != nil {
		t.Error(err)
	}
}

// A record that cannot be read is left out and named, and a backup mends it.
func TestDamagedRecordIsLeftOutOfABackupAndMendedByOne(t *testing.T) {
	t.Parallel()
	cfg := externalConfig(t, startExternal(t, nil).ClientURL())
	b := openBus(t, cfg)
	stock(t, b, 3)
	whole, _ := backUp(t, cfg, b)
	ses, err := b.opened()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ses.js.Publish(testContext(t), recordPrefix+"grant.g_1", []byte(`{"v":1,"public":{},"sea`)); err != nil {
		t.Fatal(err)
	}
	if _, err := ses.js.Publish(testContext(t), recordPrefix+"grant.g_2", []byte(`{"v":99}`)); err != nil {
		t.Fatal(err)
	}
	_, info := backUp(t, cfg, b)
	if diff := cmp.Diff([]string{"grant.g_1", "grant.g_2"}, info.Unreadable, cmpopts.SortSlices(strings.Compare)); diff != "" || info.Grants != 1 {
		t.Errorf("unreadable: %s; %+v", diff, info)
	}
	cfg.DataDir = t.TempDir()
	done, err := restoreInto(t, cfg, whole, false)
	if err != nil || done["grant.g_1"] != core.Restored || done["grant.g_2"] != core.Kept || done["grant.g_0"] != core.Kept {
		t.Errorf("%v, %v", done, err)
	}
}

// FuzzBackup reads anything as a backup. Only what was written is taken for one.
func FuzzBackup(f *testing.F) {
	h, err := keyset.NewHandle(aead.XAES256GCM192BitNonceKeyTemplate())
	if err != nil {
		f.Fatal(err)
	}
	keys, err := newSealer(h)
	if err != nil {
		f.Fatal(err)
	}
	var file bytes.Buffer
	w, err := keys.newBackup(&file, backupHeader{Time: time.Now(), Owner: "here"})
	if err == nil {
		err = errors.Join(w.add(sampleGrant("g_1", 1)), w.close(nil))
	}
	if err != nil {
		f.Fatal(err)
	}
	whole := file.Bytes()
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte(backupMagic + "{}\n"))
	f.Add([]byte(backupMagic + `{"key":"AQAAAAA="}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := keys.readBackup(bytes.NewReader(b), func(core.Record) error { return nil })
		if same := bytes.Equal(b, whole); (err == nil) != same || same && info.Records != 1 {
			t.Errorf("%d bytes are taken for %+v, %v", len(b), info, err)
		}
	})
}
