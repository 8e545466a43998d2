package tests

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const dependenciesPage = "../docs/dependencies.md"

// TestEachDependencyHasItsReason holds that docs/dependencies.md has a line for each module that a go.mod names itself,
// and no other.
func TestEachDependencyHasItsReason(t *testing.T) {
	given := dependencyReasons(read(t, dependenciesPage))
	for _, file := range moduleFiles(t) {
		module, direct := directModules(t, file)
		for _, problem := range compareReasons(given[module], direct) {
			t.Errorf("%s: %s: %s", dependenciesPage, module, problem)
		}
		delete(given, module)
	}
	for module := range given {
		t.Errorf("%s: there is no module %s", dependenciesPage, module)
	}
}

func TestDependenciesAreCompared(t *testing.T) {
	page := "## example.com/m\n\n| module | why |\n|---|---|\n| `a` | because |\n| `b` |  |\n| `gone` | it was |\n"
	got := compareReasons(dependencyReasons(page)["example.com/m"], []string{"a", "b", "c"})
	if want := []string{"b has no reason", "c has no line", "gone is not in go.mod any more, or only // indirect"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := compareReasons(map[string]string{"a": "because"}, []string{"a"}); len(got) > 0 {
		t.Errorf("of what is right is said %q", got)
	}
}

// dependencyReasons reads the page: the reason by dependency by module.
func dependencyReasons(page string) map[string]map[string]string {
	all, module := map[string]map[string]string{}, ""
	row := regexp.MustCompile("^\\| `([^`]+)` \\| *(.*?) *\\|$")
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "## "); ok {
			module, all[name] = name, map[string]string{}
		} else if m := row.FindStringSubmatch(line); m != nil && module != "" {
			all[module][m[1]] = m[2]
		}
	}
	return all
}

// compareReasons says what is wrong with the reasons for the modules.
func compareReasons(reasons map[string]string, modules []string) []string {
	var problems []string
	for _, m := range modules {
		if reason, ok := reasons[m]; !ok {
			problems = append(problems, m+" has no line")
		} else if reason == "" {
			problems = append(problems, m+" has no reason")
		}
	}
	for m := range reasons {
		if !slices.Contains(modules, m) {
			problems = append(problems, m+" is not in go.mod any more, or only // indirect")
		}
	}
	slices.Sort(problems)
	return problems
}

// moduleFiles finds every go.mod of the repository.
func moduleFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && slices.Contains([]string{".git", "tools", "node_modules", "testdata", "bin"}, e.Name()) {
			return fs.SkipDir
		}
		if e.Name() == "go.mod" {
			files = append(files, path)
		}
		return nil
	})
	if err != nil || len(files) < 2 {
		t.Fatalf("found %v: %v", files, err)
	}
	return files
}

// directModules returns the module that a file is of, and those that it names itself.
func directModules(t *testing.T, file string) (module string, direct []string) {
	t.Helper()
	out, err := exec.Command("go", "mod", "edit", "-json", file).Output()
	var mod struct {
		Module  struct{ Path string }
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err == nil {
		err = json.Unmarshal(out, &mod)
	}
	if err != nil {
		t.Fatal(fmt.Errorf("read %s: %w", file, err))
	}
	for _, r := range mod.Require {
		if !r.Indirect {
			direct = append(direct, r.Path)
		}
	}
	return mod.Module.Path, direct
}
