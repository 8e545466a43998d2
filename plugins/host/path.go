package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// ErrOwner is wrapped by the error about a plugin whose file, or a folder or link on the way to it, belongs to somebody who
// is neither root nor the user that runs esignd: what runs with esignd's rights would be theirs to choose.
var ErrOwner = errors.New("it belongs to another user")

// maxLinks is how many symbolic links a path may lead through, as in the kernel.
const maxLinks = 40

// step is a folder, a link or the file on the way to a plugin's file.
type step struct {
	path string
	info fs.FileInfo
}

// wayTo returns what lies on the way from the root to the file at an absolute path, through every link of it: each link,
// each folder that holds one, and at last the file.
func wayTo(path string) ([]step, error) {
	at, rest, links := "/", strings.Split(path, "/"), 0
	var way []step
	visit := func(path string) (fs.FileInfo, error) {
		info, err := os.Lstat(path)
		if err != nil {
			return nil, fmt.Errorf("look at the way to the file: %w", err)
		}
		if !slices.ContainsFunc(way, func(s step) bool { return s.path == path }) {
			way = append(way, step{path, info})
		}
		return info, nil
	}
	if _, err := visit(at); err != nil {
		return nil, err
	}
	for len(rest) > 0 {
		next := filepath.Join(at, rest[0]) // Join takes . and .. and empty names away: at has no link in it
		rest = rest[1:]
		info, err := visit(next)
		if err != nil {
			return nil, err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return nil, fmt.Errorf("%s leads through more than %d links", path, maxLinks)
		}
		target, err := os.Readlink(next)
		if err != nil {
			return nil, fmt.Errorf("follow the link: %w", err)
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return way, nil
}

// checkOwners returns an error where a step belongs to another user than root or this process's.
func checkOwners(way []step) error {
	for _, s := range way {
		stat, ok := s.info.Sys().(*syscall.Stat_t)
		if !ok || stat.Uid == 0 || int(stat.Uid) == os.Geteuid() {
			continue
		}
		return fmt.Errorf("%s belongs to the user with the id %d, and may belong to root or the user that runs esignd (%d): %w; run `chown -h root %s`",
			s.path, stat.Uid, os.Geteuid(), ErrOwner, s.path)
	}
	return nil
}

// checkParents returns an error that names every folder on the way in which others can put something else in the place of
// what leads on to the file. In a folder with the sticky bit, such as /tmp, they cannot.
func checkParents(way []step) error {
	var open []string
	for _, s := range way {
		if s.info.IsDir() && s.info.Mode().Perm()&0o022 != 0 && s.info.Mode()&fs.ModeSticky == 0 {
			open = append(open, s.path)
		}
	}
	if len(open) == 0 {
		return nil
	}
	list := strings.Join(open, " ")
	return fmt.Errorf("whoever can write a folder above the plugin's file can put another in its place, and of %s: %w; run `chmod go-w %s`, or move the plugin",
		list, ErrWritable, list)
}
