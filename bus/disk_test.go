//go:build linux

package bus

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
)

// inProcessWithoutWrites says to a test binary that it is the process whose writes are made to fail.
const inProcessWithoutWrites = "BUS_TEST_WITHOUT_WRITES"

// The limit on the size of files makes every write fail, as a full disk does, while reads go on. It is a limit of the
// whole process, so the test runs in one of its own: go test writes a log of its own from this one.
func TestServerThatTakesNoWritesIsNotReady(t *testing.T) {
	t.Parallel()
	if os.Getenv(inProcessWithoutWrites) == "" {
		runInProcessOfItsOwn(t, inProcessWithoutWrites)
		return
	}
	dir := t.TempDir()
	b := openBus(t, embeddedConfig(dir))
	put(t, b.Store(), core.Record{Key: "grant.before", Public: []byte(`{}`)})
	if err := b.Ready(); err != nil {
		t.Fatal(err)
	}
	restore := noWrites(t)
	ctx, cancel := context.WithTimeout(testContext(t), time.Second)
	defer cancel()
	if _, err := b.Store().Put(ctx, core.Record{Key: "grant.during", Public: []byte(`{}`)}); err == nil {
		t.Error("a write succeeded that cannot have")
	}
	restore()
	if err := b.Ready(); err == nil || !strings.Contains(err.Error(), "takes no writes") {
		t.Errorf("with a store that takes no writes: %v", err)
	}
	if _, err := b.Store().Get(testContext(t), "grant.before"); err != nil {
		t.Errorf("it reads no more: %v", err)
	}
	closeBus(t, b)
	again := openBus(t, embeddedConfig(dir))
	put(t, again.Store(), core.Record{Key: "grant.after", Public: []byte(`{}`)})
	if err := again.Ready(); err != nil {
		t.Errorf("started again: %v", err)
	}
}

// runInProcessOfItsOwn runs this test again, alone in a new process that has the variable set.
func runInProcessOfItsOwn(t *testing.T, variable string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	again := exec.CommandContext(t.Context(), program, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	again.Env = append(os.Environ(), variable+"=1")
	out, err := again.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("in a process of its own: %v\n%s", err, out)
	}
}

// noWrites lets no write of this process to a file succeed until restore is called, or the test ends.
func noWrites(t *testing.T) (restore func()) {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	restore = func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(restore)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 0, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	return restore
}
