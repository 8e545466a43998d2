//go:build heavy

package addingvendor

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/esignd/esignd/tests/page"
	"github.com/esignd/esignd/tests/system"
)

const document = "docs/adding-a-vendor.md"

// TestTheDocumentLeadsToAVendor does what the document says, from an empty folder to a token of the new vendor.
func TestTheDocumentLeadsToAVendor(t *testing.T) {
	alone(t)
	r := newReader(t)
	f, err := os.Open(filepath.Join(r.checkout, document))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	doc, err := page.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	done := map[string]int{}
	for _, b := range doc.Blocks {
		does, err := r.Do(b)
		if err != nil {
			t.Fatalf("%s:%d: %v\n%s\nprinted:\n%s\n%s", document, b.Line, err, b.Text, r.Output(), r.Logs())
		}
		done[does]++
	}
	if done["writes"] < 7 || done["types"] < 12 || done["compares"] < 10 {
		t.Errorf("the document has less in it than it had: %v", done)
	}
}

// alone waits for other runs on this machine: the document names a port.
func alone(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(os.TempDir(), "esignd-adding-a-vendor.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // which unlocks it
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
}

// reader is somebody with a checkout of esignd in the home folder and nothing else.
type reader struct {
	*page.Session
	checkout, home string
}

func newReader(t *testing.T) *reader {
	t.Helper()
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	if err := os.Symlink(checkout, filepath.Join(home, "esignd")); err != nil {
		t.Fatal(err)
	}
	public, nats := system.FreeAddress(t), system.FreeAddress(t)
	env := append(goEnvironment(t), "HOME="+home, "GOWORK=off",
		// Others may be at esignd's usual addresses.
		"ESIGND_NATS_LISTEN="+nats, "ESIGND_SERVER=nats://"+nats,
		"ESIGND_HTTP_LISTEN="+public, "ESIGND_HTTP_PUBLIC_URL=http://"+public, "ESIGND_HTTP_ADMIN="+system.FreeAddress(t))
	return &reader{Session: page.NewSession(t, page.Config{Folder: home, Env: env}), checkout: checkout, home: home}
}

// goEnvironment is where go finds modules and puts what it builds: a new home folder has neither.
func goEnvironment(t *testing.T) []string {
	t.Helper()
	names := []string{"GOPATH", "GOMODCACHE", "GOCACHE", "GOPROXY", "GOFLAGS", "GOPRIVATE", "GONOSUMDB", "GOSUMDB", "GOTOOLCHAIN"}
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"env", "-json"}, names...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]string
	if err := json.Unmarshal(out, &values); err != nil {
		t.Fatal(err)
	}
	var env []string
	for name, value := range values {
		env = append(env, name+"="+value)
	}
	return env
}
