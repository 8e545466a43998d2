//go:build heavy

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/tests/system"
	"github.com/esignd/esignd/tests/transcript"
)

// sample is a program of examples/ at work.
type sample struct {
	t      testing.TB
	output *transcript.Transcript
	read   int // bytes of output that were looked at
}

// TestExamplesInOtherLanguages runs the services of examples/ against `esignd dev`, as their READMEs say: an account that is
// not connected yet, a call of the vendor's API, and where the service goes on, a revocation and a new consent.
func TestExamplesInOtherLanguages(t *testing.T) {
	t.Parallel()
	server := dev(t)
	cl, closeConn, err := client.Dial(t.Context(), client.DialConfig{URL: server, Tenant: "default"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeConn)

	t.Run("node", func(t *testing.T) {
		dir := filepath.Join("..", "..", "examples", "node")
		npm := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		npm.Dir = dir
		if out, err := npm.CombinedOutput(); err != nil {
			t.Fatalf("npm ci in examples/node, which needs node 20 or later: %v\n%s", err, out)
		}
		const account = "node@example.com"
		s := run(t, dir, server, "node", "service.mjs", "adobe-main", account, "/api/rest/v6/users/me")
		s.connect(account)
		s.await("called the vendor: 200")
		system.Must(cl.Revoke(t.Context(), client.Selector{Client: "adobe-main", Account: account}, ""))(t)
		s.connect(account)
		s.await("called the vendor: 200")
	})
	t.Run("shell", func(t *testing.T) {
		const account = "shell@example.com"
		s := run(t, filepath.Join("..", "..", "examples", "shell"), server, "./service.sh", "dropbox-main", account, "/v3/account")
		s.connect(account)
		s.await("called the vendor: 200")
	})
}

// dev starts `esignd dev` and returns the URL of its NATS server.
func dev(t testing.TB) string {
	t.Helper()
	nats := system.FreeAddress(t)
	out := &transcript.Transcript{}
	cmd := exec.Command(binaries.Path("esignd"), "dev", "--data-dir", t.TempDir(), "--nats", nats, "--http", system.FreeAddress(t), "--admin", system.FreeAddress(t))
	cmd.Stdout, cmd.Stderr = out, out
	start(t, cmd, syscall.SIGINT)
	system.Await(t, time.Minute, "esignd dev is up", func() bool { return strings.Contains(out.String(), "esignd is up") })
	return "nats://" + nats
}

// start starts a program that ends, with all that it started, when its test does.
func start(t testing.TB, cmd *exec.Cmd, end syscall.Signal) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, end)
		_ = cmd.Wait()
	})
}

// run starts a service of examples/.
func run(t testing.TB, dir, server, name string, args ...string) *sample {
	t.Helper()
	s := &sample{t: t, output: &transcript.Transcript{}}
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, s.output, s.output
	path := filepath.Dir(system.NATSCommand(t)) + string(filepath.ListSeparator) + os.Getenv("PATH")
	cmd.Env = append(os.Environ(), "ESIGND_SERVER="+server, "NO_COLOR=1", "PATH="+path)
	start(t, cmd, syscall.SIGKILL)
	return s
}

// await waits for the next line that begins with the text, and returns the rest of it.
func (s *sample) await(text string) string {
	s.t.Helper()
	var rest string
	found := func() bool {
		all := s.output.String()
		i := strings.Index(all[s.read:], text)
		if i < 0 {
			return false
		}
		line, _, whole := strings.Cut(all[s.read+i+len(text):], "\n")
		if whole {
			rest = line
			s.read += i + len(text) + len(line)
		}
		return whole
	}
	for deadline := time.Now().Add(30 * time.Second); !found(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("the service does not say %q:\n%s", text, s.output)
		}
	}
	return rest
}

// connect opens the link that the service shows, as the account's owner.
func (s *sample) connect(account string) {
	s.t.Helper()
	link := s.await("connect at ")
	b := newBrowser(s.t)
	if status, _ := b.finish(b.consent(link, account, true)); status != "connected" {
		s.t.Fatalf("connecting ended as %q", status)
	}
}
