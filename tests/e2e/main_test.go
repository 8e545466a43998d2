// Package e2e tests esignd from outside: the real binaries, real plugin processes, the vendors' sandboxes, browsers
// with cookies, and callers that know nothing but NATS.
//
// Each test has daemons, ports, folders and sandboxes of its own, so that tests run in parallel. Tests wait for a
// condition with a deadline, and sandboxes give out tokens that live for seconds.
package e2e

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// binaries is the folder of the binaries under test. TestMain sets it before any test runs.
var binaries string

// atOnce is how many tests run at a time: most of what they do is wait for a token to expire.
const atOnce = "10"

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	flag.Parse()
	if err := flag.Set("test.parallel", atOnce); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "esignd-e2e-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// Plugins run from a folder that others can read and not write.
	if err := os.Chmod(dir, 0o755); err != nil {
		return 1, err
	}
	if err := build(dir); err != nil {
		return 1, err
	}
	binaries = dir
	if code = m.Run(); code != 0 {
		return code, nil
	}
	return 0, errors.Join(goleak.Find(), noneRuns(dir))
}

// noneRuns returns an error where a process of a binary in dir outlives the tests.
func noneRuns(dir string) error {
	var left []process
	for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		all, err := processes()
		if err != nil {
			return err
		}
		left = slices.DeleteFunc(all, func(p process) bool { return !strings.HasPrefix(p.exe, dir) })
		if len(left) == 0 {
			return nil
		}
	}
	return fmt.Errorf("processes are left behind: %v", left)
}

// build makes the daemon, with the race detector where the tests have it, and the plugins.
func build(dir string) error {
	const module = "github.com/esignd/esignd/"
	daemon := []string{"build", "-o", dir + "/"}
	if raceEnabled {
		daemon = append(daemon, "-race")
	}
	plugins := []string{"build", "-o", dir + "/"}
	for _, vendor := range []string{"adobesign", "dropboxsign", "esignglobal"} {
		plugins = append(plugins, module+"plugins/"+vendor+"/esignd-plugin-"+vendor)
	}
	for _, args := range [][]string{append(daemon, module+"cmd/esignd"), plugins} {
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

func binary(name string) string { return filepath.Join(binaries, name) }

// await polls until done reports true and fails the test when that takes longer than within.
func await(t testing.TB, within time.Duration, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// must fails the test on an error and returns the value.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
