package arch

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Rule is a rule about imports. Its patterns name packages: those of the module by folder ("core", "." for the root),
// others by import path, a trailing "/..." takes in all below, and two words stand for many: "module" for every package
// of the module, "foreign" for every package that is neither the module's nor of the standard library.
type Rule struct {
	// Name is a few words that say what may not be.
	Name string
	// Reason is why. It is part of the finding, for whoever meets it.
	Reason string
	// Of are the packages it binds; empty binds all of the module.
	Of []string
	// Except are packages that it does not bind after all.
	Except []string
	// ExceptFile is the base name of files that it does not bind.
	ExceptFile string
	// Not are the packages that may not be imported.
	Not []string
	// But are packages that may be imported although Not matches them.
	But []string
	// Own lets a package under Of import what stands beside and below it: the first two elements of the folder agree.
	Own bool
	// Deep forbids to reach the packages through others too.
	Deep bool
	// Breaks is an import that the rule must find: the file, then the import paths from it to the forbidden package.
	Breaks []string
	// Allows is one like it that the rule must let pass.
	Allows []string
}

// Graph is what each package imports, all by import path.
type Graph map[string][]string

// Check returns the findings of the rules, each with the rule, the chain of imports and the reason. Graph says what
// packages import that are not in the tree; nil is none.
func (t *Tree) Check(rules []Rule, g Graph) []string {
	var found []string
	for _, r := range rules {
		for _, f := range t.Files {
			if !t.binds(r, f) {
				continue
			}
			for _, imp := range f.Imports {
				if chain := t.chain(r, f.Dir(), imp.Path, g); chain != nil {
					found = append(found, fmt.Sprintf("%s\n\t%s:%d: %s\n\twhy: %s",
						r.Name, f.Name, imp.Line, strings.Join(chain, " → "), r.Reason))
				}
			}
		}
	}
	return found
}

// Unmatched returns the patterns of the rules that match nothing in the tree or the graph: a rule with a slip of the
// pen never fails.
func (t *Tree) Unmatched(rules []Rule, g Graph) []string {
	known := map[string]bool{}
	for _, f := range t.Files {
		known[t.importPath(f.Dir())] = true
	}
	for p, imports := range g {
		known[p] = true
		for _, i := range imports {
			known[i] = true
		}
	}
	var lost []string
	for _, r := range rules {
		for _, pattern := range slices.Concat(r.Of, r.Except, r.Not, r.But) {
			if !t.matchesAny(pattern, known) {
				lost = append(lost, fmt.Sprintf("%s: %s matches no package", r.Name, pattern))
			}
		}
	}
	return lost
}

func (t *Tree) matchesAny(pattern string, known map[string]bool) bool {
	for p := range known {
		if t.matches(pattern, p) {
			return true
		}
	}
	return false
}

func (t *Tree) binds(r Rule, f *File) bool {
	p := t.importPath(f.Dir())
	if len(r.Of) > 0 && !t.matchesOne(r.Of, p) {
		return false
	}
	return !t.matchesOne(r.Except, p) && (r.ExceptFile == "" || path.Base(f.Name) != r.ExceptFile)
}

// chain is the shortest chain of imports that starts with imported and ends with a package that the rule forbids to
// dir; nil if there is none.
func (t *Tree) chain(r Rule, dir, imported string, g Graph) []string {
	if t.forbids(r, dir, imported) {
		return []string{imported}
	}
	if !r.Deep {
		return nil
	}
	from := map[string]string{imported: ""}
	queue := []string{imported}
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		if t.forbids(r, dir, p) {
			return unwind(from, p)
		}
		for _, next := range g[p] {
			if _, seen := from[next]; !seen {
				from[next] = p
				queue = append(queue, next)
			}
		}
	}
	return nil
}

func unwind(from map[string]string, p string) []string {
	var chain []string
	for ; p != ""; p = from[p] {
		chain = append(chain, p)
	}
	slices.Reverse(chain)
	return chain
}

func (t *Tree) forbids(r Rule, dir, imported string) bool {
	if !t.matchesOne(r.Not, imported) || t.matchesOne(r.But, imported) {
		return false
	}
	return !r.Own || !t.sameFamily(dir, imported)
}

// sameFamily says whether the first two elements of both folders agree: plugins/x and plugins/x/sandbox.
func (t *Tree) sameFamily(dir, imported string) bool {
	other, ours := t.folder(imported)
	if !ours {
		return false
	}
	a, b := strings.Split(dir, "/"), strings.Split(other, "/")
	return len(a) > 1 && len(b) > 1 && a[0] == b[0] && a[1] == b[1]
}

func (t *Tree) matchesOne(patterns []string, importPath string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return t.matches(pattern, importPath) })
}

func (t *Tree) matches(pattern, importPath string) bool {
	name := importPath
	dir, ours := t.folder(importPath)
	if ours {
		name = dir
	}
	switch pattern {
	case "module":
		return ours
	case "foreign":
		first, _, _ := strings.Cut(importPath, "/")
		return !ours && first != "vendor" && strings.Contains(first, ".")
	}
	if below, ok := strings.CutSuffix(pattern, "/..."); ok {
		return name == below || strings.HasPrefix(name, below+"/")
	}
	return name == pattern
}

// folder is the folder of a package of the module.
func (t *Tree) folder(importPath string) (dir string, ours bool) {
	if importPath == t.Module {
		return ".", true
	}
	return strings.CutPrefix(importPath, t.Module+"/")
}

func (t *Tree) importPath(dir string) string {
	if dir == "." {
		return t.Module
	}
	return t.Module + "/" + dir
}
