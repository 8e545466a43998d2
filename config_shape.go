package esignd

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

//go:embed docs/configuration.schema.json
var configSchema []byte

// What schemas cannot say in words.
const (
	secretWords = "a secret does not stand in the file; write {env: NAME} or {file: PATH}"
	authWords   = "say none, which lets every program on this machine ask for tokens, or list services"
)

// patternWords says what a pattern asks for. The last three are the adapters' own, for URLs and what is added to them.
func patternWords(pattern string) string {
	switch pattern {
	case `^[A-Za-z0-9_-]{1,64}$`:
		return "takes letters, digits, _ and -, and at most 64 of them"
	case `^[a-z][a-z0-9]{0,31}$`:
		return "takes lower-case letters and digits, such as adobesign; the plugin's file is esignd-plugin-<vendor>"
	case `^[^\x00-\x1f\x7f]{1,256}$`:
		return "takes a name as it stands in a certificate, such as CN=billing, and at most 256 characters"
	case `^[1-9][0-9]{0,5}h$`:
		return "takes hours, such as 8760h for a year"
	case `^[0-9a-fA-F]{64}$`:
		return "takes 64 hexadecimal digits; `sha256sum` of the plugin's file prints them"
	case `^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`:
		return "takes letters, digits, _ and -, in parts with dots between them"
	case `^(https://[^/?#@]+|http://(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?)(/[^?#]*)?$`:
		return "takes an https URL without user, query and fragment; http is for a host on this machine, such as 127.0.0.1"
	case `^(https://[^/?#@]+|http://(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?)(/[^?#]*)?(\?[^#]*)?$`:
		return "takes an https URL without user and fragment; http is for a host on this machine, such as 127.0.0.1"
	case `^[^=&]+=[^=&]*(&[^=&]+=[^=&]*)*$`:
		return "takes parameters as they stand in a URL, such as prompt=consent&access_type=offline"
	}
	return ""
}

// addShape validates value against a JSON Schema. Problems are told below the path at.
func (p *problems) addShape(value any, schema []byte, at string) {
	compiled, err := compile(schema)
	if err != nil {
		p.addf(at, "the schema of these settings cannot be read: %v", err)
		return
	}
	var invalid *jsonschema.ValidationError
	if err := compiled.Validate(value); errors.As(err, &invalid) {
		shape{p, compiled, at}.add(invalid)
	} else if err != nil {
		p.addf(at, "the settings cannot be checked: %v", err)
	}
}

func compile(schema []byte) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(noLoader{})
	if err := compiler.AddResource("schema.json", doc); err != nil {
		return nil, err
	}
	return compiler.Compile("schema.json")
}

// noLoader refuses to load what a schema refers to: a plugin's schema is not to have this process read files.
type noLoader struct{}

func (noLoader) Load(string) (any, error) {
	return nil, errors.New("the schema refers to another document")
}

// shape tells a schema's errors in words that name the setting.
type shape struct {
	*problems
	schema *jsonschema.Schema
	at     string
}

// add tells the leaves of an error.
func (s shape) add(e *jsonschema.ValidationError) {
	at := place(s.at, e.InstanceLocation)
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			s.addf(join(at, name), "there is no such setting%s", s.suggest(name, e.InstanceLocation))
		}
	case *kind.Required:
		for _, name := range k.Missing {
			s.addf(join(at, name), "is missing%s", missingWords(at, name))
		}
	case *kind.AnyOf:
		s.addAnyOf(at, e)
	case *kind.Type:
		if strings.HasSuffix(e.SchemaURL, "/$defs/secret") {
			s.addf(at, secretWords)
			return
		}
		s.addf(at, "%s", typeWords(k))
	default:
		for _, cause := range e.Causes {
			s.add(cause)
		}
		if len(e.Causes) == 0 {
			s.addf(at, "%s", s.words(e))
		}
	}
}

// addAnyOf tells what is wrong with a value that may be one of several things.
func (s shape) addAnyOf(at string, e *jsonschema.ValidationError) {
	if at == "nats.auth" {
		s.addAuth(at, e)
		return
	}
	// Of the two forms of a vendor's setting, a map was meant to be the second: where a secret is.
	for _, cause := range e.Causes {
		if k, ok := cause.ErrorKind.(*kind.Type); ok && k.Got != "object" {
			s.addf(at, "is %s, and must be a string or, for a secret, {env: NAME} or {file: PATH}", typeName(k.Got))
			return
		}
	}
	for _, cause := range e.Causes {
		if _, ok := cause.ErrorKind.(*kind.Type); !ok {
			s.add(cause)
		}
	}
}

// words says what is wrong with a single value.
func (s shape) words(e *jsonschema.ValidationError) string {
	switch k := e.ErrorKind.(type) {
	case *kind.Enum:
		return enumWords(k)
	case *kind.Pattern:
		if k.Want == nkeyPattern {
			// It may be the seed, which is a secret.
			return nkeyWords
		}
		if words := patternWords(k.Want); words != "" {
			return fmt.Sprintf("%q will not do: it %s", k.Got, words)
		}
		return fmt.Sprintf("%q will not do: it is of the form %s", k.Got, k.Want)
	case *kind.MinLength:
		if k.Got == 0 {
			last := len(e.InstanceLocation) - 1
			return "is empty" + missingWords(place(s.at, e.InstanceLocation[:last]), e.InstanceLocation[last])
		}
	case *kind.MinItems:
		if k.Got == 0 {
			return "is an empty list; name one, or leave the setting out for its default"
		}
	case *kind.MinProperties:
		return secretWords
	case *kind.Minimum:
		return fmt.Sprintf("is %s, and must be at least %s", k.Got.RatString(), k.Want.RatString())
	case *kind.Maximum:
		return fmt.Sprintf("is %s, and must be at most %s", k.Got.RatString(), k.Want.RatString())
	case *kind.MaxProperties:
		return "say either env or file, not both"
	}
	return e.ErrorKind.LocalizedString(message.NewPrinter(language.English))
}

func enumWords(k *kind.Enum) string {
	want := make([]string, len(k.Want))
	for i, w := range k.Want {
		want[i] = fmt.Sprint(w)
	}
	said := oneOf(want)
	got, isString := k.Got.(string)
	switch {
	case !isString:
		return fmt.Sprintf("%v is not known; say %s", k.Got, said)
	case slices.Contains(want, got):
		return "is a string; leave the quotes out"
	}
	return fmt.Sprintf("%q is not known; say %s", got, said)
}

// oneOf lists what may be said.
func oneOf(want []string) string {
	last := len(want) - 1
	if last < 1 {
		return strings.Join(want, "")
	}
	return strings.Join(want[:last], ", ") + " or " + want[last]
}

func typeWords(k *kind.Type) string {
	want := make([]string, len(k.Want))
	for i, w := range k.Want {
		want[i] = typeName(w)
	}
	text := fmt.Sprintf("is %s, and must be %s", typeName(k.Got), oneOf(want))
	switch {
	case want[0] == typeName("string") && (k.Got == "number" || k.Got == "boolean"):
		text += "; put it in quotes"
	case want[0] == typeName("array") && k.Got == "string":
		text += "; put it in brackets: [...]"
	}
	return text
}

// typeName is a JSON type as people say it.
func typeName(t string) string {
	switch t {
	case "null":
		return "empty"
	case "boolean":
		return "true or false"
	case "integer":
		return "a whole number"
	case "array":
		return "a list"
	case "object":
		return "a group of settings"
	}
	return "a " + t
}

// missingWords says what to do about a setting that must be there.
func missingWords(at, name string) string {
	if strings.HasPrefix(at, "nats.auth.") {
		return serviceWords(name)
	}
	switch name {
	case "data_dir":
		return ": name a folder that belongs to this esignd alone"
	case "name":
		return ": a client has a name of its own, which services ask by"
	case "vendor":
		return ": name the vendor, such as adobesign"
	}
	return ""
}

// suggest says where an unknown setting may belong: its name elsewhere, else the nearest name here.
func (s shape) suggest(name string, location []string) string {
	here := known(s.schema, location)
	near := suggest(name, here)
	if elsewhere := find(s.schema, name, s.at); len(elsewhere) > 0 && !strings.Contains(near, "did you mean") {
		return "; did you mean " + oneOf(elsewhere) + "?"
	}
	return near
}

// find lists the paths of all settings of that name.
func find(schema *jsonschema.Schema, name, at string) []string {
	var found []string
	for _, n := range names(schema.Properties) {
		if n == name {
			found = append(found, join(at, n))
		}
		next, path := schema.Properties[n], join(at, n)
		if next.Items2020 != nil {
			next, path = next.Items2020, path+"[]"
		}
		found = append(found, find(next, name, path)...)
	}
	return found
}

// known lists the properties of the object at a place in the schema.
func known(schema *jsonschema.Schema, location []string) []string {
	for _, part := range location {
		if schema = group(schema); schema == nil {
			return nil
		}
		if next, ok := schema.Properties[part]; ok {
			schema = next
		} else if schema.Items2020 != nil {
			schema = schema.Items2020
		} else {
			return names(secretOf(schema).Properties)
		}
	}
	if schema = group(schema); schema == nil {
		return nil
	}
	return names(schema.Properties)
}

// group follows references to a group of settings, which may be one of the forms that a setting has.
func group(schema *jsonschema.Schema) *jsonschema.Schema {
	schema = target(schema)
	if schema == nil || len(schema.Properties) > 0 {
		return schema
	}
	for _, form := range schema.AnyOf {
		if len(form.Properties) > 0 {
			return form
		}
	}
	return schema
}

// target follows a reference.
func target(schema *jsonschema.Schema) *jsonschema.Schema {
	for schema != nil && schema.Ref != nil {
		schema = schema.Ref
	}
	return schema
}

// secretOf returns the secret form of a vendor's setting.
func secretOf(settings *jsonschema.Schema) *jsonschema.Schema {
	if each, ok := settings.AdditionalProperties.(*jsonschema.Schema); ok {
		for _, form := range each.AnyOf {
			if form.Ref != nil {
				return form.Ref
			}
		}
	}
	return &jsonschema.Schema{}
}

// place writes a path as clients[1].settings.api_url.
func place(at string, location []string) string {
	for _, part := range location {
		if strings.Trim(part, "0123456789") == "" {
			at += "[" + part + "]"
			continue
		}
		at = join(at, part)
	}
	return at
}

// join appends a name to a path.
func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}
