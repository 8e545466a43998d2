package site

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	fenced   = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	codeSpan = regexp.MustCompile("`[^`\n]*`")
	linked   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *#*$`)
)

// TestLinksLeadSomewhere holds that each link of each document, but those to other sites, leads to a file of the repository, and
// to a heading of it where it names one.
func TestLinksLeadSomewhere(t *testing.T) {
	found := 0
	for _, file := range markdown(t) {
		for _, m := range linked.FindAllStringSubmatch(codeSpan.ReplaceAllString(fenced.ReplaceAllString(read(t, file), ""), "`"), -1) {
			found++
			if err := leads(file, m[1], func(path string) (string, error) {
				b, err := os.ReadFile(filepath.Join(root, path))
				if info, statErr := os.Stat(filepath.Join(root, path)); statErr == nil && info.IsDir() {
					return "", nil
				}
				return string(b), err
			}); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	if found < 100 {
		t.Errorf("there are %d links", found)
	}
}

// leads says why a link of a document leads nowhere.
func leads(file, target string, open func(path string) (string, error)) error {
	if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
		return nil
	}
	name, anchor, named := strings.Cut(target, "#")
	to := file
	if name != "" {
		to = path.Join(path.Dir(file), name)
	}
	text, err := open(to)
	if err != nil {
		return fmt.Errorf("%s: %w", target, err)
	}
	if named && path.Ext(to) == ".md" && !anchors(text)[anchor] {
		return fmt.Errorf("%s: %s has no such heading", target, to)
	}
	return nil
}

// anchors are the names that GitHub gives to the headings of a document.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, regexp.MustCompile(`\]\([^)]*\)`).ReplaceAllString(m[1], ""))
		again := name
		for n := 1; all[again]; n++ {
			again = fmt.Sprintf("%s-%d", name, n)
		}
		all[again] = true
	}
	return all
}

func TestDeadLinksAreFound(t *testing.T) {
	docs := map[string]string{"a.md": "# One `two`, three\n## Same\n## Same\n```\n# not\n```\n", "docs/b.md": "", "x.go": ""}
	open := func(path string) (string, error) {
		if text, ok := docs[path]; ok {
			return text, nil
		}
		return "", errors.New("it is not there")
	}
	for target, ok := range map[string]bool{
		"https://example.com/gone": true, "../a.md": true, "../a.md#one-two-three": true, "../a.md#same-1": true, "../x.go": true, "b.md": true,
		"a.md": false, "../a.md#same-2": false, "../a.md#not": false, "#none": false, "../a.md#One": false,
	} {
		if err := leads("docs/b.md", target, open); (err == nil) != ok {
			t.Errorf("%s: %v", target, err)
		}
	}
}
