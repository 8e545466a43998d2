package plugintest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/esignd/esignd/plugins/host"
	"github.com/esignd/esignd/plugins/sdk/plugintest"
)

// binary is the test binary under the plugin's name, in a folder that others cannot write.
func binary(t testing.TB) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, host.FileName("example"))
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAGoodPluginPasses(t *testing.T) {
	t.Parallel()
	plugintest.Run(t, plugintest.Config{Binary: binary(t), Sandbox: startVendor(t, true).sandbox()})
}

func TestAGoodAdapterPassesInProcess(t *testing.T) {
	t.Parallel()
	report := examine(t, plugintest.Config{Adapter: newExample(), Sandbox: startVendor(t, false).sandbox()})
	for _, r := range report.Results {
		if r.Status == plugintest.Failed {
			t.Errorf("%+v", r)
		}
	}
}

func examine(t *testing.T, cfg plugintest.Config) plugintest.Report {
	t.Helper()
	report, err := plugintest.Examine(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// checks are all but that of the deadlines, which takes seconds, where the defect has nothing to do with it.
func (d defect) checks() *regexp.Regexp {
	var names []string
	for _, c := range plugintest.Checks() {
		if c.Name != "deadlines" || d.check == c.Name || d.check == "" || slices.Contains(d.also, c.Name) {
			names = append(names, c.Name)
		}
	}
	return regexp.MustCompile("^(" + strings.Join(names, "|") + ")$")
}

func TestEachDefectFailsItsCheckAndNoOther(t *testing.T) {
	for i, d := range defects() {
		if !everyDefect && i%9 != 0 {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			report := examine(t, plugintest.Config{
				Binary: binary(t), Sandbox: startVendor(t, true).sandbox(), Env: []string{defectKey + "=" + d.name}, Only: d.checks(),
			})
			for _, r := range report.Results {
				said := strings.Join(r.Findings, "\n")
				switch {
				case r.Check == d.check:
					if r.Status != plugintest.Failed || !strings.Contains(said, d.says) || r.Fix == "" {
						t.Errorf("%s does not fail with %q: %+v", r.Check, d.says, r)
					}
				case r.Status == plugintest.Failed && !slices.Contains(d.also, r.Check):
					t.Errorf("%s fails too: %q", r.Check, r.Findings)
				}
			}
		})
	}
}

func TestEachCheckHasADefectThatFailsIt(t *testing.T) {
	for _, c := range plugintest.Checks() {
		if c.What == "" || c.Fix == "" {
			t.Errorf("%s does not say what it checks, or what to fix", c.Name)
		}
		if !slices.ContainsFunc(defects(), func(d defect) bool { return d.check == c.Name }) {
			t.Errorf("no defect fails %s", c.Name)
		}
	}
}
