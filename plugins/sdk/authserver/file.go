package authserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// stateFile writes snapshots of a ledger in their order.
type stateFile struct {
	path string

	mu      sync.Mutex // orders the writes, and is held over them for that
	written uint64
}

// update changes the ledger under its lock and, with a state file, has the change on disk before it returns. What
// change did counts whether or not it returned an error: a refusal may end a grant.
func (l *Ledger) update(change func(now time.Time) error) error {
	l.mu.Lock()
	now := l.cfg.Now()
	err := change(now)
	l.prune(now)
	number, data, encoding := l.snapshot()
	l.mu.Unlock()
	if encoding != nil {
		return encoding
	}
	if saving := l.file.write(number, data); saving != nil {
		return saving
	}
	return err
}

// snapshot encodes the state for the state file. l.mu is held.
func (l *Ledger) snapshot() (uint64, []byte, error) {
	if l.file.path == "" {
		return 0, nil, nil
	}
	l.changes++
	data, err := json.Marshal(l.state) //nolint:gosec // a sandbox's tokens open nothing
	if err != nil {
		return 0, nil, fmt.Errorf("encode the sandbox's state: %w", err)
	}
	return l.changes, data, nil
}

// load reads the state file, if there is one.
func (l *Ledger) load() error {
	if l.file.path == "" {
		return nil
	}
	data, err := os.ReadFile(l.file.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the sandbox's state: %w", err)
	}
	s := newState()
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("sandbox state %s is damaged, remove it to start afresh: %w", l.file.path, err)
	}
	if s.Format != stateFormat {
		return fmt.Errorf("sandbox state %s has format %d, this program reads %d: remove it to start afresh",
			l.file.path, s.Format, stateFormat)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = s
	return nil
}

// write replaces the file, unless a later snapshot is there already.
func (f *stateFile) write(number uint64, data []byte) error {
	if f.path == "" {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if number <= f.written {
		return nil
	}
	if err := replaceFile(f.path, data); err != nil {
		return fmt.Errorf("write the sandbox's state: %w", err)
	}
	f.written = number
	return nil
}

// replaceFile writes a file of mode 0600 beside path and renames it, so that path is always whole.
func replaceFile(path string, data []byte) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// address is where the sandbox of this state listened last; empty where it never did.
func (l *Ledger) address() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.Address
}
