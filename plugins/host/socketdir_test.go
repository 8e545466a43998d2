package host

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLongNamesOfSocketFoldersAreNotUsed(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 80))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", long)
	d, err := openSocketDir(Config{SocketDir: long, Vendor: "good", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(d.path)
	if err != nil || info.Mode().Perm() != 0o700 || len(d.path)+len(longestName) > maxSocketPath {
		t.Errorf("%s: %v, %v", d.path, info, err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(d.path); !os.IsNotExist(err) {
		t.Error("a temporary socket folder was left")
	}
	if _, err := temporaryDir(long); err == nil || !strings.Contains(err.Error(), "set TMPDIR") {
		t.Errorf("got %v", err)
	}
}
