package site

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/tests/page"
)

// TestEveryBlockIsChecked holds that each block of each page is of a kind that is checked, and checks those that can be
// without running anything.
func TestEveryBlockIsChecked(t *testing.T) {
	for path, p := range pages(t) {
		t.Run(path, func(t *testing.T) {
			checkTestIsThere(t, p.RunBy)
			for i, b := range p.Blocks {
				checkTestIsThere(t, b.RunBy)
				if b.RunBy != "" || p.RunBy != "" {
					continue
				}
				if err := check(t, path, p, i); err != nil {
					t.Errorf("line %d: %v", b.Line, err)
				}
			}
		})
	}
}

// check checks block i of a page, or finds that following the page does.
func check(t *testing.T, path string, p page.Page, i int) error {
	t.Helper()
	b := p.Blocks[i]
	switch b.Kind {
	case "sh":
		return nil // TestPagesDoWhatTheySay
	case "text":
		if !b.Generated && !follows(p, i) {
			return fmt.Errorf("a text that nothing above prints: put it behind what prints it, or make it no block")
		}
		return nil
	case "json":
		return checkJSON(t, p, i)
	case "yaml":
		err := checkYAML(t, whole(p, i))
		if b.Wrong && err == nil {
			return errors.New("this is to be wrong, and loads")
		} else if b.Wrong {
			return nil
		}
		return err
	case "go":
		return checkGo(t, b)
	case "promql":
		if path != "docs/operations.md" {
			return fmt.Errorf("the queries of this page are in no test: TestAlertsObjectivesAndDashboardAskForMetricsThatThereAre reads docs/operations.md")
		}
		return nil
	case "mermaid":
		if !b.Generated {
			return fmt.Errorf("a diagram that is not generated")
		}
		return nil
	}
	return fmt.Errorf("nothing checks a block of the kind %s", b.Kind)
}

// follows reports whether the block is what the one before it prints.
func follows(p page.Page, i int) bool {
	return i > 0 && p.Blocks[i-1].Kind == "sh" && p.Blocks[i-1].RunBy == ""
}

var testName = regexp.MustCompile(`^(Test\w+) of (\S+_test\.go)$`)

func checkTestIsThere(t *testing.T, runBy string) {
	t.Helper()
	if runBy == "" {
		return
	}
	m := testName.FindStringSubmatch(runBy)
	if m == nil {
		t.Errorf("%q is not as TestName of path/to/file_test.go", runBy)
	} else if !strings.Contains(read(t, m[2]), "\nfunc "+m[1]+"(") {
		t.Errorf("%s is not in %s", m[1], m[2])
	}
}

// checkGo holds that a block stands in the file that it names, which the compiler reads.
func checkGo(t *testing.T, b page.Block) error {
	t.Helper()
	if b.From == "" {
		return fmt.Errorf("say behind the fence in which file this stands: go from=FILE")
	}
	if path.Ext(b.From) != ".go" || strings.Contains(b.From, "testdata") {
		return fmt.Errorf("%s is not compiled", b.From)
	}
	dir := os.DirFS(filepath.Join(root, path.Dir(b.From), ".."))
	beside, err := fs.Glob(dir, path.Base(path.Dir(b.From))+"/*_test.go")
	above, aboveErr := fs.Glob(dir, "*_test.go") // of a program
	if len(beside)+len(above) == 0 {
		return fmt.Errorf("%s: there is no test beside it: %w", b.From, errors.Join(err, aboveErr))
	}
	if !strings.Contains(squeeze(read(t, b.From)), squeeze(b.Text)) {
		return fmt.Errorf("this is not in %s:\n%s", b.From, b.Text)
	}
	return nil
}

// squeeze makes text comparable whatever its indentation.
func squeeze(text string) string { return strings.Join(strings.Fields(text), " ") }

func checkJSON(t *testing.T, p page.Page, i int) error {
	t.Helper()
	b := p.Blocks[i]
	if b.Message != "" {
		return checkMessage(t, b)
	}
	if !follows(p, i) && b.File == "" {
		return fmt.Errorf("JSON that nothing above prints: say which message it is: json message=NAME")
	}
	if !json.Valid([]byte(b.Text)) {
		return fmt.Errorf("this is no JSON")
	}
	return nil
}

// checkMessage holds a message against the schema of the contract.
func checkMessage(t *testing.T, b page.Block) error {
	t.Helper()
	const base = "https://github.com/esignd/esignd/bus/wire/schema/"
	c := jsonschema.NewCompiler()
	files, err := fs.Glob(wire.Schemas, "schema/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := fs.ReadFile(wire.Schemas, file)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(base+path.Base(file), doc); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := c.Compile(base + b.Message + ".json")
	if err != nil {
		return fmt.Errorf("there is no message %s: %w", b.Message, err)
	}
	message, err := jsonschema.UnmarshalJSON(strings.NewReader(b.Text))
	if err != nil {
		return err
	}
	return schema.Validate(message)
}

func TestBlocksThatSayTooMuchAreFound(t *testing.T) {
	known := "docs/operations.md"
	for document, says := range map[string]string{
		"```text\nx\n```\n": "nothing above prints",
		"```sh\nls\n```\ntext\n```yaml\nclients: 1\n```\n```text\nx\n```\n": "",
		"```toml\na = 1\n```\n":                                "nothing checks a block of the kind toml",
		"```mermaid\nx\n```\n":                                 "not generated",
		"```json\n{}\n```\n":                                   "say which message",
		"```json message=token\n{\"a\":1}\n```\n":              "jsonschema",
		"```json message=selector\n{\"grant\":\"g\"}\n```\n":   "",
		"```json message=tokens\n{}\n```\n":                    "there is no message tokens",
		"```go\nx := 1\n```\n":                                 "go from=FILE",
		"```go from=tests/doc.go\npackage test\n\nfunc\n```\n": "this is not in",
		"```go from=tests/site/testdata/a.go\nx\n```\n":        "is not compiled",
		"```go from=tests/doc.go\npackage tests\n```\n":        "",
		"```yaml wrong\nclients:\n  - nam: a\n```\n":           "",
		"```yaml wrong\nhttp: {}\n```\n":                       "is to be wrong",
		"```yaml\nclients:\n  - nam: a\n```\n":                 "nam",
	} {
		p, err := page.Read(strings.NewReader(document))
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		if p.Blocks[0].Kind == "sh" {
			p.Blocks = p.Blocks[:1]
		}
		err = check(t, known, p, i)
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", document, err, says)
		}
	}
}

// TestEveryPageIsInTheIndex holds that docs/README.md leads to each page of the documentation.
func TestEveryPageIsInTheIndex(t *testing.T) {
	index := read(t, "docs/README.md")
	for _, path := range slices.Sorted(maps.Keys(pages(t))) {
		rel, err := filepath.Rel("docs", path)
		if err != nil {
			t.Fatal(err)
		}
		if rel != "README.md" && rel != "../README.md" && !strings.Contains(index, "]("+rel+")") {
			t.Errorf("docs/README.md does not lead to %s", rel)
		}
	}
}
