//go:build heavy

package site

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esignd/esignd/tests/page"
)

// runBy are the blocks of all pages that name a test, by their pages.
func runBy(t *testing.T, test string) map[string][]page.Block {
	t.Helper()
	found := map[string][]page.Block{}
	for path, p := range pages(t) {
		for _, b := range p.Blocks {
			if strings.HasPrefix(b.RunBy, test+" of ") {
				found[path] = append(found[path], b)
			}
		}
	}
	return found
}

// TestSystemdTakesTheUnits has systemd verify the unit of docs/running.md, alone and with the drop-in of docs/configuration.md, and
// gives the command of its ExecStart to the binary.
func TestSystemdTakesTheUnits(t *testing.T) {
	found := runBy(t, "TestSystemdTakesTheUnits")
	if len(found) != 2 || len(found["docs/running.md"]) != 1 || len(found["docs/configuration.md"]) != 1 {
		t.Fatalf("the pages have these units: %+v", found)
	}
	folder := t.TempDir()
	dropIns := filepath.Join(folder, "esignd.service.d")
	if err := os.Mkdir(dropIns, 0o755); err != nil {
		t.Fatal(err)
	}
	const installed = "/usr/local/bin/esignd"
	unit := strings.ReplaceAll(found["docs/running.md"][0].Text, installed, binaries.Path("esignd"))
	write(t, filepath.Join(folder, "esignd.service"), unit)
	verify(t, folder, "")
	write(t, filepath.Join(dropIns, "limits.conf"), found["docs/configuration.md"][0].Text)
	verify(t, folder, "")
	write(t, filepath.Join(dropIns, "wrong.conf"), "[Service]\nOOMPolice=continue\n")
	verify(t, folder, "OOMPolice")

	_, start, _ := strings.Cut(found["docs/running.md"][0].Text, "\nExecStart="+installed+" ")
	start, _, _ = strings.Cut(start, "\n")
	config := filepath.Join(folder, "wrong.yaml")
	write(t, config, "nothing: here\n")
	command := exec.Command(binaries.Path("esignd"), strings.Fields(strings.ReplaceAll(start, "/etc/esignd/esignd.yaml", config))...)
	// A command line that it does not take ends with status 2.
	if out, _ := command.CombinedOutput(); command.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "nothing (line 1): there is no such setting") {
		t.Errorf("%s: %s, %s", start, command.ProcessState, out)
	}
}

// verify has systemd look at the unit in the folder. It says what it finds and its status is 0 all the same.
func verify(t *testing.T, folder, finds string) {
	t.Helper()
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", filepath.Join(folder, "esignd.service")).CombinedOutput()
	if finds == "" && (err != nil || len(out) > 0) || !strings.Contains(string(out), finds) {
		t.Errorf("systemd-analyze, which `make systemd` installs: %v\n%s", err, out)
	}
}

// TestPrometheusTakesTheConfiguration has promtool check what docs/configuration.md shows, with a token where it is said to be.
func TestPrometheusTakesTheConfiguration(t *testing.T) {
	folder := t.TempDir()
	token, config := filepath.Join(folder, "metrics"), filepath.Join(folder, "prometheus.yml")
	blocks := runBy(t, "TestPrometheusTakesTheConfiguration")["docs/configuration.md"]
	if len(blocks) != 1 || !strings.Contains(blocks[0].Text, "/run/secrets/metrics") {
		t.Fatalf("the page has these: %+v", blocks)
	}
	write(t, token, "0123456789abcdef0123456789abcdef\n")
	for _, c := range []struct {
		text  string
		taken bool
	}{
		{blocks[0].Text, true},
		{strings.Replace(blocks[0].Text, "credentials_file", "credential_file", 1), false},
	} {
		write(t, config, strings.ReplaceAll(c.text, "/run/secrets/metrics", token))
		if out, err := exec.Command("promtool", "check", "config", config).CombinedOutput(); (err == nil) != c.taken {
			t.Errorf("promtool, which `make promtool` fetches: %v\n%s", err, out)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
