package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	// maxSocketPath is the longest name of a socket that every system takes.
	maxSocketPath = 103
	// pluginDirPrefix begins the folders that go-plugin makes, one for each start.
	pluginDirPrefix = "plugin-dir"
	// longestName is what go-plugin puts after the folder it is given.
	longestName = "/" + pluginDirPrefix + "4294967295" + "/plugin4294967295"
)

// socketDir is where a plugin's processes make their sockets.
type socketDir struct {
	path      string
	temporary bool
}

// openSocketDir makes the folder, closed to others. What processes that were killed left in it is removed.
func openSocketDir(cfg Config) (socketDir, error) {
	if cfg.SocketDir != "" {
		path, err := filepath.Abs(filepath.Join(cfg.SocketDir, cfg.Vendor))
		if err != nil {
			return socketDir{}, fmt.Errorf("make the socket folder: %w", err)
		}
		if len(path)+len(longestName) <= maxSocketPath {
			return socketDir{path: path}, sweep(path)
		}
		cfg.Logger.Debug("the socket folder's name is too long for sockets; a temporary one is used", "path", path)
	}
	return temporaryDir(os.TempDir(), "/tmp")
}

// temporaryDir makes a folder in the first parent whose name is short enough: that of TMPDIR need not be.
func temporaryDir(parents ...string) (socketDir, error) {
	for _, parent := range parents {
		if len(parent)+len("/esignd-4294967295")+len(longestName) > maxSocketPath {
			continue
		}
		path, err := os.MkdirTemp(parent, "esignd-")
		if err != nil {
			return socketDir{}, fmt.Errorf("make the socket folder: %w", err)
		}
		return socketDir{path: path, temporary: true}, nil
	}
	return socketDir{}, fmt.Errorf("make the socket folder: the names of %s are too long for a socket; set TMPDIR to a shorter one",
		strings.Join(parents, " and "))
}

// sweep makes the folder at path where it is missing, and removes from it what go-plugin makes.
func sweep(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("make the socket folder: %w", err)
	}
	if err := os.Chmod(path, 0o700); err != nil { //nolint:gosec // a folder needs the x bit
		return fmt.Errorf("close the socket folder to others: %w", err)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("read the socket folder: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		if entry.IsDir() && strings.HasPrefix(entry.Name(), pluginDirPrefix) {
			errs = append(errs, os.RemoveAll(filepath.Join(path, entry.Name())))
		}
	}
	return errors.Join(errs...)
}

// close removes the folder if it is temporary.
func (d socketDir) close() error {
	if !d.temporary {
		return nil
	}
	if err := os.RemoveAll(d.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the socket folder: %w", err)
	}
	return nil
}
