package host

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// doubling is a schema of n definitions, each of which refers twice to the next: to check a value against it is to look at
// it 2^n times.
func doubling(n int) json.RawMessage {
	var b strings.Builder
	b.WriteString(`{"$ref":"#/$defs/a0","$defs":{`)
	for i := range n {
		fmt.Fprintf(&b, `"a%d":{"allOf":[{"$ref":"#/$defs/a%d"},{"$ref":"#/$defs/a%d"}]},`, i, i+1, i+1)
	}
	fmt.Fprintf(&b, `"a%d":{"type":"object"}}}`, n)
	return json.RawMessage(b.String())
}

func TestSchemaThatIsABombIsRefused(t *testing.T) {
	for says, schema := range map[string]json.RawMessage{
		"over 20000 parts":        doubling(30),
		"64 deep":                 json.RawMessage(`{"not":` + strings.Repeat(`{"not":`, 70) + `{}` + strings.Repeat("}", 71)),
		"refers to itself":        json.RawMessage(`{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}`),
		"no JSON object":          json.RawMessage(strings.Repeat(`{"a":`, 50_000)),
		"no place in the schema":  json.RawMessage(`{"properties":{"a":{"$ref":"file:///etc/passwd"}}}`),
		"a place that is not":     json.RawMessage(`{"properties":{"a":{"$ref":"#/$defs/x"}}}`),
		"$dynamicRef":             json.RawMessage(`{"properties":{"a":{"$dynamicRef":"#a"}}}`),
		"$id":                     json.RawMessage(`{"$id":"http://169.254.169.254/"}`),
		"at most 256 KiB":         json.RawMessage(`{"a":"` + strings.Repeat("x", maxSchema) + `"}`),
		"over 20000 parts or":     json.RawMessage(`{"enum":[` + strings.Repeat("1,", 30_000) + `1]}`),
		"is no JSON object of at": json.RawMessage(`null`),
	} {
		m := sane()
		m.SettingsSchema = schema
		if err := checkMetadata(m, "good"); err == nil || !strings.Contains(err.Error(), says) || len(err.Error()) > 300 {
			t.Errorf("got %v, want it to say %q", err, says)
		}
	}
}

func TestSchemasOfTheVendorsAreTaken(t *testing.T) {
	files, err := filepath.Glob("../*/settings.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		schema, err := os.ReadFile(file)
		if err == nil {
			err = checkSchema(schema)
		}
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	shared := `{"properties":{"a":{"$ref":"#/$defs/u~1l"},"b":{"$ref":"#/$defs/u~1l"},"id":{"type":"string"}},"$defs":{"u/l":{"type":"string"}}}`
	if err := checkSchema(json.RawMessage(shared)); err != nil {
		t.Errorf("a definition that two settings share: %v", err)
	}
}
