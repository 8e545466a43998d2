package wire_test

import (
	"io/fs"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/esignd/esignd/bus/wire"
)

func asyncAPI(t *testing.T) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := yaml.Unmarshal(wire.AsyncAPI, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestAsyncAPIHasEveryEndpoint(t *testing.T) {
	channels, _ := asyncAPI(t)["channels"].(map[string]any)
	addresses := map[string]bool{}
	for _, c := range channels {
		address, _ := c.(map[string]any)["address"].(string)
		addresses[address] = true
	}
	for _, e := range wire.Endpoints() {
		if a := wire.APISubject(wire.DefaultPrefix, "{tenant}", e); !addresses[a] {
			t.Errorf("no channel has the address %s", a)
		}
	}
	for _, address := range []string{"esign.event.{tenant}.{type}.{vendor}.{grant}", wire.AuditSubject(wire.DefaultPrefix, "{tenant}")} {
		if !addresses[address] {
			t.Errorf("no channel has the address %s", address)
		}
	}
}

func TestAsyncAPIReferencesResolve(t *testing.T) {
	doc := asyncAPI(t)
	used := map[string]bool{}
	eachRef(doc, func(ref string) {
		pointer, local := strings.CutPrefix(ref, "#/")
		if !local {
			if _, err := fs.Stat(wire.Schemas, ref); err != nil {
				t.Errorf("%s: %v", ref, err)
			}
			used[ref] = true
			return
		}
		var at any = doc
		for _, key := range strings.Split(pointer, "/") {
			m, _ := at.(map[string]any)
			if at = m[key]; at == nil {
				t.Errorf("%s leads nowhere", ref)
				return
			}
		}
	})
	files, err := fs.Glob(wire.Schemas, "schema/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if parts := []string{"schema/event_data.json", "schema/audit_entry.json", "schema/audit_actor.json"}; !used[f] && !slices.Contains(parts, f) {
			t.Errorf("no message of the document has the schema %s", f)
		}
	}
}

func eachRef(v any, fn func(string)) {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			fn(ref)
		}
		for _, inner := range v {
			eachRef(inner, fn)
		}
	case []any:
		for _, inner := range v {
			eachRef(inner, fn)
		}
	}
}
