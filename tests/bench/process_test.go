//go:build heavy

package bench

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/tests/system"
)

// ticksPerSecond is Linux's USER_HZ, in which /proc counts.
const ticksPerSecond = 100

// cpuTime returns how much processor time processes have used.
func cpuTime(t testing.TB, pids ...int) time.Duration {
	t.Helper()
	var sum time.Duration
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		for _, f := range fields[11:13] { // utime, stime
			ticks, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			sum += time.Duration(ticks) * time.Second / ticksPerSecond
		}
	}
	return sum
}

// residentMiB returns the resident set of a process.
func residentMiB(t testing.TB, pid int) float64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return float64(kib) / 1024
		}
	}
	t.Fatalf("process %d has no VmRSS", pid)
	return 0
}

// onDisk returns how many bytes the files of a folder take.
func onDisk(t testing.TB, dir string) float64 {
	t.Helper()
	sum := 0.0
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		sum += float64(info.Size())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// family are the daemon and its plugins.
func family(d *system.Daemon) []int {
	pids := []int{d.PID()}
	for _, pid := range d.Plugins() {
		pids = append(pids, pid)
	}
	return pids
}
