package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Names inside a data_dir. The folder is closed to others before there is a socket in it.
const (
	folder = "control"
	socket = "socket"
)

// maxSocketPath is the longest name of a socket that every system takes.
const maxSocketPath = 103

// ErrNoDaemon is returned by Call where no daemon runs on the data_dir.
var ErrNoDaemon = errors.New("no esignd runs on this data_dir")

// listen opens the socket. The caller holds the lock of the data_dir, so that one that is there was left by a process
// that was killed.
func listen(ctx context.Context, dataDir string) (net.Listener, error) {
	dir := filepath.Join(dataDir, folder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the control socket: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a folder needs the x bit
		return nil, fmt.Errorf("close the folder of the control socket to others: %w", err)
	}
	if err := os.Remove(filepath.Join(dir, socket)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove an old control socket: %w", err)
	}
	var l net.Listener
	err := at(dir, func(path string) (err error) {
		l, err = new(net.ListenConfig).Listen(ctx, "unix", path)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the control socket in %s: %w", dir, err)
	}
	// Its name may lead through a folder that is closed by then.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	return l, nil
}

func dial(ctx context.Context, dataDir string) (net.Conn, error) {
	dir := filepath.Join(dataDir, folder)
	var conn net.Conn
	err := at(dir, func(path string) (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, "unix", path)
		return err
	})
	switch {
	case err == nil:
		return conn, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w: %s", ErrNoDaemon, dataDir)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("ask the esignd on %s: %w; run this as the user that esignd runs as", dataDir, err)
	}
	return nil, fmt.Errorf("ask the esignd on %s: %w", dataDir, err)
}

// at calls fn with a name of the socket in dir that is short enough for the system: the folder's own, or that of a
// folder that this process has open.
func at(dir string, fn func(path string) error) error {
	path := filepath.Join(dir, socket)
	if len(path) <= maxSocketPath {
		return fn(path)
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return fn(filepath.Join("/proc/self/fd", strconv.Itoa(int(d.Fd())), socket))
}
