package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestThreatsHaveTestsThatAreThere holds that each row of the threat model names a test, that the test is in the file
// that it links to, and that no part of the model is missing.
func TestThreatsHaveTestsThatAreThere(t *testing.T) {
	areas, problems := checkThreats(read(t, "../SECURITY.md"), func(file string) string {
		b, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Error(err)
		}
		return string(b)
	})
	for _, problem := range problems {
		t.Errorf("SECURITY.md: %s", problem)
	}
	for _, area := range []string{
		"Tenants", "Replies", "Events", "Store and keys", "Backups", "Transport", "Connect flow", "SSRF", "Plugins", "Console and admin",
		"Logs and telemetry", "Audit", "Input and load", "Time", "Supply chain",
	} {
		if !slices.Contains(areas, area) {
			t.Errorf("SECURITY.md: no threats of %s", area)
		}
	}
}

func TestThreatsAreChecked(t *testing.T) {
	const page = "## Threats\n\n| threat | what is done | shown by |\n|---|---|---|\n| **Tenants** | | |\n" +
		"| a | b | [TestA](a_test.go), [FuzzB](a_test.go) |\n| c | d | |\n| e |  | [TestGone](a_test.go) |\n\n## Next\n| x | y | |\n"
	areas, problems := checkThreats(page, func(string) string { return "func TestA(t *testing.T) {\nfunc FuzzB(f *testing.F) {\n" })
	want := []string{`"c" names no test`, `"e" says nothing of what is done`, "TestGone is not in a_test.go"}
	if !slices.Equal(areas, []string{"Tenants"}) || !slices.Equal(problems, want) {
		t.Errorf("got %q and %q, want %q", areas, problems, want)
	}
}

var linkedTest = regexp.MustCompile(`\[((?:Test|Fuzz)\w+)\]\(([^)]+_test\.go)\)`)

// checkThreats reads the table of threats: its areas, and what is wrong with it.
func checkThreats(page string, source func(file string) string) (areas, problems []string) {
	_, section, _ := strings.Cut("\n"+page, "\n## Threats\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 || strings.HasPrefix(cells[0], "---") || strings.TrimSpace(cells[0]) == "threat" {
			continue
		}
		threat, done := strings.TrimSpace(cells[0]), strings.TrimSpace(cells[1])
		if area, ok := strings.CutPrefix(threat, "**"); ok {
			areas = append(areas, strings.TrimSuffix(area, "**"))
			continue
		}
		if done == "" {
			problems = append(problems, fmt.Sprintf("%q says nothing of what is done", threat))
		}
		tests := linkedTest.FindAllStringSubmatch(cells[2], -1)
		if len(tests) == 0 {
			problems = append(problems, fmt.Sprintf("%q names no test", threat))
		}
		for _, m := range tests {
			if !strings.Contains("\n"+source(m[2]), "\nfunc "+m[1]+"(") {
				problems = append(problems, m[1]+" is not in "+m[2])
			}
		}
	}
	return areas, problems
}
