package esignd

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/esignd/esignd/core"
)

// CheckSettings checks each client against what its vendor's adapter says of itself: grant type and settings.
func (c Config) CheckSettings(ctx context.Context, adapters core.Adapters) error {
	var p problems
	for i, cl := range c.withDefaults().Clients {
		at := fmt.Sprintf("clients[%d]", i)
		adapter, err := adapters.Adapter(cl.Vendor)
		if err != nil {
			p.addf(at+".vendor", "%v", err)
			continue
		}
		md, err := adapter.Metadata(ctx)
		if err != nil {
			p.addf(at+".vendor", "the plugin of %s does not say what it is: %v", cl.Vendor, err)
			continue
		}
		if !md.Supports(cl.GrantType) {
			p.addf(at+".grant_type", "%s does not take %s; say %s", cl.Vendor, cl.GrantType, grantTypes(md))
		}
		if len(md.SettingsSchema) > 0 {
			cl.checkSettings(md.SettingsSchema, at+".settings", &p)
		}
	}
	return p.err(nil)
}

// grantTypes lists those that a client may have.
func grantTypes(md core.Metadata) string {
	var all []string
	for _, t := range md.GrantTypes {
		if t != core.RefreshToken {
			all = append(all, string(t))
		}
	}
	return oneOf(all)
}

// checkSettings checks settings against the vendor's schema. Problems name a secret, and do not show it.
func (c Client) checkSettings(schema []byte, at string, p *problems) {
	compiled, err := compile(schema)
	if err != nil {
		p.addf(at, "the plugin's schema of its settings cannot be read: %v", err)
		return
	}
	values := map[string]any{}
	for name, value := range c.Settings {
		property := target(compiled.Properties[name])
		if property != nil && property.WriteOnly {
			p.addf(at+"."+name, secretWords)
		}
		values[name] = typed(value, property)
	}
	for name, value := range c.SecretSettings {
		property := target(compiled.Properties[name])
		if property != nil && !property.WriteOnly {
			p.addf(at+"."+name, "is not a secret; write the value itself")
		}
		values[name] = value.Reveal()
	}
	var found problems
	found.addShape(values, schema, at)
	for _, one := range found.list {
		if name, ok := strings.CutPrefix(one.at, at+"."); ok && c.isSecret(name, compiled) {
			if !p.has(one.at) {
				p.addf(one.at, "is not what the plugin takes: %s", description(compiled.Properties[name]))
			}
			continue
		}
		p.list = append(p.list, one)
	}
}

// isSecret reports whether the value of a setting must not be shown. That an unknown setting is unknown may be told.
func (c Client) isSecret(name string, schema *jsonschema.Schema) bool {
	property := target(schema.Properties[name])
	if property == nil {
		return false
	}
	_, given := c.SecretSettings[name]
	return given || property.WriteOnly
}

func description(property *jsonschema.Schema) string {
	if property == nil || property.Description == "" {
		return "`plugin-host describe` prints what it takes"
	}
	return property.Description
}

// typed returns a setting as the schema's type, where it says one that is not a string: adapters get strings.
func typed(value string, property *jsonschema.Schema) any {
	if property == nil || property.Types == nil {
		return value
	}
	for _, t := range property.Types.ToStrings() {
		switch t {
		case "string":
			return value
		case "boolean":
			if b, err := strconv.ParseBool(value); err == nil {
				return b
			}
		case "integer", "number":
			if n, err := strconv.ParseFloat(value, 64); err == nil {
				return n
			}
		}
	}
	return value
}
