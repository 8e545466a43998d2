package esignd_test

import (
	"fmt"
	"os"
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

// TestTheWholeExampleIsWhole holds that the whole example has every setting. That it loads is held in tests/site, as of every
// configuration that is shown.
func TestTheWholeExampleIsWhole(t *testing.T) {
	_, after, _ := strings.Cut(documentation(t), "\n## A whole example\n")
	example := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(after)
	if example == nil {
		t.Fatal("there is no whole example")
	}
	for path := range schemaSettings(t) {
		name := path[strings.LastIndexAny(path, ".")+1:]
		if !regexp.MustCompile(`\b` + name + `:`).MatchString(example[1]) {
			t.Errorf("the whole example does not have %s", path)
		}
	}
}
