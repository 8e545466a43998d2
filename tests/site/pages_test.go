// Package site follows the documentation: what its pages tell to type is typed, against the real binaries and `esignd dev`,
// what they show is compared with what comes out, configurations are loaded, messages are held against their schemas, Go
// stands in a file that is compiled, and links lead somewhere.
//
// The short tests read, the long ones type. How a page says what is to be done with a block is in package page.
package site

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/esignd/esignd/tests/page"
)

const root = "../.."

// pages are the pages of the documentation, by their path in the repository.
func pages(t *testing.T) map[string]page.Page {
	t.Helper()
	all := map[string]page.Page{}
	for _, pattern := range []string{"README.md", "docs/*.md", "docs/*/*.md"} {
		found, err := fs.Glob(os.DirFS(root), pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			all[path] = readPage(t, path)
		}
	}
	if len(all) < 10 {
		t.Fatalf("there are %d pages", len(all))
	}
	return all
}

func readPage(t *testing.T, path string) page.Page {
	t.Helper()
	f, err := os.Open(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	p, err := page.Read(f)
	if err != nil {
		t.Errorf("%s, %v", path, err)
	}
	return p
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// markdown are all documents of the repository.
func markdown(t *testing.T) []string {
	t.Helper()
	var all []string
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && slices.Contains([]string{".git", ".ci", "node_modules", "testdata", "bin"}, e.Name()) {
			return fs.SkipDir
		}
		if filepath.Ext(path) == ".md" {
			all = append(all, path)
		}
		return nil
	})
	if err != nil || len(all) < 15 {
		t.Fatalf("found %v: %v", all, err)
	}
	return all
}
