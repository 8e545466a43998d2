//go:build heavy

package site

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/esignd/esignd/tests/page"
)

// TestMakeRunShowsWhatIsInTheReadme runs what `make run` runs, until all vendors have shown every kind of event, and looks for
// each line that README.md shows of it, but for times and numbers.
func TestMakeRunShowsWhatIsInTheReadme(t *testing.T) {
	t.Parallel()
	plan, err := exec.Command("make", "-n", "-C", root, "run", "test").Output()
	for _, command := range []string{"bin/esignd dev --demo\n", "go test ", " -vet=all "} {
		if err != nil || !strings.Contains(string(plan), command) {
			t.Errorf("`make run test` has no %q: %v", command, err)
		}
	}
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
		if b.Kind != "text" || !strings.HasPrefix(b.RunBy, "TestMakeRun") {
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
