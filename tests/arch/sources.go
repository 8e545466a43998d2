package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Folders returns a finding for each top-level folder that is not in allowed. Folders whose name begins with a dot
// belong to tools and are let pass.
func (t *Tree) Folders(allowed []string) ([]string, error) {
	entries, err := fs.ReadDir(t.fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("read the top folder: %w", err)
	}
	var found []string
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() || strings.HasPrefix(name, ".") || slices.Contains(t.skip, name) || slices.Contains(allowed, name) {
			continue
		}
		found = append(found, fmt.Sprintf("%s/ is no folder of this project; it has %s", name, strings.Join(allowed, ", ")))
	}
	return found, nil
}

// Undocumented returns a finding for each package without a package comment, and for each with more than one.
// Packages that a tool wrote are let pass.
func (t *Tree) Undocumented() []string {
	documented := map[string][]string{}
	for _, f := range t.Files {
		if f.Generated {
			continue
		}
		names := documented[f.Dir()]
		if strings.TrimSpace(f.syntax.Doc.Text()) != "" {
			names = append(names, f.Name)
		}
		documented[f.Dir()] = names
	}
	var found []string
	for _, dir := range slices.Sorted(maps.Keys(documented)) {
		switch names := documented[dir]; len(names) {
		case 0:
			found = append(found, fmt.Sprintf("package %s has no package comment: say what it is for, what it guarantees, what it does not do", dir))
		case 1:
		default:
			found = append(found, fmt.Sprintf("package %s has %d package comments, and readers see one: %s", dir, len(names), strings.Join(names, ", ")))
		}
	}
	return found
}

// InitFunctions returns a finding for each init function that no tool wrote.
func (t *Tree) InitFunctions() []string {
	var found []string
	for _, f := range t.Files {
		for _, decl := range f.syntax.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if ok && fn.Recv == nil && fn.Name.Name == "init" && !f.Generated {
				found = append(found, f.at(fn.Pos())+": func init runs before anybody can pass it a configuration or see its error")
			}
		}
	}
	return found
}

// Sleeps returns a finding for each time.Sleep outside of the files in allowed, which maps a file's name to the reason,
// and for each entry of allowed that no longer sleeps.
func (t *Tree) Sleeps(allowed map[string]string) []string {
	var found []string
	stale := maps.Clone(allowed)
	for _, f := range t.Files {
		places := f.uses("time", "Sleep")
		if len(places) > 0 && allowed[f.Name] != "" {
			delete(stale, f.Name)
			continue
		}
		for _, place := range places {
			found = append(found, place+": time.Sleep cannot be interrupted: wait on a timer and ctx.Done() together")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(stale)) {
		found = append(found, name+" is listed as a file that sleeps, and does not")
	}
	return found
}

// uses returns where the file names a member of an imported package.
func (f *File) uses(importPath, member string) []string {
	local := f.localName(importPath)
	if local == "" {
		return nil
	}
	var places []string
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == local && n.Sel.Name == member {
				places = append(places, f.at(n.Pos()))
			}
		case *ast.Ident:
			if local == "." && n.Name == member {
				places = append(places, f.at(n.Pos()))
			}
		}
		return true
	})
	return places
}

// localName is the name under which the file knows a package, empty if it does not import it.
func (f *File) localName(importPath string) string {
	for _, spec := range f.syntax.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err != nil || p != importPath {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(importPath)
	}
	return ""
}

// Words returns a finding for each line of any text file, tests and documents included, that holds one of the words in
// banned, whatever their case. Banned maps a word to the reason.
func (t *Tree) Words(banned map[string]string) ([]string, error) {
	words := slices.Sorted(maps.Keys(banned))
	var found []string
	err := t.walk(func(name string, entry fs.DirEntry) error {
		if entry.IsDir() && path.Base(name) == "node_modules" {
			return fs.SkipDir
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		text, err := fs.ReadFile(t.fsys, name)
		if err != nil {
			return err
		}
		if bytes.IndexByte(text, 0) >= 0 { // not text
			return nil
		}
		for number, line := range strings.Split(strings.ToLower(string(text)), "\n") {
			for _, word := range words {
				if strings.Contains(line, strings.ToLower(word)) {
					found = append(found, fmt.Sprintf("%s:%d: mentions %q: %s", name, number+1, word, banned[word]))
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read all files: %w", err)
	}
	return found, nil
}
