//go:build heavy

package bench

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// machine is what the figures were taken on.
type machine struct {
	CPU    string
	Cores  int
	Memory string
	Go     string
	Date   string
	// Disk is the file system that the stores are on.
	Disk string
	// Sync is how long a synced write of a record's size takes, at the median and for one in a hundred.
	Sync, Sync99 time.Duration
}

func thisMachine(t testing.TB) machine {
	m := machine{CPU: cpuModel(), Cores: runtime.NumCPU(), Go: runtime.Version(), Date: time.Now().UTC().Format(time.DateOnly)}
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err == nil {
		m.Memory = fmt.Sprintf("%.0f GiB", float64(info.Totalram)*float64(info.Unit)/(1<<30))
	}
	dir := t.TempDir()
	m.Disk = fileSystem(dir)
	m.Sync, m.Sync99 = syncedWrites(t, dir)
	return m
}

func cpuModel() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for _, line := range strings.Split(string(b), "\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// fileSystem names the kind of file system that a folder is on.
func fileSystem(dir string) string {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return "unknown"
	}
	names := map[int64]string{0xef53: "ext4", 0x58465342: "XFS", 0x9123683e: "Btrfs", 0x2fc12fc1: "ZFS", 0x794c7630: "overlay", 0x01021994: "tmpfs, which is in memory"}
	return cmp.Or(names[int64(fs.Type)], fmt.Sprintf("of type %#x", fs.Type)) //nolint:unconvert // it has other types elsewhere
}

// syncedWrites measures appends of 2 KiB to a file that is open with O_SYNC, as the embedded server's is.
func syncedWrites(t testing.TB, dir string) (p50, p99 time.Duration) {
	f, err := os.OpenFile(filepath.Join(dir, "synced"), os.O_CREATE|os.O_WRONLY|os.O_SYNC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	record := make([]byte, 2<<10)
	took := make([]time.Duration, 0, 500)
	for range cap(took) {
		begun := time.Now()
		if _, err := f.Write(record); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	return quantile(took, 0.5), quantile(took, 0.99)
}

// quantile returns the value that a share q of the sorted values does not exceed.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// median returns the middle one.
func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return s[len(s)/2]
}
