package esignd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/esignd/esignd"
)

func documentation(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDocumentationHasEverySetting holds that each setting has its row, with its default and its variable.
func TestDocumentationHasEverySetting(t *testing.T) {
	doc := documentation(t)
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_.\\[\\]]+)` \\|.*$").FindAllStringSubmatch(doc, -1) {
		rows[m[1]] = m[0]
	}
	settings := schemaSettings(t)
	for path, s := range settings {
		row, ok := rows[path]
		if !ok {
			t.Errorf("%s has no row", path)
			continue
		}
		if strings.Count(doc, "`"+path+"`") < 2 && strings.Contains(path, ".") && !strings.HasPrefix(path, "log.") {
			t.Errorf("%s has a row and is not explained", path)
		}
		def, ok := s["default"].(string)
		if ok && def != "" && path != "http.public_url" && !strings.Contains(row, "`"+def+"`") {
			t.Errorf("%s: the row does not say the default %q: %s", path, def, row)
		}
		values, _ := s["enum"].([]any)
		for _, v := range values {
			if !strings.Contains(row, fmt.Sprintf("`%v`", v)) {
				t.Errorf("%s: the row does not say %v: %s", path, v, row)
			}
		}
	}
	for path := range rows {
		if settings[path] == nil {
			t.Errorf("%s has a row and is no setting", path)
		}
	}
	for _, path := range esignd.Overridable() {
		if name := "ESIGND_" + strings.ToUpper(strings.ReplaceAll(path, ".", "_")); !strings.Contains(rows[path], "`"+name+"`") {
			t.Errorf("%s: the row does not say %s", path, name)
		}
	}
}

// TestDocumentationsExamplesLoad loads what the documentation shows. The whole example has every setting.
func TestDocumentationsExamplesLoad(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(documentation(t), -1)
	if len(examples) != 2 {
		t.Fatalf("there are %d examples, want 2", len(examples))
	}
	for _, example := range examples {
		text := strings.ReplaceAll(example[1], "/run/secrets/dropbox", secret)
		cfg, err := load(t, text)
		if err != nil {
			t.Errorf("%v\n%s", err, text)
			continue
		}
		if err := cfg.CheckSettings(t.Context(), adapters()); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
	whole := examples[1][1]
	for path := range schemaSettings(t) {
		name := path[strings.LastIndexAny(path, ".")+1:]
		if !regexp.MustCompile(`\b` + name + `:`).MatchString(whole) {
			t.Errorf("the whole example does not have %s", path)
		}
	}
}

func TestDocumentationsLinksAreThere(t *testing.T) {
	doc := documentation(t)
	for _, m := range regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllStringSubmatch(doc, -1) {
		if _, err := os.Stat(filepath.Join("docs", m[1])); err != nil {
			t.Errorf("%v", err)
		}
	}
}
