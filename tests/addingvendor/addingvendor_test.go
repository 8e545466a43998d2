//go:build heavy

// Package addingvendor follows docs/adding-a-vendor.md word for word, as somebody who has just cloned esignd.
package addingvendor

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// block is a fenced block of the document.
type block struct {
	kind, file, text string
	line             int
}

func blocks(t *testing.T, path string) []block {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []block
	var open *block
	lines := bufio.NewScanner(bytes.NewReader(content))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		switch info, fence := strings.CutPrefix(line, "```"); {
		case fence && open == nil:
			kind, file, _ := strings.Cut(info, " file=")
			open = &block{kind: kind, file: file, line: n}
		case fence:
			all = append(all, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	if open != nil {
		t.Fatalf("line %d: the block does not end", open.line)
	}
	return all
}

func TestTheDocumentLeadsToAVendor(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	if err := os.Symlink(root, filepath.Join(home, "esignd")); err != nil {
		t.Fatal(err)
	}
	reader := &shell{t: t, dir: home, home: home}
	files, commands, outputs := 0, 0, 0
	for _, b := range blocks(t, filepath.Join(root, "docs/adding-a-vendor.md")) {
		switch {
		case b.file != "":
			files++
			reader.write(b)
		case b.kind == "sh":
			commands++
			reader.run(b)
		case b.kind == "text":
			outputs++
			reader.compare(b)
		}
	}
	if files < 6 || commands < 5 || outputs < 3 {
		t.Errorf("%d files, %d commands, %d outputs: the document is not what it was", files, commands, outputs)
	}
}

// shell is a terminal: its folder and its variables last from one block to the next.
type shell struct {
	t         *testing.T
	dir, home string
	env       []string // what the reader exported
	output    string   // of the last block
}

func (s *shell) write(b block) {
	s.t.Helper()
	// The first block leads into the folder; what is written is written there.
	path := filepath.Join(s.dir, b.file)
	if err := os.WriteFile(path, []byte(b.text), 0o600); err != nil {
		s.t.Fatalf("line %d: %v", b.line, err)
	}
}

// run types a block. The folder that it ends in is that of the next one.
func (s *shell) run(b block) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", b.text+"\npwd > \"$HOME/.pwd\"\n")
	cmd.Dir = s.dir
	cmd.Env = append([]string{"HOME=" + s.home, "GOWORK=off"}, s.env...)
	for _, name := range []string{"PATH", "GOPATH", "GOMODCACHE", "GOCACHE", "GOPROXY", "GOFLAGS", "GONOSUMDB", "GONOSUMCHECK", "GOSUMDB", "GOTOOLCHAIN", "TMPDIR"} {
		if value, err := goEnv(name); err == nil && value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	out, err := cmd.CombinedOutput()
	s.output = string(out)
	if err != nil {
		s.t.Fatalf("docs/adding-a-vendor.md, line %d: %v\n%s\n%s", b.line, err, b.text, out)
	}
	pwd, err := os.ReadFile(filepath.Join(s.home, ".pwd"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.dir = strings.TrimSpace(string(pwd))
	for _, export := range regexp.MustCompile(`(?m)^export (\w+)=(\S+)$`).FindAllStringSubmatch(b.text, -1) {
		s.env = append(s.env, export[1]+"="+strings.Replace(export[2], "~", s.home, 1))
	}
}

// goEnv is a variable of the environment, or what go takes in its place.
func goEnv(name string) (string, error) {
	if value := os.Getenv(name); value != "" || name == "PATH" || name == "TMPDIR" {
		return value, nil
	}
	out, err := exec.Command("go", "env", name).Output()
	return strings.TrimSpace(string(out)), err
}

// compare checks the last block's output, in which … stands for anything, a whole line of it for any lines.
func (s *shell) compare(b block) {
	s.t.Helper()
	var pattern strings.Builder
	pattern.WriteString(`(?m)\A\s*`)
	for _, line := range strings.Split(strings.TrimSpace(b.text), "\n") {
		if line == "…" {
			pattern.WriteString(`(?s:.*?)`)
			continue
		}
		var parts []string
		for _, part := range strings.Split(line, "…") {
			words := strings.Fields(part)
			for i := range words {
				words[i] = regexp.QuoteMeta(words[i])
			}
			parts = append(parts, strings.Join(words, `[ \t]+`))
		}
		pattern.WriteString(`^[ \t]*` + strings.Join(parts, `.*`) + `.*$\s*`)
	}
	if !regexp.MustCompile(pattern.String()).MatchString(s.output) {
		s.t.Errorf("docs/adding-a-vendor.md, line %d: the output is another:\n%s\nwant:\n%s", b.line, s.output, b.text)
	}
}
