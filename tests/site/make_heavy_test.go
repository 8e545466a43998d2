//go:build heavy

package site

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/tests/page"
	"github.com/esignd/esignd/tests/system"
)

// TestMakeBuildsAndRuns types into this checkout what the pages say of make. Of `make test`, in which this may run itself, it looks at
// the plan; `make run` goes on until a demo account has used its token, and is interrupted.
func TestMakeBuildsAndRuns(t *testing.T) {
	t.Parallel()
	checkout := system.Must(filepath.Abs(root))(t)
	temporary := t.TempDir()
	t.Cleanup(func() { // when it was interrupted
		if left := system.Must(os.ReadDir(temporary))(t); len(left) > 0 {
			t.Errorf("`make run` leaves %v behind", left)
		}
	})
	environ := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS") })
	s := page.NewSession(t, page.Config{Folder: checkout, Env: append(environ, "TMPDIR="+temporary,
		"ESIGND_NATS_LISTEN="+system.FreeAddress(t), "ESIGND_HTTP_LISTEN="+system.FreeAddress(t), "ESIGND_HTTP_ADMIN="+system.FreeAddress(t))})
	output := func(script string, stays bool) string {
		t.Helper()
		if _, err := s.Do(page.Block{Kind: "sh", Text: script + "\n", Stays: stays}); err != nil {
			t.Fatal(err, s.Output())
		}
		return s.Output()
	}
	targets := map[string]func(){
		"make build": func() {
			output("make build", false)
			for _, binary := range append(system.Must(filepath.Glob(filepath.Join(checkout, "plugins/*/esignd-plugin-*")))(t), "esignd", "plugin-host") {
				output("[[ -x bin/"+filepath.Base(binary)+" ]]", false)
			}
		},
		"make test": func() {
			if plan := output("make -n test", false); !strings.Contains(plan, "go test ") || !strings.Contains(plan, " ./...") {
				t.Errorf("`make test` is: %s", plan)
			}
		},
		"make run": func() {
			output("make run", true)
			system.Await(t, 3*time.Minute, "`make run` uses a token", func() bool {
				return strings.Contains(s.Output(), "token.issued") && strings.Contains(s.Output(), "HTTP 200")
			})
		},
	}
	said := commands(t, "TestMakeBuildsAndRuns")
	for _, command := range said {
		if targets[command] == nil {
			t.Fatalf("the pages say %q, of which this test knows nothing", command)
		}
		targets[command]()
	}
	if len(said) != len(targets) {
		t.Errorf("the pages say %v", said)
	}
}

// commands are the lines of all blocks that a test runs, each once.
func commands(t *testing.T, test string) []string {
	t.Helper()
	said := map[string]bool{}
	for _, blocks := range runBy(t, test) {
		for _, b := range blocks {
			for line := range strings.Lines(b.Text) {
				command, _, _ := strings.Cut(line, " #")
				said[strings.TrimSpace(command)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(said))
}

// TestReadmesDaemonRuns types what README.md says of a daemon of one's own, but for `make build`.
func TestReadmesDaemonRuns(t *testing.T) {
	t.Parallel()
	s := newSession(t, "DROPBOX_SECRET=the-secret-of-the-vendor", "ESIGND_KEY="+system.WrapKey)
	do := func(b page.Block) {
		t.Helper()
		if _, err := s.Do(b); err != nil {
			t.Fatalf("%s: %v\n%s\n%s", b.Text, err, s.Output(), s.Logs())
		}
	}
	typed := 0
	for _, b := range readPage(t, "README.md").Blocks {
		if b.Kind == "yaml" && strings.HasPrefix(b.Text, "# esignd.yaml\n") {
			b.File = "esignd.yaml"
			do(b)
		}
		if !strings.HasPrefix(b.RunBy, "TestReadmesDaemonRuns of ") {
			continue
		}
		for line := range strings.Lines(b.Text) {
			command, _, _ := strings.Cut(line, " #")
			serves := strings.HasPrefix(command, "bin/esignd serve ")
			if !strings.HasPrefix(command, "make build ") {
				do(page.Block{Kind: "sh", Text: strings.TrimSpace(command) + "\n", Stays: serves})
				typed++
			}
			if serves {
				do(page.Block{Kind: "text", Text: "…\n…\"msg\":\"esignd is ready\"…\n"})
			}
		}
	}
	if out := s.Output(); typed != 3 || !strings.Contains(out, "ok       config") || !strings.Contains(out, "http.public_url does not answer from here") {
		t.Errorf("%d lines were typed, and doctor printed:\n%s", typed, out)
	}
}

// TestDemoShowsWhatIsInTheReadme runs what `make run` runs, until all vendors have shown every kind of event, and looks for
// each line that README.md shows of it, but for times and numbers.
func TestDemoShowsWhatIsInTheReadme(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	if _, err := s.Do(page.Block{Kind: "sh", Text: "bin/esignd dev --demo --once\n"}); err != nil {
		t.Fatal(err, s.Output())
	}
	digits := regexp.MustCompile(`\d+`)
	same := func(text string) string { return digits.ReplaceAllString(squeeze(text), "0") }
	var printed []string
	for line := range strings.Lines(s.Output()) {
		printed = append(printed, same(line))
	}
	lines := 0
	for _, b := range readPage(t, "README.md").Blocks {
		if b.Kind != "text" || !strings.HasPrefix(b.RunBy, "TestDemo") {
			continue
		}
		for line := range strings.Lines(b.Text) {
			lines++
			if !slices.Contains(printed, same(line)) {
				t.Errorf("the demo does not print as README.md says:\n%s", line)
			}
		}
	}
	if lines < 4 || t.Failed() {
		t.Errorf("%d lines were looked for in:\n%s", lines, s.Output())
	}
}
