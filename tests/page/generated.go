package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// Variable is the variable of the environment that, set to 1, has Generated write. `make generate` sets it.
const Variable = "ESIGND_GENERATE"

var regionLine = regexp.MustCompile(`^ *<!-- (end of )?generated: ([a-z-]+)(?:, .*)? -->$`)

// region reads the line that begins a generated part, or ends one: its name is empty then.
func region(line string) (begins, ends string, ok bool) {
	m := regionLine.FindStringSubmatch(line)
	switch {
	case m == nil:
		return "", "", false
	case m[1] == "":
		return m[2], "", true
	}
	return "", m[2], true
}

// Generated holds that the part of a page with that name is what was generated for it; with Variable set it makes it so.
// The part stands between <!-- generated: NAME, by `make generate` --> and <!-- end of generated: NAME -->.
func Generated(t testing.TB, file, name, want string) {
	t.Helper()
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := replace(string(old), name, want)
	switch {
	case err != nil:
		t.Fatalf("%s: %v", file, err)
	case fresh == string(old):
	case os.Getenv(Variable) == "1":
		if err := os.WriteFile(file, []byte(fresh), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s: the part %s is out of date: run `make generate`. It is to be:\n%s", file, name, want)
	}
}

// replace puts a text in place of a part.
func replace(document, name, text string) (string, error) {
	var head, tail strings.Builder
	at := &head
	begun, ended := false, false
	for line := range strings.Lines(document) {
		begins, ends, _ := region(strings.TrimSuffix(line, "\n"))
		if ends == name && begun && !ended {
			ended, at = true, &tail
		}
		if !begun || ended {
			at.WriteString(line)
		}
		begun = begun || begins == name
	}
	if !ended {
		return "", fmt.Errorf("there is no part %s, from <!-- generated: %s, by `make generate` --> to <!-- end of generated: %s -->", name, name, name)
	}
	return head.String() + "\n" + strings.TrimSpace(text) + "\n\n" + tail.String(), nil
}

// Members are the names of the members of a JSON object, in their order.
func Members(t testing.TB, object json.RawMessage) (names []string) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(object))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, fmt.Sprint(name))
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	return names
}
