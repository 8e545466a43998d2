package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

const (
	maxSchemaDepth = 64
	maxSchemaParts = 20_000
)

// schemaSize counts the parts of a JSON Schema as they are once each reference is replaced by what it refers to: that is
// what a check against the schema may have to go through, and references can make it a great deal more than its text.
type schemaSize struct {
	root  any
	parts int
}

// checkSchema refuses a schema that would keep its host busy, or have it look elsewhere.
func checkSchema(raw json.RawMessage) error {
	if len(raw) > maxSchema || !isJSONObject(raw) {
		return errors.New("is no JSON object of at most 256 KiB")
	}
	s := &schemaSize{}
	if err := json.Unmarshal(raw, &s.root); err != nil {
		return errors.New("is no JSON object of at most 256 KiB")
	}
	return s.add(s.root, 0)
}

func (s *schemaSize) add(part any, depth int) error {
	if s.parts++; s.parts > maxSchemaParts || depth > maxSchemaDepth {
		return fmt.Errorf("is over %d parts or %d deep once its references are followed, or refers to itself", maxSchemaParts, maxSchemaDepth)
	}
	switch part := part.(type) {
	case []any:
		for _, item := range part {
			if err := s.add(item, depth+1); err != nil {
				return err
			}
		}
	case map[string]any:
		return s.addObject(part, depth)
	}
	return nil
}

func (s *schemaSize) addObject(object map[string]any, depth int) error {
	for name, value := range object {
		switch name {
		case "$dynamicRef", "$recursiveRef", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$id", "id":
			if _, ok := value.(string); ok {
				return fmt.Errorf("has %s, which esignd does not take: refer by $ref to a place in the schema itself, such as #/$defs/url", name)
			}
		case "$ref":
			if ref, ok := value.(string); ok {
				if err := s.addReference(ref, depth); err != nil {
					return err
				}
				continue
			}
		}
		if err := s.add(value, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// addReference follows a JSON Pointer from the root (RFC 6901).
func (s *schemaSize) addReference(ref string, depth int) error {
	path, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return errors.New("has a $ref that is no place in the schema itself, such as #/$defs/url")
	}
	at := s.root
	for _, name := range strings.Split(path, "/") {
		object, _ := at.(map[string]any) // nil has no members
		var ok bool
		if at, ok = object[strings.NewReplacer("~1", "/", "~0", "~").Replace(name)]; !ok {
			return errors.New("has a $ref to a place that is not there")
		}
	}
	return s.add(at, depth+1)
}
