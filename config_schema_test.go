package esignd_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd"
)

// TestSchemaAndConfigAgree compares the settings of the schema with what a full file sets, and its defaults with those
// that count.
func TestSchemaAndConfigAgree(t *testing.T) {
	settings := schemaSettings(t)
	// Each setting of the schema arrives in the Config: a schema's form of a full Config has all of them.
	full := loadFull(t, "ESIGND_NATS_URL=nats://a", "ESIGND_NATS_CREDENTIALS=c", "ESIGND_NATS_TLS_CA=/ca", "ESIGND_NATS_TLS_CERT=/c", "ESIGND_NATS_TLS_KEY=/k",
		"ESIGND_HTTP_TLS_CA=/ca", "ESIGND_HTTP_TLS_CERT=/c", "ESIGND_HTTP_TLS_KEY=/k", "ESIGND_HTTP_PUBLIC_URL=https://a.example", "ESIGND_KEYS_KEYSET=/k")
	full.Clients = full.Clients[:1]
	have := map[string]bool{}
	leaves(esignd.Document(full), "", have)
	var want []string
	for path := range settings {
		want = append(want, path)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(have))); diff != "" {
		t.Errorf("settings, -schema +Config:\n%s", diff)
	}
	defaults := esignd.DefaultConfig()
	defaults.Clients = []esignd.Client{{}}
	counted := map[string]any{}
	values(esignd.Document(esignd.WithDefaults(defaults)), "", counted)
	for path, s := range settings {
		def, ok := s["default"]
		if !ok || fmt.Sprint(def) == "" || fmt.Sprint(def) == "[]" || fmt.Sprint(def) == "map[]" {
			if counted[path] != nil && path != "plugins.dir" {
				t.Errorf("%s has the default %v, which the schema does not say", path, counted[path])
			}
			continue
		}
		if fmt.Sprint(counted[path]) != fmt.Sprint(def) {
			t.Errorf("%s: the schema says the default is %v, it is %v", path, def, counted[path])
		}
	}
	for path, s := range settings {
		if s["description"] == nil {
			t.Errorf("%s has no description", path)
		}
		if p, ok := s["pattern"].(string); ok && esignd.PatternWords(p) == "" {
			t.Errorf("%s: there are no words for its pattern", path)
		}
	}
}

// TestOverridesAreAllPlainSettings holds that each setting that is one value, and not a client's, has its variable.
func TestOverridesAreAllPlainSettings(t *testing.T) {
	var want []string
	for path, s := range schemaSettings(t) {
		if strings.HasPrefix(path, "clients[]") || s["type"] == "array" || s["type"] == "object" || s["$ref"] != nil {
			continue
		}
		want = append(want, path)
	}
	slices.Sort(want)
	got := esignd.Overridable()
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-schema +overridable:\n%s", diff)
	}
}

// schemaSettings returns the leaves of the schema by path, with [] for the items of a list.
func schemaSettings(t *testing.T) map[string]map[string]any {
	t.Helper()
	text, err := os.ReadFile("docs/configuration.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	found := map[string]map[string]any{}
	var walk func(map[string]any, string)
	walk = func(s map[string]any, at string) {
		if items, ok := s["items"].(map[string]any); ok && items["properties"] != nil {
			walk(items, at+"[]")
			return
		}
		properties, ok := s["properties"].(map[string]any)
		if !ok {
			found[at] = s
			return
		}
		for name, p := range properties {
			walk(p.(map[string]any), strings.TrimPrefix(at+"."+name, "."))
		}
	}
	walk(schema, "")
	return found
}

// leaves notes the paths of all settings of a document.
func leaves(doc any, at string, found map[string]bool) {
	all := map[string]any{}
	values(doc, at, all)
	for path := range all {
		found[path] = true
	}
}

// values notes the values of all settings of a document by path. What a setting holds is not gone into.
func values(doc any, at string, found map[string]any) {
	switch v := doc.(type) {
	case map[string]any:
		if slices.Contains([]string{"plugins.sha256", "clients[].settings", "clients[].client_secret", "keys.wrap", "http.metrics_token"}, at) {
			found[at] = v
			return
		}
		for name, member := range v {
			values(member, strings.TrimPrefix(at+"."+name, "."), found)
		}
	case []any:
		if at != "clients" {
			found[at] = v
			return
		}
		for _, item := range v {
			values(item, at+"[]", found)
		}
	default:
		found[at] = v
	}
}
