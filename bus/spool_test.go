package bus

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
)

func TestSpoolKeepsRecordsOverARestart(t *testing.T) {
	t.Parallel()
	cfg := embeddedConfig(t.TempDir())
	b := openBus(t, cfg)
	want := core.Record{Key: "grant.g_1", Public: []byte(`{ "a": "<" }`), Secret: []byte("token"), TTL: time.Minute, Revision: 7}
	for _, r := range []core.Record{{Key: "grant.g_1", Public: []byte(`{}`)}, want, {Key: "grant.g_2", Public: []byte(`{}`)}} {
		if err := b.Spool().Put(r); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := b.Spool().Remove("grant.g_2"); err != nil {
			t.Fatal(err)
		}
	}
	closeBus(t, b)
	b = openBus(t, cfg)
	got, err := b.Spool().All()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]core.Record{want}, got); diff != "" {
		t.Errorf("spool (-want +got):\n%s", diff)
	}
}

func TestSpoolTellsDamageAndKeepsIt(t *testing.T) {
	t.Parallel()
	cfg := embeddedConfig(t.TempDir())
	b := openBus(t, cfg)
	if got, err := b.Spool().All(); err != nil || len(got) != 0 {
		t.Errorf("a spool that was never used holds %v, %v", got, err)
	}
	for _, key := range []string{"grant.a", "grant.b"} {
		if err := b.Spool().Put(core.Record{Key: key, Public: []byte(`{}`), Secret: []byte("token")}); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(cfg.DataDir, spoolFolder)
	whole, err := os.ReadFile(filepath.Join(dir, "grant.b"+spoolSuffix))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"grant.torn": whole[:len(whole)/2], "grant.renamed": whole, "grant.empty": nil, "grant.later": []byte(`{"v":9}`),
	} {
		if err := os.WriteFile(filepath.Join(dir, name+spoolSuffix), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := b.Spool().All()
	if !errors.Is(err, core.ErrDamaged) {
		t.Errorf("damage was told as %v", err)
	}
	if len(got) != 2 {
		t.Errorf("read %d whole records, want 2", len(got))
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 6 {
		t.Errorf("%d files, want all 6 left: %v", len(entries), err)
	}
}
