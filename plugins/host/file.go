package host

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	goplugin "github.com/hashicorp/go-plugin"

	"github.com/esignd/esignd/plugins/internal/wire"
)

// ErrWritable is wrapped by the error about a plugin whose file, folder or folder above others than its owner can write:
// what runs with esignd's rights would be theirs to choose. The error says which path and how to mend it.
var ErrWritable = errors.New("others than its owner can write it")

// ErrDigest is wrapped by the error about a plugin whose file has another digest than the pinned one: somebody replaced
// it, or the pin was not renewed with it.
var ErrDigest = errors.New("the digest is not the pinned one")

// Binary is a plugin's file.
type Binary struct {
	Vendor string
	Path   string
}

// FileName returns the name that the plugin of a vendor must have.
func FileName(vendor string) string { return wire.FilePrefix + vendor }

// Discover returns the plugins in a folder, by their names: regular files called esignd-plugin-<vendor>. It starts none.
// A plugin that others own or can write, or that cannot be executed, is an error; so is a folder that others can write
// once there is a plugin in it.
func Discover(dir string) ([]Binary, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look for plugins (plugins.dir): %w", err)
	}
	var found []Binary
	var errs []error
	for _, entry := range entries {
		vendor, ok := strings.CutPrefix(entry.Name(), wire.FilePrefix)
		if !ok || !isVendor(vendor) || entry.IsDir() {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		if _, err := checkFile(path); err != nil {
			errs = append(errs, fmt.Errorf("plugin %s: %w", vendor, err))
			continue
		}
		found = append(found, Binary{Vendor: vendor, Path: path})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b Binary) int { return strings.Compare(a.Vendor, b.Vendor) })
	return found, nil
}

// checkFile returns an error where the file must not or cannot be executed, and else the way to it. Links are followed, and
// the folder of the link counts as well as that of the file.
func checkFile(path string) ([]step, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("there is no plugin file: %w", err)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("look for the file: %w", err)
	}
	way, err := wayTo(path)
	if err != nil {
		return nil, err
	}
	file := way[len(way)-1]
	if !file.info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", file.path)
	}
	if err := checkOwners(way); err != nil {
		return nil, err
	}
	for _, s := range way {
		if s == file || s.path == filepath.Dir(file.path) || s.path == filepath.Dir(path) {
			if err := checkWritable(s); err != nil {
				return nil, err
			}
		}
	}
	if mode := file.info.Mode().Perm(); mode&0o111 == 0 {
		return nil, fmt.Errorf("%s (mode %04o) is not executable; run `chmod +x %s`", file.path, mode, file.path)
	}
	return way, nil
}

func checkWritable(s step) error {
	if mode := s.info.Mode().Perm(); s.info.Mode()&fs.ModeSymlink == 0 && mode&0o022 != 0 {
		kind := "file"
		if s.info.IsDir() {
			kind = "folder"
		}
		return fmt.Errorf("the %s %s has mode %04o: %w; run `chmod go-w %s`", kind, s.path, mode, ErrWritable, s.path)
	}
	return nil
}

// checkDigest compares the file's SHA-256 with want. The hash is new each time: go-plugin never resets one.
func checkDigest(path string, want []byte) error {
	secure := &goplugin.SecureConfig{Checksum: want, Hash: sha256.New()}
	ok, err := secure.Check(path)
	if err != nil {
		return fmt.Errorf("hash the file: %w", err)
	}
	if !ok {
		return fmt.Errorf("%s has SHA-256 %x, plugins.sha256 says %x: %w; replace the file by the one you trust, or renew the pin",
			path, secure.Hash.Sum(nil), want, ErrDigest)
	}
	return nil
}
