// Package arch checks a Go module against rules about its structure: who may import whom, what each package has, what
// no file holds.
//
// A [Tree] is read from the sources, so that a finding names a file and a line, and so that `go test` runs the check
// again when a source file changes. What a package reaches through others comes from `go list`. Test files, testdata
// folders and nested modules are outside of all rules but [Tree.Words].
package arch

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Tree is a module's source.
type Tree struct {
	// Module is the module path.
	Module string
	// Files are the module's Go files without its tests, by name.
	Files []*File

	fsys fs.FS
	skip []string
}

// File is a Go file.
type File struct {
	// Name is the path in the module, with slashes.
	Name string
	// Imports are in the file's order.
	Imports []Import
	// Generated says that a tool wrote the file.
	Generated bool

	fset   *token.FileSet
	syntax *ast.File
}

// Import is an import declaration.
type Import struct {
	Path string
	Line int
}

// Dir is the folder of the file's package, "." for the root.
func (f *File) Dir() string { return path.Dir(f.Name) }

// at is a place in the file as file:line.
func (f *File) at(p token.Pos) string {
	return fmt.Sprintf("%s:%d", f.Name, f.fset.Position(p).Line)
}

// Read reads the module in fsys. Top-level folders in skip are left out, as git leaves them out.
func Read(fsys fs.FS, module string, skip ...string) (*Tree, error) {
	t := &Tree{Module: module, fsys: fsys, skip: skip}
	err := t.walk(func(name string, dir fs.DirEntry) error {
		if dir.IsDir() {
			return t.skipFolder(name)
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		src, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		f, err := parse(name, src)
		if err != nil {
			return err
		}
		t.Files = append(t.Files, f)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the sources: %w", err)
	}
	return t, nil
}

// walk visits all files and folders but git's own and those left out.
func (t *Tree) walk(visit func(name string, entry fs.DirEntry) error) error {
	return fs.WalkDir(t.fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (name == ".git" || slices.Contains(t.skip, name)) {
			return fs.SkipDir
		}
		return visit(name, entry)
	})
}

// skipFolder returns fs.SkipDir for a folder that is no part of the module.
func (t *Tree) skipFolder(name string) error {
	base := path.Base(name)
	if name == "." {
		return nil
	}
	if base == "testdata" || base == "node_modules" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return fs.SkipDir
	}
	switch _, err := fs.Stat(t.fsys, path.Join(name, "go.mod")); {
	case err == nil:
		return fs.SkipDir
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return err
	}
}

func parse(name string, src []byte) (*File, error) {
	f := &File{Name: name, fset: token.NewFileSet()}
	syntax, err := parser.ParseFile(f.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	f.syntax = syntax
	f.Generated = ast.IsGenerated(syntax)
	for _, spec := range syntax.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: import %s: %w", name, spec.Path.Value, err)
		}
		f.Imports = append(f.Imports, Import{Path: p, Line: f.fset.Position(spec.Pos()).Line})
	}
	return f, nil
}
