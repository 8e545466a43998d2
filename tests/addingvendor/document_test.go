// Package addingvendor follows docs/adding-a-vendor.md word for word, as somebody who has just cloned esignd.
package addingvendor

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
)

// block is a fenced block of a document. A reader writes one with a file name to that file, types one of the kind sh,
// and compares one of the kind text with what came out. Others are for reading only.
type block struct {
	kind string // sh, text, go, …
	file string // of an info string "go file=NAME"
	// link says that the reader then opens the link of this output in a browser, and consents: "text link".
	link bool
	text string
	line int // of its first fence
}

func readBlocks(document io.Reader) ([]block, error) {
	var all []block
	var open *block
	lines := bufio.NewScanner(document)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open == nil:
			open = newBlock(info, n)
		case fence && info != "":
			return nil, fmt.Errorf("line %d: a block begins in that of line %d", n, open.line)
		case fence:
			all = append(all, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	if open != nil {
		return nil, fmt.Errorf("line %d: the block does not end", open.line)
	}
	return all, lines.Err()
}

func newBlock(info string, line int) *block {
	kind, rest, _ := strings.Cut(info, " ")
	file, _ := strings.CutPrefix(rest, "file=")
	if rest == "link" {
		return &block{kind: kind, link: true, line: line}
	}
	return &block{kind: kind, file: file, line: line}
}

// expect compares an output with what a document shows of it. In the document … stands for anything within its line, and
// for any number of lines where it is alone in one. How much space is between two words does not matter.
func expect(output, shown string) error {
	var pattern strings.Builder
	for _, line := range squeezed(shown) {
		if line == "…" {
			pattern.WriteString(`(?:.*\n)*?`)
			continue
		}
		parts := strings.Split(line, "…")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		pattern.WriteString(strings.Join(parts, `.*`) + `\n`)
	}
	got := strings.Join(append(squeezed(output), ""), "\n")
	if !regexp.MustCompile(`\A` + pattern.String() + `\z`).MatchString(got) {
		return fmt.Errorf("the output is another:\n%s\nthe document shows:\n%s", output, shown)
	}
	return nil
}

// squeezed returns the lines of a text with one space between two words, without empty lines.
func squeezed(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 0 {
			lines = append(lines, strings.Join(words, " "))
		}
	}
	return lines
}

func TestBlocksAreReadAsTheyStand(t *testing.T) {
	got, err := readBlocks(strings.NewReader("A\n```go file=a/b.go\npackage b\n\n// x\n```\n```sh\nls\n```\n\n```text link\nhttp://x\n```\n```yaml\n```\n"))
	want := []block{
		{kind: "go", file: "a/b.go", text: "package b\n\n// x\n", line: 2},
		{kind: "sh", text: "ls\n", line: 7},
		{kind: "text", link: true, text: "http://x\n", line: 11},
		{kind: "yaml", line: 14},
	}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v %v", got, err)
	}
	for _, wrong := range []string{"```sh\nls\n", "```sh\nls\n```text\n```\n"} {
		if got, err := readBlocks(strings.NewReader(wrong)); err == nil {
			t.Errorf("%q is read as %v", wrong, got)
		}
	}
}

func TestOutputIsComparedToTheLastWord(t *testing.T) {
	const output = "vendor    acme (Acme)\nsha256    5f2c\n\n  a = b\nPASS 3 ok\n"
	for shown, same := range map[string]bool{
		"vendor acme (Acme)\nsha256 5f2c\na = b\nPASS 3 ok\n": true,
		"vendor acme …\nsha256 …\n…\nPASS … ok\n":             true,
		"…\n  a = b\n…\n":                                     true,
		"…\n":                                                 true,
		"vendor acme (Acme)\n…\nPASS 3 ok\n…":                 true,
		"vendor acme (Acme)\n":                                false, // more came
		"vendor acme\n…\n":                                    false, // more came in the line
		"…\nPASS 3\n":                                         false,
		"…\nsha256 …\nPASS 3 ok\n":                            false, // a line is missing
		"…\na . b\n…\n":                                       false, // no pattern
		"…\nFAIL\n…\n":                                        false,
		"":                                                    false,
	} {
		if err := expect(output, shown); (err == nil) != same {
			t.Errorf("%q: %v", shown, err)
		}
	}
	if err := expect("\n", ""); err != nil {
		t.Error(err)
	}
}

// TestTheDocumentHasWhatThePluginByHandReads keeps the page and the program that it links to alike.
func TestTheDocumentHasWhatThePluginByHandReads(t *testing.T) {
	page, err := os.ReadFile("../../docs/adding-a-vendor.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("testdata/byhand/main.go")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`"(ESIGND_[A-Z_]+|PLUGIN_[A-Z_]+|[0-9a-f]+-esignd-plugin-adapter|plugin\.[A-Za-z]+)"`).FindAllSubmatch(program, -1)
	if len(names) < 5 {
		t.Errorf("the program reads %q", names)
	}
	for _, name := range names {
		if !bytes.Contains(page, name[1]) {
			t.Errorf("the page does not have %s", name[1])
		}
	}
}
