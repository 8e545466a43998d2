package bus

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Names inside a data_dir.
const (
	lockFile     = "lock"
	ownerFile    = "instance"
	keysetFile   = "keyset.json"
	spoolFolder  = "uncommitted"
	serverFolder = "nats"
	// standaloneFile lies in serverFolder and says that its store was written by a server on its own.
	standaloneFile = "STANDALONE"
)

// standaloneText begins with a line that says it all to esignd; the rest is for people.
const standaloneText = standaloneLine + `
A NATS server that is part of a cluster deletes the streams in this folder. Move to a cluster by "esignd grow", or by
"esignd backup" and "esignd restore"; do not point another server at this folder.
`

// movedText takes the place of standaloneText when the records were moved.
const movedText = movedLine + `
Its records live on in an external NATS server. Whoever served from here again would present their refresh tokens a
second time.
`

const (
	standaloneLine = "esignd standalone store, format 1"
	movedLine      = "esignd standalone store, format 1, moved"
)

// dataDir is a data_dir that this process holds the lock of.
type dataDir struct {
	path  string
	owner string
	lock  *os.File
}

// openDataDir makes the folder where it is missing, locks it, and reads or makes the owner's id.
func openDataDir(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make data_dir: %w", err)
	}
	lock, err := lockDataDir(path)
	if err != nil {
		return nil, err
	}
	owner, err := readOwner(filepath.Join(path, ownerFile))
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &dataDir{path: path, owner: owner, lock: lock}, nil
}

// close gives the lock back.
func (d *dataDir) close() error {
	if err := errors.Join(d.lock.Truncate(0), unlock(d.lock)); err != nil {
		return fmt.Errorf("unlock data_dir %s: %w", d.path, err)
	}
	return nil
}

// unlock gives back the lock of a file and closes it. The file stays: removing it would let two processes hold a lock of
// the same name. To close it is not enough: a process that is being started from this one has it open too, until it runs
// its own program.
func unlock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

// ErrInUse is returned by Start where another process holds the lock of the data_dir.
var ErrInUse = errors.New("is in use")

func lockDataDir(path string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(path, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data_dir: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder := lockHolder(f)
		_ = f.Close()
		return nil, fmt.Errorf("data_dir %s %w by %s: stop that esignd, or give this one a data_dir of its own",
			path, ErrInUse, holder)
	}
	if err == nil {
		err = signLock(f)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock data_dir %s: %w", path, err), f.Close())
	}
	return f, nil
}

// signLock writes who holds the lock, for the one who is refused it.
func signLock(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	_, err = f.WriteAt(fmt.Appendf(nil, "process %d on %s, since %s\n",
		os.Getpid(), host, time.Now().UTC().Format(time.RFC3339)), 0)
	return err
}

func lockHolder(f *os.File) string {
	buf := make([]byte, 200)
	n, _ := f.ReadAt(buf, 0)
	if line, _, ok := strings.Cut(string(buf[:n]), "\n"); ok {
		return line
	}
	return "another process"
}

var ownerForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

// readOwner returns the id in the file, and makes both where there is none.
func readOwner(path string) (string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		var id [16]byte
		_, _ = rand.Read(id[:]) // never fails: it ends the program instead
		owner := hex.EncodeToString(id[:])
		return owner, writeFile(path, []byte(owner+"\n"))
	}
	if err != nil {
		return "", fmt.Errorf("read the owner id: %w", err)
	}
	owner := strings.TrimSpace(string(b))
	if !ownerForm.MatchString(owner) {
		return "", fmt.Errorf("%s does not hold an owner id: remove the file, and a new one is made", path)
	}
	return owner, nil
}

// serverDir returns the embedded server's folder, marked as that of a server on its own. It refuses a folder that has
// streams and no mark, or another mark: opening it, or opening it later as a member of a cluster, would delete them. One
// whose streams were moved is opened only to move them.
func (d *dataDir) serverDir(moving bool) (string, error) {
	dir := filepath.Join(d.path, serverFolder)
	mark := filepath.Join(dir, standaloneFile)
	line, err := firstLine(mark)
	switch {
	case err == nil && (line == standaloneLine || line == movedLine && moving):
		return dir, nil
	case err == nil && line == movedLine:
		return "", fmt.Errorf("the records of data_dir %s were moved to a NATS server of their own, and are not served from here any more: set nats.url", d.path)
	case err == nil:
		return "", fmt.Errorf("%s was written by another version or kind of esignd: use that one, or another data_dir", mark)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the store's mark: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, server.JetStreamStoreDir)); !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s holds streams and no %s mark: they may belong to a NATS cluster, and a server on its own "+
			"would spoil them. Use another data_dir, or restore a backup into an empty one", dir, standaloneFile)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the store's folder: %w", err)
	}
	return dir, writeFile(mark, []byte(standaloneText))
}

// warnOfStore tells an operator who went from the embedded server to an external one, and left the grants behind.
func (d *dataDir) warnOfStore(log *slog.Logger) {
	dir := filepath.Join(d.path, serverFolder)
	if line, err := firstLine(filepath.Join(dir, standaloneFile)); err == nil && line == movedLine {
		return
	}
	if _, err := os.Stat(filepath.Join(dir, server.JetStreamStoreDir)); err == nil {
		log.Warn("data_dir holds the store of the embedded server, which is not used while nats.url is set: unless they were moved, its "+
			"grants are not known here; move them as docs/scaling.md says, and put the folder away when they are", "folder", dir)
	}
}

// movable reports whether the store was given up already, by a move that did not come to its end. It is an error where
// there is nothing that can be moved.
func (d *dataDir) movable() (moved bool, err error) {
	waiting, err := d.spooled()
	if err != nil {
		return false, fmt.Errorf("look at what was not committed: %w", err)
	}
	if len(waiting) > 0 {
		return false, fmt.Errorf("%d outcomes wait in %s: start esignd once more, and stop it when they are committed",
			len(waiting), filepath.Join(d.path, spoolFolder))
	}
	line, err := firstLine(filepath.Join(d.path, serverFolder, standaloneFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("%s holds no store of an embedded server: is this the data_dir?", d.path)
	}
	return line == movedLine, err
}

// giveUp marks the store so that no esignd serves from it again.
func (d *dataDir) giveUp() error {
	return writeFile(filepath.Join(d.path, serverFolder, standaloneFile), []byte(movedText))
}

// firstLine returns what a file begins with.
func firstLine(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line, nil
}

// writeFile replaces the file in one step, readable by its owner alone: after a crash there is the old one or the new
// one, and once writeFile has returned there is the new one.
func writeFile(path string, content []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	return syncDir(dir)
}

// syncDir makes what was renamed or removed in dir survive a power loss.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
