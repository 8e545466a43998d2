//go:build heavy

package site

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esignd/esignd/tests/page"
	"github.com/esignd/esignd/tests/system"
)

// binaries are those that pages call. TestMain sets them before any test runs.
var binaries system.Binaries

func TestMain(m *testing.M) { system.Main(m, &binaries, system.Build{Parallel: 3, Tools: true}) }

// TestPagesDoWhatTheySay follows every page on which there is something to type.
func TestPagesDoWhatTheySay(t *testing.T) {
	for path, p := range pages(t) {
		if p.RunBy != "" || !p.Commands() {
			continue
		}
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			follow(t, path, p)
		})
	}
}

// follow does what a page says, in a folder that is as a clone in which `make build` ran.
func follow(t *testing.T, path string, p page.Page) {
	t.Helper()
	s := newSession(t)
	if p.Before != "" {
		p.Blocks = append([]page.Block{{Kind: "sh", Stays: true, Text: p.Before + "\n"}, {Kind: "text", Text: "…\nesignd is up…\n"}}, p.Blocks...)
	}
	for _, b := range p.Blocks {
		if _, err := s.Do(b); err != nil {
			t.Fatalf("%s:%d: %v\n%s\nprinted:\n%s\n%s", path, b.Line, err, b.Text, s.Output(), s.Logs())
		}
	}
}

// newSession opens a shell in a folder that is as a clone. What asks another machine by https finds a proxy that is not there.
func newSession(t *testing.T, env ...string) *page.Session {
	t.Helper()
	nats, http, admin := system.FreeAddress(t), system.FreeAddress(t), system.FreeAddress(t)
	folder := clone(t)
	env = append(env,
		"PATH="+filepath.Dir(system.NATSCommand(t))+string(filepath.ListSeparator)+os.Getenv("PATH"),
		"HOME="+folder, "NO_COLOR=1", "GORACE=atexit_sleep_ms=0", "ESIGND_SERVER=nats://"+nats, "NATS_URL=nats://"+nats,
		"ESIGND_DATA_DIR="+filepath.Join(folder, "data"), "ESIGND_NATS_LISTEN="+nats, "ESIGND_HTTP_LISTEN="+http, "ESIGND_HTTP_ADMIN="+admin,
		"HTTPS_PROXY=http://"+system.FreeAddress(t),
	)
	return page.NewSession(t, page.Config{Folder: folder, Env: env, Addresses: map[string]string{
		"127.0.0.1:4222": nats, "127.0.0.1:8080": http, "127.0.0.1:8081": admin,
	}})
}

// clone makes a folder with all that a clone of the repository has, and in bin the binaries under test.
func clone(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	checkout := system.Must(filepath.Abs(root))(t)
	for _, entry := range system.Must(os.ReadDir(checkout))(t) {
		if name := entry.Name(); name != "bin" && !strings.HasPrefix(name, ".") {
			link(t, filepath.Join(checkout, name), filepath.Join(folder, name))
		}
	}
	bin := filepath.Join(folder, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, entry := range system.Must(os.ReadDir(string(binaries)))(t) {
		link(t, binaries.Path(entry.Name()), filepath.Join(bin, entry.Name()))
	}
	return folder
}

func link(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Symlink(from, to); err != nil {
		t.Fatal(err)
	}
}
