package host_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/host"
)

func TestDiscoverRefusesWhatOthersCanWrite(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	dir := closedDir(t)
	path := filepath.Join(dir, host.FileName("good"))
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
	link := closedDir(t)
	if err := os.Symlink(path, filepath.Join(link, host.FileName("good"))); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name         string
		file, folder os.FileMode
		in           string
		says         string
	}{
		{"file by the group", 0o775, 0o755, dir, "run `chmod go-w " + path + "`"},
		{"file by all", 0o757, 0o755, dir, "mode 0757"},
		{"folder by the group", 0o755, 0o775, dir, "the folder " + dir + " has mode 0775"},
		{"folder by all", 0o755, 0o777, dir, "run `chmod go-w " + dir + "`"},
		{"file behind a link", 0o775, 0o755, link, path},
		{"folder behind a link", 0o755, 0o777, link, "the folder " + dir},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			chmod(t, path, tt.file)
			chmod(t, dir, tt.folder)
			_, err := host.Discover(tt.in)
			if !errors.Is(err, host.ErrWritable) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want it to say %q", err, tt.says)
			}
		})
	}
	chmod(t, path, 0o755)
	chmod(t, dir, 0o755)
	found, err := host.Discover(link)
	if err != nil || len(found) != 1 || found[0].Vendor != "good" {
		t.Errorf("once it is mended: %v, %v", found, err)
	}
}

// place is a plugin's file three folders below one that is closed, and a link to it from elsewhere.
type place struct {
	top, middle, dir, file string
	outer, link            string
}

func newPlace(t *testing.T) place {
	t.Helper()
	top, outer := closedDir(t), closedDir(t)
	p := place{top: top, middle: filepath.Join(top, "a", "b"), outer: outer}
	p.dir = filepath.Join(p.middle, "plugins")
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p.file = filepath.Join(p.dir, host.FileName("good"))
	if err := os.WriteFile(p.file, []byte("#!/bin/sh\nexit 7\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.link = filepath.Join(outer, "l", "plugins")
	if err := os.Mkdir(filepath.Dir(p.link), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(p.dir, p.link); err != nil {
		t.Fatal(err)
	}
	return p
}

// started is in the error of a plugin that was started: it is a script that ends with 7.
const started = "exit status 7"

func TestStartLooksAtEverythingOnTheWayToTheFile(t *testing.T) {
	throughLink := func(p place) string { return filepath.Join(p.link, host.FileName("good")) }
	tests := map[string]struct {
		spoil func(t *testing.T, p place)
		path  func(p place) string // nil: the file itself
		is    error                // nil: it is started
		says  func(p place) string
	}{
		"all in order":                 {},
		"all in order, through a link": {path: throughLink},
		"the file by the group": {
			spoil: func(t *testing.T, p place) { chmod(t, p.file, 0o775) },
			is:    host.ErrWritable, says: func(p place) string { return "run `chmod go-w " + p.file + "`" },
		},
		"the file by all": {
			spoil: func(t *testing.T, p place) { chmod(t, p.file, 0o757) },
			is:    host.ErrWritable, says: func(p place) string { return "run `chmod go-w " + p.file + "`" },
		},
		"its folder": {
			spoil: func(t *testing.T, p place) { chmod(t, p.dir, 0o775) },
			is:    host.ErrWritable, says: func(p place) string { return "run `chmod go-w " + p.dir + "`" },
		},
		"its folder, with the sticky bit: a plugin may be added": {
			spoil: func(t *testing.T, p place) { chmod(t, p.dir, 0o777|os.ModeSticky) },
			is:    host.ErrWritable, says: func(p place) string { return "run `chmod go-w " + p.dir + "`" },
		},
		"a folder above": {
			spoil: func(t *testing.T, p place) { chmod(t, p.middle, 0o775) },
			is:    host.ErrWritable, says: func(p place) string { return "run `chmod go-w " + p.middle + "`" },
		},
		"two folders above, in one command": {
			spoil: func(t *testing.T, p place) { chmod(t, p.middle, 0o777); chmod(t, p.top, 0o775) },
			is:    host.ErrWritable, says: func(p place) string { return "run `chmod go-w " + p.top + " " + p.middle + "`" },
		},
		"a folder above, with the sticky bit": {
			spoil: func(t *testing.T, p place) { chmod(t, p.middle, 0o777|os.ModeSticky) },
		},
		"the folder of a link on the way": {
			spoil: func(t *testing.T, p place) { chmod(t, filepath.Dir(p.link), 0o777) }, path: throughLink,
			is: host.ErrWritable, says: func(p place) string { return "run `chmod go-w " + filepath.Dir(p.link) + "`" },
		},
		"a folder above, behind a link": {
			spoil: func(t *testing.T, p place) { chmod(t, p.middle, 0o777) }, path: throughLink,
			is: host.ErrWritable, says: func(p place) string { return "run `chmod go-w " + p.middle + "`" },
		},
		"the file is another user's": {
			spoil: func(t *testing.T, p place) { chown(t, p.file) },
			is:    host.ErrOwner, says: func(p place) string { return "run `chown -h root " + p.file + "`" },
		},
		"its folder is another user's": {
			spoil: func(t *testing.T, p place) { chown(t, p.dir) },
			is:    host.ErrOwner, says: func(p place) string { return p.dir + " belongs to the user with the id 4242" },
		},
		"a folder above is another user's": {
			spoil: func(t *testing.T, p place) { chown(t, p.middle) },
			is:    host.ErrOwner, says: func(p place) string { return p.middle + " belongs to" },
		},
		"a link on the way is another user's": {
			spoil: func(t *testing.T, p place) { chown(t, p.link) }, path: throughLink,
			is: host.ErrOwner, says: func(p place) string { return "chown -h root " + p.link },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			if tt.spoil != nil {
				tt.spoil(t, p)
			}
			path := p.file
			if tt.path != nil {
				path = tt.path(p)
			}
			err := newPlugin(t, host.Config{Path: path, Vendor: "good"}).Start(t.Context())
			if err == nil || strings.Contains(err.Error(), started) != (tt.is == nil) {
				t.Fatalf("got %v", err)
			}
			if tt.is != nil && (!errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.says(p))) {
				t.Errorf("got %v, want it to say %q", err, tt.says(p))
			}
		})
	}
}

// chown gives a file, folder or link to another user, which takes root.
func chown(t *testing.T, path string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file to another user")
	}
	if err := os.Lchown(path, 4242, -1); err != nil {
		t.Fatal(err)
	}
}

func TestLooseParentsAreWarnedOfInDevelopment(t *testing.T) {
	p := newPlace(t)
	chmod(t, p.middle, 0o777)
	logs := &logBuffer{}
	err := newPlugin(t, host.Config{Path: p.file, Vendor: "good", LooseParents: true, Logger: logs.logger()}).Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), started) {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(logs.String(), "in production it would not be") || !strings.Contains(logs.String(), "chmod go-w "+p.middle) {
		t.Errorf("no warning in %s", logs)
	}
	chmod(t, p.dir, 0o777)
	if err := newPlugin(t, host.Config{Path: p.file, Vendor: "good", LooseParents: true}).Start(t.Context()); !errors.Is(err, host.ErrWritable) {
		t.Errorf("the plugin's own folder: got %v", err)
	}
}

func TestLinksInACircleAreAnError(t *testing.T) {
	dir := closedDir(t)
	path := filepath.Join(dir, host.FileName("good"))
	if err := os.Symlink(path, path); err != nil {
		t.Fatal(err)
	}
	if err := newPlugin(t, host.Config{Path: path, Vendor: "good"}).Start(t.Context()); err == nil || !strings.Contains(err.Error(), "there is no plugin file") {
		t.Errorf("got %v", err)
	}
}

// TestSwappedFileIsRefusedAtTheRestart puts another file in the place of a pinned one that runs: when the process ends, the
// other is not started, until the pinned one is back.
func TestSwappedFileIsRefusedAtTheRestart(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(closedDir(t), host.FileName("good"))
	put := func(content []byte) {
		if err := os.WriteFile(path+".new", content, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	put(content)
	logs := &logBuffer{}
	p := newPlugin(t, host.Config{
		Env: raceEnv, Path: path, Vendor: "good", SHA256: digest(t, self), Logger: logs.logger(),
		Limits: host.Limits{MinBackoff: 10 * time.Millisecond, MaxBackoff: 50 * time.Millisecond},
	})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close(t.Context()) }()
	put(append(content, 0)) // which would run all the same
	if _, err := token(t.Context(), p.Adapter(), ""); err != nil {
		t.Fatalf("the process that runs is the pinned one: %v", err)
	}
	kill9(t, p.Status().PID)
	eventually(t, "the refusal of the other file", func() bool {
		return strings.Contains(p.Status().LastError, digest(t, path)+", plugins.sha256 says "+digest(t, self))
	})
	if s := p.Status(); s.State != host.Restarting || s.PID != 0 || s.Restarts != 0 {
		t.Errorf("status: %+v", s)
	}
	_, err = token(t.Context(), p.Adapter(), "")
	wantVendorError(t, err, core.NotSent, core.CodePlugin)
	if !strings.Contains(logs.String(), "the digest is not the pinned one; replace the file by the one you trust, or renew the pin") {
		t.Errorf("the log does not say what to do: %s", logs)
	}
	put(content)
	eventually(t, "the pinned file runs again", func() bool {
		_, err := token(t.Context(), p.Adapter(), "")
		return err == nil
	})
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
