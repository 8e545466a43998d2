// Package scratch gives tests a place for stores that are synced at every write, and builds the binaries that they start.
package scratch

import (
	"errors"
	"os"
	"syscall"
)

// InMemory has temporary folders, also those of testing.T, made in memory, where there is a folder with room for the stores
// of many daemons; elsewhere it changes nothing. On a disk that other programs write to, a sync can take seconds; how long
// it takes is no test's subject. The caller removes what is left with remove.
func InMemory() (remove func() error, err error) {
	const folder, room = "/dev/shm", 4 << 30
	var fs syscall.Statfs_t
	if syscall.Statfs(folder, &fs) != nil || fs.Bavail*uint64(fs.Bsize) < room {
		return func() error { return nil }, nil
	}
	dir, err := os.MkdirTemp(folder, "esignd-test-")
	if err != nil {
		return nil, err
	}
	remove = func() error { return os.RemoveAll(dir) }
	if err := os.Setenv("TMPDIR", dir); err != nil {
		return nil, errors.Join(err, remove())
	}
	return remove, nil
}
