package esignd

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	"go.yaml.in/yaml/v3"
)

// overridable are the settings that ESIGND_… variables override: the path in capitals, joined by _.
var overridable = [...]string{
	"data_dir", "nats.url", "nats.listen", "nats.auth", "nats.prefix", "nats.replicas", "nats.credentials", "nats.tls.ca",
	"nats.tls.cert", "nats.tls.key", "http.listen", "http.admin", "http.public_url", "http.admin_url", "http.tls.ca", "http.tls.cert", "http.tls.key", "plugins.dir", "keys.keyset",
	"log.level", "log.format", "nats.quota.per_second", "nats.quota.concurrent", "audit.enabled", "audit.max_age", "audit.max_bytes",
}

// variableOf returns the name of the variable that overrides a setting.
func variableOf(path string) string {
	return "ESIGND_" + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// LoadConfig reads the file at path and the variables in environ, which is of the form of os.Environ. The error tells
// all mistakes of form at once, or, where there is none, all others: where each is, what is wrong and what to do.
func LoadConfig(path string, environ []string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	cfg, err := parseConfig(text, environ)
	if err != nil {
		return Config{}, fmt.Errorf("configuration %s:\n%w", path, err)
	}
	return cfg, nil
}

// parseConfig reads the sections that are named, or with none all.
func parseConfig(text []byte, environ []string, sections ...string) (Config, error) {
	src, raw, err := readYAML(text)
	if err != nil {
		return Config{}, err
	}
	env := environment(environ)
	src.override(raw, env)
	if len(sections) > 0 {
		maps.DeleteFunc(raw, func(name string, _ any) bool { return !slices.Contains(sections, name) })
	}
	var p problems
	p.addShape(raw, configSchema, "")
	if err := p.err(src); err != nil {
		return Config{}, err
	}
	cfg, err := decodeConfig(raw)
	if err != nil {
		return Config{}, err
	}
	cfg.resolve(raw, env, &p)
	cfg = cfg.withDefaults()
	cfg.check(&p)
	if err := p.err(src); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

func environment(environ []string) map[string]string {
	env := map[string]string{}
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			env[name] = value
		}
	}
	return env
}

// source knows where a setting was said. The zero source knows nothing.
type source struct {
	root       *yaml.Node        // of the document; nil: none
	overridden map[string]string // variables by the path of the setting
}

// readYAML reads a configuration file. What is empty in it is taken as not there: a section whose settings are all
// commented out.
func readYAML(text []byte) (*source, map[string]any, error) {
	src := &source{overridden: map[string]string{}}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, nil, notYAML(err)
	}
	raw := map[string]any{}
	if len(doc.Content) == 0 {
		return src, raw, nil
	}
	src.root = doc.Content[0]
	keepText(src.root, false)
	var value any
	if err := doc.Decode(&value); err != nil {
		return nil, nil, notYAML(err)
	}
	if value == nil {
		return src, raw, nil
	}
	raw, ok := plain(value).(map[string]any)
	if !ok {
		return nil, nil, errors.New("  holds no settings: write name: value, one a line, beginning with data_dir: and a folder")
	}
	return src, raw, nil
}

// notYAML says what the parser says in one line. It names keys, and shows no value.
func notYAML(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	text = strings.ReplaceAll(strings.TrimPrefix(text, "unmarshal errors:\n  "), "\n  ", "; ")
	switch {
	case strings.Contains(text, "cannot start any token"):
		text += "; if it is a tab, indent by spaces"
	case strings.HasPrefix(text, "unknown anchor"): // it may be a secret that begins with *
		text = "an alias has no anchor; a value that begins with * stands in quotes"
	}
	return errors.New("  not YAML: " + text)
}

// keepText makes strings of what YAML takes for dates and fractions, since no setting is one, and of all that a vendor's
// settings hold, since adapters get text: 1.10 stays 1.10.
func keepText(n *yaml.Node, settings bool) {
	if n.Kind == yaml.ScalarNode {
		switch tag := n.ShortTag(); {
		case tag == "!!timestamp" || tag == "!!float", settings && (tag == "!!int" || tag == "!!bool"):
			n.Tag = "!!str"
		}
	}
	for i, c := range n.Content {
		isValue := n.Kind == yaml.MappingNode && i%2 == 1
		keepText(c, settings || isValue && n.Content[i-1].Value == "settings")
	}
}

// plain returns a decoded value in the form of JSON: the keys of maps are strings, and empty members are left out.
func plain(value any) any {
	switch v := value.(type) {
	case map[string]any:
		m := map[string]any{}
		for name, member := range v {
			if member != nil {
				m[name] = plain(member)
			}
		}
		return m
	case map[any]any:
		m := map[string]any{}
		for name, member := range v {
			if member != nil {
				m[fmt.Sprint(name)] = plain(member)
			}
		}
		return m
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	}
	return value
}

// override puts ESIGND_ variables over what the file says. An empty variable is as one that is not set.
func (s *source) override(raw map[string]any, env map[string]string) {
	for _, path := range overridable {
		value := env[variableOf(path)]
		if value == "" {
			continue
		}
		m, name := raw, path
		for {
			section, rest, ok := strings.Cut(name, ".")
			if !ok {
				break
			}
			next, ok := m[section].(map[string]any)
			if !ok {
				next = map[string]any{}
				m[section] = next
			}
			m, name = next, rest
		}
		s.overridden[path] = variableOf(path)
		m[name] = scalar(path, value)
	}
}

// scalar returns the value of a variable as YAML would read it for its setting.
func scalar(path, value string) any {
	switch path {
	case "nats.replicas", "nats.quota.per_second", "nats.quota.concurrent", "audit.max_bytes":
		if n, err := strconv.Atoi(value); err == nil {
			return n
		}
	case "audit.enabled":
		if b, err := strconv.ParseBool(value); err == nil {
			return b
		}
	}
	return value
}

// where says in a word or two where a setting was said, and its line: 0 where that is not known. For a setting that is
// missing it is the line of what it should be part of.
func (s *source) where(at string) (string, int) {
	if s == nil {
		return "", 0
	}
	if name, ok := s.overridden[at]; ok {
		return name, 0
	}
	node, line := s.root, 0
	for _, step := range strings.FieldsFunc(at, func(r rune) bool { return strings.ContainsRune(".[]", r) }) {
		key, value := child(node, step)
		if value == nil {
			break
		}
		node, line = value, key.Line
	}
	if line == 0 {
		return "", 0
	}
	return fmt.Sprintf("line %d", line), line
}

// child returns a member of a map or list, with the node where it begins.
func child(n *yaml.Node, step string) (key, value *yaml.Node) {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case n == nil:
	case n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				return n.Content[i], n.Content[i+1]
			}
		}
	case n.Kind == yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i < len(n.Content) {
			return n.Content[i], n.Content[i]
		}
	}
	return nil, nil
}

// decodeConfig makes a Config of a document whose form was checked. Secrets and the vendors' settings are not in it yet.
func decodeConfig(raw map[string]any) (Config, error) {
	var cfg Config
	nats, _ := raw["nats"].(map[string]any)
	if auth, listed := nats["auth"].(map[string]any); listed {
		if err := decode(auth, &struct{ Services *[]Service }{&cfg.NATS.Services}); err != nil {
			return Config{}, err
		}
		nats["auth"] = string(AuthServices)
	}
	services := cfg.NATS.Services
	if err := decode(raw, &cfg); err != nil {
		return Config{}, err
	}
	cfg.NATS.Services = services
	return cfg, nil
}

func decode(raw map[string]any, into any) error {
	k := koanf.New(".")
	if err := k.Load(confmap.Provider(raw, ""), nil); err != nil {
		return fmt.Errorf("  %w", err)
	}
	if err := k.Unmarshal("", into); err != nil {
		return fmt.Errorf("  %w", err)
	}
	return nil
}
