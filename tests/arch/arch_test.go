package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "example.com/m"

// read reads a module of the given files.
func read(t *testing.T, files map[string]string) *Tree {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	tree, err := Read(fsys, module, "bin")
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// finds fails the test unless there is one finding for each of want, in order, that holds it.
func finds(t *testing.T, found []string, want ...string) {
	t.Helper()
	if len(found) != len(want) {
		t.Fatalf("found %d: %q, want %d: %q", len(found), found, len(want), want)
	}
	for i := range want {
		if !strings.Contains(found[i], want[i]) {
			t.Errorf("found %q, want %q", found[i], want[i])
		}
	}
}

func TestReadTakesTheModuleAndNothingElse(t *testing.T) {
	const src = "package p\n"
	tree := read(t, map[string]string{
		"a.go": src, "a_test.go": src, "p/p.go": src, "p/p_windows.go": src, "p/README.md": "",
		"p/testdata/x.go": src, "node_modules/x.go": src, ".ci/x.go": src, "_old/x.go": src, "bin/x.go": src,
		"nested/go.mod": "module example.com/n\n", "nested/x.go": src, "go.mod": "module " + module + "\n",
	})
	var names []string
	for _, f := range tree.Files {
		names = append(names, f.Name)
	}
	if got := strings.Join(names, " "); got != "a.go p/p.go p/p_windows.go" {
		t.Errorf("read %s", got)
	}
}

func TestReadReportsWhatItCannotParse(t *testing.T) {
	_, err := Read(fstest.MapFS{"p/x.go": {Data: []byte("package")}}, module)
	if err == nil || !strings.Contains(err.Error(), "p/x.go:1") {
		t.Errorf("got %v", err)
	}
	if _, err := Read(brokenFS{}, module); err == nil {
		t.Error("a folder that cannot be read is no error")
	}
}

type brokenFS struct{}

func (brokenFS) Open(string) (fs.File, error) { return nil, fs.ErrPermission }

func TestCheckNamesTheShortestChain(t *testing.T) {
	tree := read(t, map[string]string{"core/a.go": "package core\n\nimport (\n\t\"fmt\"\n\tx \"example.com/x\"\n)\n"})
	g := Graph{
		"example.com/x": {"example.com/y", "example.com/long"}, "example.com/long": {"example.com/y2"},
		"example.com/y2": {"example.com/bad/sub"}, "example.com/y": {"example.com/bad/sub", "example.com/x"},
	}
	rule := Rule{Name: "no bad", Reason: "it is bad", Not: []string{"example.com/bad/..."}, Deep: true}
	finds(t, tree.Check([]Rule{rule}, g),
		"no bad\n\tcore/a.go:5: example.com/x → example.com/y → example.com/bad/sub\n\twhy: it is bad")
	rule.Deep = false
	finds(t, tree.Check([]Rule{rule}, g))
}

func TestCheckSeesImportsUnderEveryBuildTag(t *testing.T) {
	tree := read(t, map[string]string{"p/p_plan9.go": "//go:build never\n\npackage p\n\nimport _ \"example.com/bad\"\n"})
	finds(t, tree.Check([]Rule{{Name: "r", Not: []string{"example.com/bad"}}}, nil), "p/p_plan9.go:5")
}

func TestPatterns(t *testing.T) {
	tree := &Tree{Module: module}
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"core", module + "/core", true},
		{"core", module + "/core/x", false},
		{"core/...", module + "/core", true},
		{"core/...", module + "/core/x", true},
		{"core/...", module + "/corex", false},
		{"core/...", "example.org/core", false},
		{".", module, true},
		{".", module + "/core", false},
		{"module", module, true},
		{"module", module + "/core", true},
		{"module", module + "x/core", false},
		{"foreign", "example.org/x", true},
		{"foreign", module + "/core", false},
		{"foreign", "net/http", false},
		{"foreign", "vendor/golang.org/x/net/idna", false},
		{"example.org/x/...", "example.org/x/y", true},
		{"net/http", "net/http", true},
	} {
		if got := tree.matches(c.pattern, c.path); got != c.want {
			t.Errorf("%s matches %s: %v", c.pattern, c.path, got)
		}
	}
}

func TestOwnLetsAFamilyImportItselfAndNoOther(t *testing.T) {
	const imports = "package p\n\nimport _ \"" + module + "/plugins/a\"\n"
	tree := read(t, map[string]string{
		"plugins/a/cmd/main.go": imports, "plugins/ab/x.go": imports, "plugins/p.go": imports,
	})
	rule := Rule{Name: "r", Not: []string{"module"}, Own: true}
	finds(t, tree.Check([]Rule{rule}, nil), "plugins/ab/x.go:3", "plugins/p.go:3")
}

func TestUnmatchedFindsPatternsThatNameNothing(t *testing.T) {
	tree := read(t, map[string]string{"core/a.go": "package core\n"})
	g := Graph{module + "/core": {"example.com/x"}}
	rules := []Rule{{Name: "r", Of: []string{"core/...", "coer"}, Except: []string{"gone"}, Not: []string{"example.com/x", "example.com/z"}, But: []string{"y"}}}
	finds(t, tree.Unmatched(rules, g), "r: coer ", "r: gone ", "r: example.com/z ", "r: y ")
}

func TestListReadsAModuleAndWhatItReaches(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module " + module + "\n\ngo 1.26\n", "p/p.go": "package p\n\nimport _ \"" + module + "/q\"\n",
		"p/p_test.go": "package p\n\nimport _ \"net/http\"\n", "q/q.go": "package q\n\nimport _ \"errors\"\n",
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	g, err := List(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	finds(t, g[module+"/p"], module+"/q")
	finds(t, g[module+"/q"], "errors")
	if _, ok := g["internal/reflectlite"]; !ok {
		t.Error("what errors imports is not there")
	}
	if _, ok := g["net/http"]; ok {
		t.Error("what only tests import is there")
	}
	if _, err := List(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "go list") {
		t.Errorf("outside of a module: %v", err)
	}
}

func TestListRefusesOutputThatItCannotRead(t *testing.T) {
	if _, err := decodeList(strings.NewReader(`{"ImportPath":"a"}{`)); err == nil {
		t.Error("half an object is taken")
	}
}

func TestLogsFindsWhatTellsTooLittle(t *testing.T) {
	tree := read(t, map[string]string{"p/p.go": `package p

func f(ctx context.Context, log *slog.Logger) {
	log.Info("in no trace")
	log.InfoContext(ctx, "in its trace", "grant", g)
	go func() { log.Debug("in no trace either") }()
	log.WarnContext(ctx, "it went wrong")
	log.WarnContext(ctx, "it went wrong; " + "it is tried again", "error", err)
	log.ErrorContext(ctx, "It went wrong; it ends")
	log.ErrorContext(ctx, text, "badKey", 1)
	ctx.Err()
}

func g(s *server, r *http.Request, _ context.Context) {
	s.cfg.Logger.Error("NATS is gone; esignd waits")
	func(int) { s.Logger().Info("a sentence.") }(1)
}

func h(_ context.Context, log *slog.Logger) { log.Info("nothing at hand") }
`, "q/q.go": "package q\n\nfunc f() { log.Info(text) }\n"})
	want := []string{
		"p/p.go:4: InfoContext", "p/p.go:6: DebugContext", `p/p.go:7: "it went wrong": say after`, `p/p.go:9: "It went`,
		"p/p.go:10: the message", "p/p.go:10: the attribute", "p/p.go:15: ErrorContext", "p/p.go:16: InfoContext", "p/p.go:16: \"a sentence.\"",
	}
	finds(t, tree.Logs(nil, "p/..."), want...)
	finds(t, tree.Logs([]string{"p/p.go"}, "..."))
	finds(t, tree.Logs(nil, "q"), "q/q.go:3: the message")
}
