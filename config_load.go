package esignd

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/esignd/esignd/core"
)

//go:embed schema/config.json
var configSchema []byte

// overridable are the settings that ESIGND_… variables override: the path in capitals, joined by _.
var overridable = []string{
	"data_dir", "nats.url", "nats.listen", "nats.auth", "nats.prefix", "nats.credentials", "nats.tls.ca", "nats.tls.cert",
	"nats.tls.key", "http.listen", "http.admin", "http.public_url", "plugins.dir", "keys.keyset", "log.level", "log.format",
}

// LoadConfig reads the file at path and the variables in environ, which is of the form of os.Environ. Every mistake is
// told at once: where it is, what is wrong and what to do.
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

func parseConfig(text []byte, environ []string) (Config, error) {
	raw, err := yaml.Parser().Unmarshal(text)
	if err != nil {
		return Config{}, fmt.Errorf("  not YAML: %w", err)
	}
	if raw == nil {
		raw = map[string]any{}
	}
	env := environment(environ)
	override(raw, env)
	if err := checkShape(raw, configSchema, ""); err != nil {
		return Config{}, err
	}
	if nats, ok := raw["nats"].(map[string]any); ok {
		if _, listed := nats["auth"].(map[string]any); listed {
			nats["auth"] = "services"
		}
	}
	cfg, err := decodeConfig(raw)
	if err != nil {
		return Config{}, err
	}
	var problems problems
	cfg.resolve(raw, env, &problems)
	cfg.check(&problems)
	return cfg, problems.err()
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

// override puts ESIGND_ variables over what the file says.
func override(raw map[string]any, env map[string]string) {
	for _, path := range overridable {
		value, ok := env["ESIGND_"+strings.ToUpper(strings.ReplaceAll(path, ".", "_"))]
		if !ok {
			continue
		}
		m := raw
		parts := strings.Split(path, ".")
		for _, part := range parts[:len(parts)-1] {
			next, ok := m[part].(map[string]any)
			if !ok {
				next = map[string]any{}
				m[part] = next
			}
			m = next
		}
		m[parts[len(parts)-1]] = value
	}
}

// checkShape validates value against a JSON Schema. Problems are told below the path at.
func checkShape(value any, schema []byte, at string) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return fmt.Errorf("read the schema: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("schema.json", doc); err != nil {
		return fmt.Errorf("read the schema: %w", err)
	}
	compiled, err := compiler.Compile("schema.json")
	if err != nil {
		return fmt.Errorf("compile the schema: %w", err)
	}
	err = compiled.Validate(value)
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	var problems problems
	problems.addSchema(invalid, compiled, at)
	return problems.err()
}

func decodeConfig(raw map[string]any) (Config, error) {
	k := koanf.New(".")
	if err := k.Load(confmap.Provider(raw, ""), nil); err != nil {
		return Config{}, fmt.Errorf("  %w", err)
	}
	cfg := DefaultConfig()
	if err := k.Unmarshal("", &cfg); err != nil {
		return Config{}, fmt.Errorf("  %w", err)
	}
	for i := range cfg.Clients {
		c := &cfg.Clients[i]
		if c.GrantType == "" {
			c.GrantType = core.AuthorizationCode
		}
		if c.Policy == "" {
			c.Policy = core.Eager
		}
		if c.Tenants == nil {
			c.Tenants = []string{"default"}
		}
	}
	return cfg, nil
}

// resolve reads the secrets that the configuration names, and parts the vendors' settings into plain and secret ones.
func (c *Config) resolve(raw map[string]any, env map[string]string, p *problems) {
	if keys, ok := raw["keys"].(map[string]any); ok {
		c.Keys.Wrap = resolveSecret(keys["wrap"], env, "keys.wrap", p)
	}
	clients, _ := raw["clients"].([]any)
	for i, item := range clients {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		at := fmt.Sprintf("clients[%d]", i)
		c.Clients[i].ClientSecret = resolveSecret(m["client_secret"], env, at+".client_secret", p)
		settings, _ := m["settings"].(map[string]any)
		c.Clients[i].Settings, c.Clients[i].SecretSettings = map[string]string{}, map[string]core.Secret{}
		for name, value := range settings {
			if _, secret := value.(map[string]any); secret {
				c.Clients[i].SecretSettings[name] = resolveSecret(value, env, at+".settings."+name, p)
				continue
			}
			c.Clients[i].Settings[name] = fmt.Sprint(value)
		}
	}
}

// resolveSecret reads what {env: NAME} or {file: PATH} names.
func resolveSecret(ref any, env map[string]string, at string, p *problems) core.Secret {
	m, ok := ref.(map[string]any)
	if !ok {
		return core.Secret{}
	}
	if name, ok := m["env"].(string); ok {
		value := env[name]
		if value == "" {
			p.addf(at, "the environment variable %s is not set; set it, or name another", name)
		}
		return core.NewSecret(value)
	}
	path, _ := m["file"].(string)
	text, err := os.ReadFile(path)
	if err != nil {
		p.addf(at, "the file cannot be read: %v", err)
		return core.Secret{}
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o007 != 0 {
		p.addf(at, "the file %s is open to every user of this machine (mode %v); chmod o-rwx it", path, info.Mode().Perm())
	}
	value := strings.TrimRight(string(text), "\r\n")
	if value == "" {
		p.addf(at, "the file %s is empty", path)
	}
	return core.NewSecret(value)
}

// names lists the keys of a map, sorted.
func names[V any](m map[string]V) []string {
	ns := make([]string, 0, len(m))
	for n := range m {
		ns = append(ns, n)
	}
	slices.Sort(ns)
	return ns
}
