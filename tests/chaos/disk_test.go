//go:build heavy && linux

package chaos

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/esignd/esignd/tests/system"
)

// diskFull fills the file system of the data folder, which is a tmpfs of its own, and makes room again after a while.
func diskFull(t *testing.T, e extent) row {
	dir := mountTmpfs(t)
	a := open(t, e, setup{dataDir: dir})
	ballast := filepath.Join(dir, "ballast")
	a.withoutDisk(func() { fill(t, ballast) }, func() {
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	})
	return a.settle()
}

// diskReadOnly lets no write to a file of the daemon succeed, by its limit on the size of files, and lifts that again.
func diskReadOnly(t *testing.T, e extent) row {
	a := open(t, e, setup{})
	before := syscall.Rlimit{}
	a.withoutDisk(func() {
		before = fileSizeLimit(t, a.daemon.PID(), nil)
		fileSizeLimit(t, a.daemon.PID(), &syscall.Rlimit{Cur: 0, Max: before.Max})
	}, func() { fileSizeLimit(t, a.daemon.PID(), &before) })
	return a.settle()
}

// withoutDisk takes the disk away under load, until esignd says so, and gives it back. Then it is restarted in order, as
// the operator is told to: what a vendor answered meanwhile is kept, and no answer may be lost.
func (a *arena) withoutDisk(take, give func()) {
	a.t.Helper()
	a.underLoad(func() {
		pause(a.t.Context(), a.lull)
		take()
		a.kills++
		system.Await(a.t, time.Minute, "esignd says that it is not ready", func() bool { return !a.daemon.Ready() })
		pause(a.t.Context(), a.outage/4)
		give()
		back := time.Now()
		a.daemon.Signal(syscall.SIGTERM)
		a.daemon.Wait() // its status tells that the store took nothing to the end
		a.daemon.Launch()
		a.awaitAnswer(back)
	})
}

// mountTmpfs mounts a small file system, until the test ends.
func mountTmpfs(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m,mode=0700"); err != nil {
		t.Skipf("a tmpfs cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes a file until there is no room.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(f, zeros{})
	if cerr := f.Close(); !errors.Is(err, syscall.ENOSPC) || cerr != nil {
		t.Fatalf("the file system is not full: %v, %v", err, cerr)
	}
}

// zeros reads as zeros without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// fileSizeLimit returns the limit of a process on the size of files, and sets it where next is not nil.
func fileSizeLimit(t *testing.T, pid int, next *syscall.Rlimit) (before syscall.Rlimit) {
	t.Helper()
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_FSIZE,
		uintptr(unsafe.Pointer(next)), uintptr(unsafe.Pointer(&before)), 0, 0)
	if errno != 0 {
		t.Fatalf("limit the files of process %d: %v", pid, errno)
	}
	return before
}
