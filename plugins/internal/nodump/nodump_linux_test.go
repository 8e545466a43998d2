package nodump

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSetHoldsForTheProcessAndItsChildren runs in a process of its own: what Set does cannot be undone.
func TestSetHoldsForTheProcessAndItsChildren(t *testing.T) {
	if os.Getenv("NODUMP_CHILD") == "" {
		child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		child.Env = append(os.Environ(), "NODUMP_CHILD=1")
		if out, err := child.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if dumpable(t) != 1 {
		t.Fatal("the process could not be dumped before: nothing is tested")
	}
	if err := Set(); err != nil {
		t.Fatal(err)
	}
	if dumpable(t) != 0 {
		t.Error("the process can be dumped")
	}
	limits, err := exec.Command("/bin/sh", "-c", "ulimit -S -c; ulimit -H -c").Output()
	if err != nil || string(limits) != "0\n0\n" {
		t.Errorf("a child's limits are %q, %v", limits, err)
	}
	if os.Geteuid() != 0 {
		if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{Max: 1}); !errors.Is(err, syscall.EPERM) {
			t.Errorf("the limit can be raised again: %v", err)
		}
	}
}

func dumpable(t *testing.T) int {
	t.Helper()
	n, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
