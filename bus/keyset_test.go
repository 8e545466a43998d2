package bus

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/esignd/esignd/core"
)

func wrapOf(b byte) core.Secret {
	return core.NewSecret(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, wrapKeySize)))
}

func TestKeysetIsMadeOnceAndReadAfter(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]core.Secret{"clear": {}, "wrapped": wrapOf(1)} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			cfg := embeddedConfig(t.TempDir())
			cfg.Keys.Wrap, cfg.Logger = wrap, slog.New(slog.NewTextHandler(&log, nil))
			b := openBus(t, cfg)
			put(t, b.Store(), core.Record{Key: "grant.g_1", Public: []byte(`{}`), Secret: []byte("token")})
			closeBus(t, b)
			info, err := os.Stat(filepath.Join(cfg.DataDir, keysetFile))
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != 0o600 {
				t.Errorf("the keyset's mode is %v", info.Mode())
			}
			b = openBus(t, cfg)
			if r, err := b.Store().Get(testContext(t), "grant.g_1"); err != nil || string(r.Secret) != "token" {
				t.Errorf("read with the same keyset: %v", err)
			}
			if warned := strings.Contains(log.String(), "not wrapped"); warned != wrap.IsZero() {
				t.Errorf("warned of a keyset in the clear: %v", warned)
			}
		})
	}
}

// filesOf returns the content of a data_dir but for what a start always writes.
func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == lockFile || strings.Contains(path, serverFolder) {
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

func TestWrongKeyIsToldAndTouchesNothing(t *testing.T) {
	t.Parallel()
	cfg := embeddedConfig(t.TempDir())
	cfg.Keys.Wrap = wrapOf(1)
	b := openBus(t, cfg)
	record := core.Record{Key: "grant.g_1", Public: []byte(`{}`), Secret: []byte("token")}
	revision := put(t, b.Store(), record)
	closeBus(t, b)
	path := filepath.Join(cfg.DataDir, keysetFile)
	right, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(name, want string, cfg Config) {
		t.Helper()
		before := filesOf(t, cfg.DataDir)
		_, err := Open(testContext(t), cfg)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error about %q", name, err, want)
		}
		if after := filesOf(t, cfg.DataDir); len(after) != len(before) || after[path] != before[path] {
			t.Errorf("%s: the start changed files", name)
		}
	}
	other := cfg
	other.Keys.Wrap = wrapOf(2)
	refused("another wrap key", "does not open with keys.wrap", other)
	other.Keys.Wrap = core.Secret{}
	refused("no wrap key", "set keys.wrap", other)
	other.Keys.Wrap = core.NewSecret("c2hvcnQ=")
	refused("a short wrap key", "32 bytes", other)

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	refused("no keyset", "there is no keyset", cfg)
	strange := embeddedConfig(t.TempDir())
	strange.Keys.Wrap = cfg.Keys.Wrap
	closeBus(t, openBus(t, strange))
	wrong, err := os.ReadFile(filepath.Join(strange.DataDir, keysetFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ content, want string }{
		"another keyset": {string(wrong), "not the one that the records are sealed with"},
		"a torn keyset":  {string(right[:len(right)/2]), "not a Tink keyset"},
		"an empty one":   {"{}", "holds no keys"},
	} {
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(name, c.want, cfg)
	}

	if err := os.WriteFile(path, right, 0o600); err != nil {
		t.Fatal(err)
	}
	b = openBus(t, cfg)
	got, err := b.Store().Get(testContext(t), record.Key)
	if err != nil || got.Revision != revision || string(got.Secret) != "token" {
		t.Errorf("with the right keyset again: revision %d, %v", got.Revision, err)
	}
}

func TestKeysetIsNotMadeAnewOverASpooledRecord(t *testing.T) {
	t.Parallel()
	cfg := embeddedConfig(t.TempDir())
	b := openBus(t, cfg)
	if err := b.Spool().Put(core.Record{Key: "grant.g_1", Public: []byte(`{}`), Secret: []byte("token")}); err != nil {
		t.Fatal(err)
	}
	closeBus(t, b)
	if err := os.Remove(filepath.Join(cfg.DataDir, keysetFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(testContext(t), cfg); err == nil || !strings.Contains(err.Error(), "there is no keyset") {
		t.Errorf("start without the keyset of what is spooled: %v", err)
	}
}

func TestKeysetIsNotMadeAnewOverRecordsWithoutSecrets(t *testing.T) {
	t.Parallel()
	cfg := embeddedConfig(t.TempDir())
	b := openBus(t, cfg)
	put(t, b.Store(), core.Record{Key: "client.main", Public: []byte(`{}`)})
	closeBus(t, b)
	if err := os.Remove(filepath.Join(cfg.DataDir, keysetFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(testContext(t), cfg); err == nil || !strings.Contains(err.Error(), "there is no keyset") {
		t.Errorf("start without the keyset: %v", err)
	}
}

func TestOneDamagedRecordDoesNotStopTheStart(t *testing.T) {
	t.Parallel()
	cfg := embeddedConfig(t.TempDir())
	b := openBus(t, cfg)
	ses, err := b.opened()
	if err != nil {
		t.Fatal(err)
	}
	value := mustEncode(t, ses.keys.now.Load(), "grant.g_1", core.Record{Public: []byte(`{}`), Secret: []byte("token")})
	value[len(value)-6] ^= 1
	if _, err := ses.js.Publish(testContext(t), recordPrefix+"grant.g_1", value); err != nil {
		t.Fatal(err)
	}
	closeBus(t, b)
	b = openBus(t, cfg)
	if _, err := b.Store().Get(testContext(t), "grant.g_1"); !errors.Is(err, core.ErrDamaged) {
		t.Errorf("read the damaged record: %v", err)
	}
}

func TestClearKeysetIsWrappedOnceThereIsAKey(t *testing.T) {
	t.Parallel()
	cfg := embeddedConfig(t.TempDir())
	b := openBus(t, cfg)
	put(t, b.Store(), core.Record{Key: "grant.g_1", Public: []byte(`{}`), Secret: []byte("token")})
	closeBus(t, b)
	cfg.Keys.Wrap = wrapOf(1)
	closeBus(t, openBus(t, cfg))
	content, err := os.ReadFile(filepath.Join(cfg.DataDir, keysetFile))
	if err != nil {
		t.Fatal(err)
	}
	if wrapped, err := isWrapped(content); err != nil || !wrapped {
		t.Errorf("the keyset still lies in the clear: %v", err)
	}
	b = openBus(t, cfg)
	if r, err := b.Store().Get(testContext(t), "grant.g_1"); err != nil || string(r.Secret) != "token" {
		t.Errorf("read after wrapping: %v", err)
	}
}

func TestWrapKeyMayBeWrittenInAnyUsualForm(t *testing.T) {
	t.Parallel()
	raw := bytes.Repeat([]byte{0xfb, 0x01}, wrapKeySize/2)
	for _, text := range []string{
		hex.EncodeToString(raw), base64.StdEncoding.EncodeToString(raw), base64.RawStdEncoding.EncodeToString(raw),
		base64.URLEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw),
		base64.StdEncoding.EncodeToString(raw) + "\n",
	} {
		if got, err := parseWrapKey(core.NewSecret(text)); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := parseWrapKey(core.NewSecret("hunter2")); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a wrong key: %v, want an error that does not show it", err)
	}
}

// remoteWrapper stands for a key management service.
type remoteWrapper struct {
	Wrapper
	down  atomic.Bool
	calls atomic.Int32
}

func (w *remoteWrapper) DecryptWithContext(ctx context.Context, ciphertext, associatedData []byte) ([]byte, error) {
	w.calls.Add(1)
	if w.down.Load() {
		return nil, errors.New("unreachable")
	}
	return w.Wrapper.DecryptWithContext(ctx, ciphertext, associatedData)
}

func TestKeysetIsWrappedByWhatImplementsWrapper(t *testing.T) {
	t.Parallel()
	local, err := newLocalWrapper(wrapOf(1))
	if err != nil {
		t.Fatal(err)
	}
	kms := &remoteWrapper{Wrapper: local}
	cfg := embeddedConfig(t.TempDir())
	cfg.Keys.Wrapper = kms
	b := openBus(t, cfg)
	for range 20 {
		put(t, b.Store(), core.Record{Key: "grant." + rand.Text(), Public: []byte(`{}`), Secret: []byte("token")})
	}
	if n := kms.calls.Load(); n != 1 {
		t.Errorf("it was asked %d times, want once for the keyset", n)
	}
	kms.down.Store(true)
	if _, err := b.RotateKeys(testContext(t), nil); err == nil {
		t.Error("the keys were rotated without what wraps them")
	}
	put(t, b.Store(), core.Record{Key: "grant.g_1", Public: []byte(`{}`), Secret: []byte("token")})
	kms.down.Store(false)
	rotate(t, b)
	closeBus(t, b)
	b = openBus(t, cfg)
	if r, err := b.Store().Get(testContext(t), "grant.g_1"); err != nil || string(r.Secret) != "token" {
		t.Errorf("read %q: %v", r.Secret, err)
	}
}
