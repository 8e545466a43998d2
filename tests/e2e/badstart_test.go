package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/tests/system"
)

// badStart is a start that cannot succeed.
type badStart struct {
	name string
	// spoil brings about what is wrong.
	spoil func(t *testing.T, d *system.Daemon)
	// says are words of the error: what is wrong, and what to do.
	says []string
	// used says that the store is opened before the mistake can be seen, so that its files may be written anew. The
	// list of files stays the same all the same.
	used bool
}

var badStarts = []badStart{
	{name: "unknown key", spoil: edit("data_dir:", "data_dri: x\ndata_dir:"), says: []string{"data_dri", "did you mean data_dir?"}},
	{name: "unknown key below", spoil: edit("auth: none", "auht: none"), says: []string{"nats.auht", "did you mean auth?"}},
	{name: "unknown vendor setting", spoil: edit("account_url:", "acount_url:"), says: []string{"clients[0].settings.acount_url", "did you mean account_url?"}, used: true},
	{name: "vendor setting of a wrong form", spoil: edit("account_url: \"http://127.0.0.1", "account_url: \"http://192.0.2.1"), says: []string{"clients[0].settings.account_url"}, used: true},
	{name: "wrong type", spoil: edit("auth: none", "auth: none, replicas: many"), says: []string{"nats.replicas"}},
	{name: "no nats.auth", spoil: edit(", auth: none", ""), says: []string{"nats.auth", "is missing", "say none"}},
	{name: "open to the network", spoil: edit("nats: {listen: \"127.0.0.1", "nats: {listen: \"0.0.0.0"), says: []string{"nats.listen", "loopback"}},
	{name: "no YAML", spoil: edit("data_dir:", "data_dir: [\n:"), says: []string{"not YAML"}},
	{name: "secret in the file", spoil: edit("client_secret: {env: SECRET_ROBOT}", "client_secret: hunter2"), says: []string{"clients[0].client_secret", "{env: NAME} or {file: PATH}"}},
	{name: "no secret in the environment", spoil: withoutSecret, says: []string{"clients[0].client_secret", "SECRET_ROBOT is not set", "set it, or name another"}},
	{name: "no plugin", spoil: edit("vendor: esignglobal", "vendor: nosuch"), says: []string{"nosuch", "plugin"}, used: true},
	{name: "plugin that others can write", spoil: writablePlugin, says: []string{"others than its owner can write it", "chmod go-w"}, used: true},
	{name: "busy NATS port", spoil: busy(func(d *system.Daemon) string { return d.NATS }), says: []string{"nats.listen", "in use", "free one"}},
	{name: "busy HTTP port", spoil: busy(func(d *system.Daemon) string { return d.Public }), says: []string{"http.listen", "in use"}, used: true},
	{name: "busy admin port", spoil: busy(func(d *system.Daemon) string { return d.Admin }), says: []string{"http.admin", "in use"}, used: true},
}

// TestBadStartsSayWhatToDo starts daemons that cannot run, each on a data_dir that another has used. They end with
// status 1, say what is wrong and what to do, and leave the data_dir as it was.
func TestBadStartsSayWhatToDo(t *testing.T) {
	t.Parallel()
	box := system.World{Lifetime: time.Minute}.Open(t, "esignglobal")
	robot := system.Options{Clients: []system.Registration{{Name: "robot", Vendor: "esignglobal", Box: box, GrantType: "client_credentials"}}}
	good := startDaemon(t, robot)
	service{t: t, nc: connectPlain(t, good)}.ask("esign.api.default.token.get", `{"client":"robot"}`).want(t, "a token", "", "")
	good.Stop()
	for _, b := range badStarts {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			d := newDaemon(t, robot)
			if err := os.CopyFS(d.DataDir, os.DirFS(good.DataDir)); err != nil {
				t.Fatal(err)
			}
			b.run(t, d)
		})
		if b.used {
			continue
		}
		t.Run(b.name+" and no data_dir", func(t *testing.T) {
			t.Parallel()
			d := newDaemon(t, robot)
			b.run(t, d)
			if _, err := os.Stat(d.DataDir); !errors.Is(err, fs.ErrNotExist) && !strings.HasPrefix(b.name, "busy") {
				t.Errorf("the data_dir was made: %v", err)
			}
		})
	}
}

func (b badStart) run(t *testing.T, d *system.Daemon) {
	t.Helper()
	b.spoil(t, d)
	before := files(t, d.DataDir)
	d.Launch()
	if code := d.Wait(); code != 1 {
		t.Errorf("ended with status %d, want 1", code)
	}
	said := d.Output().String()
	for _, words := range b.says {
		if !strings.Contains(said, words) {
			t.Errorf("the error does not say %q:\n%s", words, said)
		}
	}
	if strings.Contains(said, "hunter2") || strings.Contains(said, "goroutine ") {
		t.Errorf("the error says too much:\n%s", said)
	}
	after := files(t, d.DataDir)
	if b.used {
		for _, list := range []map[string]string{before, after} {
			for name := range list {
				list[name] = ""
			}
		}
	}
	if diff := cmp.Diff(before, after); diff != "" && len(before) > 0 {
		t.Errorf("the data_dir changed:\n%s", diff)
	}
}

// edit replaces text of the configuration.
func edit(old, replacement string) func(*testing.T, *system.Daemon) {
	return func(t *testing.T, d *system.Daemon) {
		t.Helper()
		text := string(system.Must(os.ReadFile(d.Config))(t))
		if !strings.Contains(text, old) {
			t.Fatalf("the configuration does not say %q:\n%s", old, text)
		}
		if err := os.WriteFile(d.Config, []byte(strings.Replace(text, old, replacement, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func withoutSecret(_ *testing.T, d *system.Daemon) {
	var env []string
	for _, kv := range d.Env {
		if !strings.HasPrefix(kv, "SECRET_") {
			env = append(env, kv)
		}
	}
	d.Env = env
}

// writablePlugin gives the daemon a folder whose plugin everybody can write.
func writablePlugin(t *testing.T, d *system.Daemon) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "esignd-plugin-esignglobal")
	content := system.Must(os.ReadFile(binaries.Path("esignd-plugin-esignglobal")))(t)
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	edit("dir: "+string(binaries), "dir: "+dir)(t, d)
}

// busy takes the port that the daemon wants.
func busy(address func(*system.Daemon) string) func(*testing.T, *system.Daemon) {
	return func(t *testing.T, d *system.Daemon) {
		t.Helper()
		l := system.Must(net.Listen("tcp", address(d)))(t)
		t.Cleanup(func() { _ = l.Close() })
	}
}

// files returns the files and folders below dir with the digests of their contents.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || e.IsDir() {
			found[path] = "folder"
			return err
		}
		if !e.Type().IsRegular() {
			found[path] = "no file"
			return nil
		}
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) { // a file that a server writes beside another, and renames
			return nil
		}
		sum := sha256.Sum256(content)
		found[path] = hex.EncodeToString(sum[:4])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestSecondDaemonIsRefused starts a daemon on the data_dir of one that runs. The first goes on.
func TestSecondDaemonIsRefused(t *testing.T) {
	t.Parallel()
	box := system.World{Lifetime: time.Minute}.Open(t, "esignglobal")
	robot := system.Options{Clients: []system.Registration{{Name: "robot", Vendor: "esignglobal", Box: box, GrantType: "client_credentials"}}}
	first := startDaemon(t, robot)
	second := newDaemon(t, robot)
	edit("data_dir: "+second.DataDir, "data_dir: "+first.DataDir)(t, second)
	names := maps.Clone(files(t, first.DataDir))
	second.Launch()
	if code := second.Wait(); code != 1 {
		t.Errorf("ended with status %d, want 1", code)
	}
	for _, words := range []string{first.DataDir, "in use by process", "a data_dir of its own"} {
		if !strings.Contains(second.Output().String(), words) {
			t.Errorf("the error does not say %q:\n%s", words, second.Output())
		}
	}
	// The first one's server makes files of its own while it runs, so what lies below its folder says nothing.
	own := filepath.Join(first.DataDir, "nats") + string(filepath.Separator)
	for name := range files(t, first.DataDir) {
		if _, ok := names[name]; !ok && !strings.HasPrefix(name, own) {
			t.Errorf("%s is new", name)
		}
	}
	service{t: t, nc: connectPlain(t, first)}.ask("esign.api.default.token.get", `{"client":"robot"}`).want(t, "a token of the first", "", "")
}
