//go:build heavy

package wire_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esignd/esignd/bus/wire"
)

// The official parser, which npm brings, takes the document with all schemas, and refuses one that is spoilt.
func TestAsyncAPIPassesTheOfficialParser(t *testing.T) {
	npm := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = "testdata/asyncapi"
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm ci in bus/wire/testdata/asyncapi, which needs node 20 or later: %v\n%s", err, out)
	}
	if out, err := check("asyncapi.yaml"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for what, change := range map[string][2]string{
		"a message that is nowhere":  {"#/components/messages/tokenGetRequest", "#/components/messages/nothing"},
		"an action that is none":     {"action: send", "action: shout"},
		"a schema file that is gone": {"schema/token.json", "schema/gone.json"},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(filepath.Join(dir, "schema"), os.DirFS("schema")); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "asyncapi.yaml")
		spoilt := strings.Replace(string(wire.AsyncAPI), change[0], change[1], 1)
		if spoilt == string(wire.AsyncAPI) {
			t.Fatalf("the document has no %q", change[0])
		}
		if err := os.WriteFile(path, []byte(spoilt), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := check(path); err == nil {
			t.Errorf("%s passes: %s", what, out)
		}
	}
}

func check(path string) ([]byte, error) {
	return exec.Command("node", "testdata/asyncapi/check.mjs", path).CombinedOutput()
}
