package site

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/tests/page"
)

// message is what a schema of the contract says.
type message struct {
	name, title string
	fields      []field // in the schema's order
}

// field is a member of a message.
type field struct {
	Name        string          `json:"-"`
	Required    bool            `json:"-"`
	Type        string          `json:"type"`
	Format      string          `json:"format"`
	Description string          `json:"description"`
	Enum        []string        `json:"enum"`
	Const       string          `json:"const"`
	Ref         string          `json:"$ref"`
	Items       json.RawMessage `json:"items"`
}

// messages reads all schemas, by name.
func messages(t *testing.T) []message {
	t.Helper()
	files, err := fs.Glob(wire.Schemas, "schema/*.json")
	if err != nil || len(files) < 20 {
		t.Fatal(files, err)
	}
	var all []message
	for _, file := range files {
		text, err := fs.ReadFile(wire.Schemas, file)
		if err != nil {
			t.Fatal(err)
		}
		var schema struct {
			Title      string
			Properties json.RawMessage
			Required   []string
		}
		if err := json.Unmarshal(text, &schema); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		m := message{name: strings.TrimSuffix(path.Base(file), ".json"), title: schema.Title}
		for _, name := range page.Members(t, schema.Properties) {
			m.fields = append(m.fields, readField(t, schema.Properties, name, slices.Contains(schema.Required, name)))
		}
		all = append(all, m)
	}
	return all
}

func readField(t *testing.T, properties json.RawMessage, name string, required bool) field {
	t.Helper()
	all := map[string]field{}
	if err := json.Unmarshal(properties, &all); err != nil {
		t.Fatal(err)
	}
	f := all[name]
	f.Name, f.Required = name, required
	return f
}

// kind is the type of a field in words.
func (f field) kind() string {
	var items field
	_ = json.Unmarshal(f.Items, &items) // none leaves it empty
	link := func(ref string) string {
		name := strings.TrimSuffix(ref, ".json")
		return fmt.Sprintf("[%s](#%s)", name, name)
	}
	switch {
	case f.Ref != "":
		return link(f.Ref)
	case items.Ref != "":
		return "list of " + link(items.Ref)
	case f.Items != nil:
		return "list of " + items.Type
	case f.Const != "":
		return "`" + f.Const + "`"
	case f.Format == "date-time":
		return "time"
	}
	return f.Type
}

func (f field) meaning() string {
	words := f.Description
	if len(f.Enum) > 0 {
		words = strings.TrimSpace(words + " One of `" + strings.Join(f.Enum, "`, `") + "`.")
	}
	return strings.ReplaceAll(words, "|", `\|`)
}

// TestReferenceOfTheMessages keeps docs/messages.md in step with the schemas.
func TestReferenceOfTheMessages(t *testing.T) {
	var b strings.Builder
	for _, m := range messages(t) {
		fmt.Fprintf(&b, "### %s\n\n%s. [Its schema](../bus/wire/schema/%s.json).\n\n| field | type | | meaning |\n|---|---|---|---|\n", m.name, strings.TrimSuffix(m.title, "."), m.name)
		for _, f := range m.fields {
			there := ""
			if f.Required {
				there = "always"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, f.kind(), there, f.meaning())
		}
		b.WriteString("\n")
	}
	page.Generated(t, filepath.Join(root, "docs/messages.md"), "messages", b.String())
}

// channel is one of the AsyncAPI document.
type channel struct {
	Address     string
	Description string
	Messages    map[string]struct {
		Ref string `yaml:"$ref"`
	}
}

// asyncAPI is what the AsyncAPI document says.
type asyncAPI struct {
	Channels   map[string]channel
	Components struct {
		Messages map[string]struct {
			Payload struct {
				Schema struct {
					Ref string `yaml:"$ref"`
				}
			}
		}
	}
}

// payload is the name of the schema of a channel's message.
func (a asyncAPI) payload(c channel, message string) string {
	name := path.Base(c.Messages[message].Ref)
	return strings.TrimSuffix(path.Base(a.Components.Messages[name].Payload.Schema.Ref), ".json")
}

// TestReferenceOfTheSubjects keeps the tables of subjects of docs/contract.md in step with the AsyncAPI document and the schemas.
func TestReferenceOfTheSubjects(t *testing.T) {
	var doc asyncAPI
	if err := yaml.Unmarshal(wire.AsyncAPI, &doc); err != nil {
		t.Fatal(err)
	}
	fields := map[string][]field{}
	for _, m := range messages(t) {
		fields[m.name] = m.fields
	}
	var b strings.Builder
	b.WriteString("| subject | request | answer | |\n|---|---|---|---|\n")
	for _, e := range wire.Endpoints() {
		address := wire.APISubject(wire.DefaultPrefix, "{tenant}", e)
		for name, c := range doc.Channels {
			if c.Address != address {
				continue
			}
			answer := doc.payload(doc.Channels[name+"Reply"], "reply")
			fmt.Fprintf(&b, "| `%s` | %s | [%s](messages.md#%s) | %s |\n", strings.ReplaceAll(address, "{tenant}", "<tenant>"),
				inWords(fields[doc.payload(c, "request")]), answer, answer, c.Description)
		}
	}
	if rows := strings.Count(b.String(), "\n") - 2; rows != len(wire.Endpoints()) {
		t.Fatalf("there are %d rows", rows)
	}
	page.Generated(t, filepath.Join(root, "docs/contract.md"), "requests", b.String())
}

// inWords lists the fields of a request: those of a selector as that, and with a ? what can be left out.
func inWords(fields []field) string {
	var words []string
	isSelector := len(fields) >= 3 && !fields[0].Required && fields[0].Name == "grant" && fields[1].Name == "client" && fields[2].Name == "account"
	if isSelector {
		words, fields = []string{"selector"}, fields[3:]
	}
	fields = slices.Clone(fields)
	slices.SortStableFunc(fields, func(a, b field) int { return cmp.Compare(optional(a), optional(b)) })
	for _, f := range fields {
		words = append(words, "`"+f.Name+"`"+strings.Repeat("?", optional(f)))
	}
	return strings.Join(words, ", ")
}

func optional(f field) int {
	if f.Required {
		return 0
	}
	return 1
}
