package page

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBlocksAreReadAsTheyStand(t *testing.T) {
	const document = "<!-- before: bin/esignd dev -->\n\nA\n```go file=a/b.go\npackage b\n\n// x\n```\n```sh stays\nls\n```\n\n```text link\nhttp://x\n```\n" +
		"```json message=token\n```\n- a list:\n\n    goes on\n\n  ```go from=x.go\n  x\n   y\n  ```\n" +
		"\nThen:\n\n<!-- run by: TestDay of a_test.go -->\n```sh\nsleep 1d\n```\n\n<!-- run by: TestA of a_test.go -->\n\n```ini\n```\n" +
		"<!-- generated: x, by `make generate` -->\n```mermaid\n```\n<!-- end of generated: x -->\n"
	got, err := Read(strings.NewReader(document))
	want := Page{Before: "bin/esignd dev", Blocks: []Block{
		{Kind: "go", File: "a/b.go", Text: "package b\n\n// x\n", Line: 4},
		{Kind: "sh", Stays: true, Text: "ls\n", Line: 9},
		{Kind: "text", Link: true, Text: "http://x\n", Line: 13},
		{Kind: "json", Message: "token", Line: 16},
		{Kind: "go", From: "x.go", Text: "x\n y\n", Line: 22},
		{Kind: "sh", RunBy: "TestDay of a_test.go", Text: "sleep 1d\n", Line: 30},
		{Kind: "ini", RunBy: "TestA of a_test.go", Line: 36},
		{Kind: "mermaid", Generated: true, Line: 39},
	}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestPageThatCouldNotBeCheckedIsRefused(t *testing.T) {
	for document, says := range map[string]string{
		"```sh\nls\n":                                   "line 1: the block does not end",
		"```sh\nls\n```text\n```\n":                     "line 3: a block begins in that of line 1",
		"a\n```\nls\n```\n":                             "line 2: a block without a language",
		"```sh quickly\nls\n```\n":                      `line 1: "quickly" says nothing`,
		"```go from=\n```\n":                            `line 1: "from=" says nothing`,
		"text\n\n    ls\n":                              "line 3: a block by indentation",
		"- a\n\nthen\n\n    ls\n":                       "line 5: a block by indentation",
		"<!-- run by: no -->\ntext\n\n```sh\nls\n```\n": "line 2: the comment above is for a block",
	} {
		if _, err := Read(strings.NewReader(document)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %s", document, err, says)
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
		if err := Expect(output, shown); (err == nil) != same {
			t.Errorf("%q: %v", shown, err)
		}
	}
	if err := Expect("\n", ""); err != nil {
		t.Error(err)
	}
	if !Begins(output, "vendor … (Acme)\n…\na = b\n") || Begins(output, "sha256 …\n") {
		t.Error("the beginning of an output is not compared")
	}
}

func TestJSONIsComparedMemberByMember(t *testing.T) {
	const output = `{"grant":"g_1","expires_in":59,"at":"2026-11-21T06:07:02Z","url":"http://127.0.0.1:4000","n":2,"list":["a",{"b":null}]}`
	for shown, same := range map[string]bool{
		output: true,
		`{"list":["…",{"b":null}], "n":2, "url":"http://127.0.0.1:…","at":"2020-01-01T00:00:00Z","expires_in":7,"grant":"g_1"}`: true,
		strings.Replace(output, "g_1", "g_2", 1):                                    false,
		strings.Replace(output, `"n":2`, `"n":3`, 1):                                false,
		strings.Replace(output, `"n":2,`, ``, 1):                                    false,
		strings.Replace(output, `"n":2`, `"n":2,"m":1`, 1):                          false,
		strings.Replace(output, `"2026-11-21T06:07:02Z"`, `"soon"`, 1):              false,
		strings.Replace(output, `["a",{"b":null}]`, `["a"]`, 1):                     false,
		strings.Replace(output, `null`, `false`, 1):                                 false,
		strings.Replace(output, `"http://127.0.0.1:4000"`, `"http://127.0.0.1"`, 1): false,
		output + output: false,
		`{`:             false,
	} {
		if err := ExpectJSON(output, shown); (err == nil) != same {
			t.Errorf("%s: %v", shown, err)
		}
	}
	if ExpectJSON("esignd: no", output) == nil {
		t.Error("a text passes for JSON")
	}
}

func TestGeneratedPartIsReplacedAndNothingElse(t *testing.T) {
	const document = "a\n<!-- generated: x, by `make generate` -->\nold\n<!-- end of generated: x -->\nb\n<!-- generated: y -->\n<!-- end of generated: y -->\n"
	got, err := replace(document, "x", "new\n\n")
	if want := strings.Replace(document, "old\n", "\nnew\n\n", 1); err != nil || got != want {
		t.Errorf("%v: %q, want %q", err, got, want)
	}
	again, err := replace(got, "x", "new")
	if err != nil || again != got {
		t.Errorf("%v: the second time it is %q", err, again)
	}
	if _, err := replace(document, "z", ""); err == nil {
		t.Error("there is a part z")
	}
}

// TestSessionFollowsAPage has files, a terminal that stays, and addresses that are others here.
func TestSessionFollowsAPage(t *testing.T) {
	const document = "```yaml file=a.yaml\nat: 127.0.0.1:4222\n```\n```sh\ncat a.yaml\n```\n```text\nat: 127.0.0.1:4222\n```\n" +
		"```sh stays\necho up at 127.0.0.1:4222\nexec sleep 1d\n```\n```text\nup at 127.0.0.1:4222\n```\n" +
		"```sh\necho '{\"at\":\"127.0.0.1:4222\"}'\n```\n```json\n{\"at\": \"127.0.0.1:4222\"}\n```\n" +
		"<!-- run by: another -->\n```sh\nfalse\n```\n"
	p, err := Read(strings.NewReader(document))
	if err != nil || !p.Commands() {
		t.Fatal(p, err)
	}
	s := NewSession(t, Config{Folder: t.TempDir(), Addresses: map[string]string{"127.0.0.1:4222": "127.0.0.1:10001"}})
	var did []string
	for _, b := range p.Blocks {
		does, err := s.Do(b)
		if err != nil {
			t.Fatalf("line %d: %v", b.Line, err)
		}
		did = append(did, does)
	}
	if want := []string{"writes", "types", "compares", "types", "compares", "types", "compares", "reads"}; !slices.Equal(did, want) {
		t.Errorf("got %q, want %q", did, want)
	}
	if !strings.Contains(s.Output(), "127.0.0.1:10001") {
		t.Errorf("the address is not replaced in what is typed: %s", s.Output())
	}
	for _, wrong := range []Block{{Kind: "json", Text: "{}"}, {Kind: "sh", Text: "false\n"}} {
		if _, err := s.Do(wrong); err == nil {
			t.Errorf("%+v is done", wrong)
		}
	}
}
