package plugintest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

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

// config is how a defect is tried: in the long tests as a plugin, with all checks but that of the deadlines, which takes
// seconds and is left out where the defect has nothing to do with it; else in process where it shows there, and with those
// that it is about.
func (d defect) config(t *testing.T) plugintest.Config {
	cfg := plugintest.Config{Sandbox: startVendor(t, true).sandbox()}
	if !everyCheck && d.adapter != nil && !d.process {
		cfg.Adapter = *d.adapter
	} else {
		cfg.Binary, cfg.Env = binary(t), []string{defectKey + "=" + d.name}
	}
	var names []string
	for _, c := range plugintest.Checks() {
		own := d.check == c.Name || slices.Contains(d.with, c.Name)
		if own || everyCheck && (d.check == "" || c.Name != "deadlines" || slices.Contains(d.also, c.Name)) {
			names = append(names, c.Name)
		}
	}
	cfg.Only = regexp.MustCompile("^(" + strings.Join(names, "|") + ")$")
	return cfg
}

func TestEachDefectFailsItsCheckAndNoOther(t *testing.T) {
	t.Parallel()
	for _, d := range defects() {
		if d.long && !everyCheck {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			report := examine(t, d.config(t))
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

func TestAFileThatWaitsByHandIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), host.FileName("example"))
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexec sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	report := examine(t, plugintest.Config{
		Binary: path, Sandbox: startVendor(t, true).sandbox(), Timeout: 300 * time.Millisecond, Only: regexp.MustCompile("by-hand"),
	})
	if r := outcome(t, report, "by-hand"); r.Status != plugintest.Failed || !slices.Equal(r.Findings, []string{"it does not end"}) {
		t.Errorf("%+v", r)
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
