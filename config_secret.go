package esignd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/esignd/esignd/core"
)

// maxSecret bounds the file of a secret, in bytes.
const maxSecret = 64 << 10

// resolve reads the secrets that the configuration names, and parts the vendors' settings into plain and secret ones.
func (c *Config) resolve(raw map[string]any, env map[string]string, p *problems) {
	if keys, ok := raw["keys"].(map[string]any); ok {
		c.Keys.Wrap = resolveSecret(keys["wrap"], env, "keys.wrap", p)
	}
	if http, ok := raw["http"].(map[string]any); ok {
		c.HTTP.MetricsToken = resolveSecret(http["metrics_token"], env, "http.metrics_token", p)
	}
	clients, _ := raw["clients"].([]any)
	for i, item := range clients {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		cl, at := &c.Clients[i], fmt.Sprintf("clients[%d]", i)
		cl.ClientSecret = resolveSecret(m["client_secret"], env, at+".client_secret", p)
		settings, _ := m["settings"].(map[string]any)
		cl.Settings, cl.SecretSettings = map[string]string{}, map[string]core.Secret{}
		for _, name := range names(settings) {
			if _, secret := settings[name].(map[string]any); secret {
				cl.SecretSettings[name] = resolveSecret(settings[name], env, at+".settings."+name, p)
				continue
			}
			cl.Settings[name] = fmt.Sprint(settings[name])
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
		value, set := env[name]
		switch {
		case !set:
			p.addf(at, "the environment variable %s is not set; set it, or name another", name)
		case value == "":
			p.addf(at, "the environment variable %s is empty; set it, or name another", name)
		}
		return core.NewSecret(value)
	}
	path, _ := m["file"].(string)
	value, err := readSecret(path)
	if err != nil {
		p.addf(at, "%v", err)
	}
	return value
}

// readSecret reads a file that holds a secret and nothing else. The ends of lines after it do not belong to it.
func readSecret(path string) (secret core.Secret, err error) {
	info, err := os.Stat(path) //nolint:gosec // the configuration names it
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return secret, fmt.Errorf("there is no file %s; make it, readable by esignd alone, or name another", path)
	case err == nil && !info.Mode().IsRegular():
		return secret, fmt.Errorf("%s is not a file; name one that holds the secret and nothing else", path)
	case err == nil && info.Mode().Perm()&0o002 != 0:
		// Readable by others is how containers mount secrets (mode 0444), each for itself alone.
		return secret, fmt.Errorf("every user of this machine can write the file %s (mode %04o); run `chmod o-w %s`", path, info.Mode().Perm(), path)
	case err == nil && info.Size() > maxSecret:
		return secret, fmt.Errorf("the file %s is longer than a secret can be (64 KiB); is it the right one?", path)
	}
	f, err := os.Open(path) //nolint:gosec // the configuration names it
	if err != nil {
		return secret, fmt.Errorf("the file cannot be read: %w; give it to the user that runs esignd", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return secret, fmt.Errorf("the file cannot be read: %w", err)
	}
	value := strings.TrimRight(string(text), "\r\n")
	if value == "" {
		return secret, fmt.Errorf("the file %s is empty; write the secret into it", path)
	}
	return core.NewSecret(value), nil
}
