package esignd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/esignd/esignd/bus"
)

// LoadDataDir reads data_dir from a configuration, and nothing else: a command that asks the daemon of this machine need
// not be given the secrets that the file names.
func LoadDataDir(path string, environ []string) (string, error) {
	cfg, _, err := loadLocal(path, environ)
	return cfg.DataDir, err
}

// LoadStoreConfig reads what a configuration says of data_dir, NATS, keys and audit, and nothing else: for Backup and Restore,
// which need no secret of a client.
func LoadStoreConfig(path string, environ []string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	cfg, err := parseConfig(text, environ, "data_dir", "nats", "keys", "audit")
	if err != nil {
		return Config{}, fmt.Errorf("configuration %s:\n%w", path, err)
	}
	return cfg, nil
}

// RewrapKeys wraps the keyset of a configuration with the key that an environment variable or a file holds, one of which
// is named, in place of keys.wrap, and returns the keyset's path. See bus.Rewrap.
func RewrapKeys(ctx context.Context, path string, environ []string, variable, file string) (string, error) {
	cfg, raw, err := loadLocal(path, environ)
	if err != nil {
		return "", err
	}
	env := environment(environ)
	var p problems
	cfg.resolve(raw, env, &p)
	if err := p.err(nil); err != nil {
		return "", fmt.Errorf("configuration %s:\n%w", path, err)
	}
	ref := map[string]any{"file": file}
	if variable != "" {
		ref = map[string]any{"env": variable}
	}
	key := resolveSecret(ref, env, "the new key", &p)
	if err := p.err(nil); err != nil {
		return "", errors.New(strings.TrimSpace(err.Error()))
	}
	from := bus.Keys{Keyset: cfg.Keys.Keyset, Wrap: cfg.Keys.Wrap}
	return bus.Rewrap(ctx, cfg.DataDir, from, bus.Keys{Wrap: key})
}

// loadLocal reads the settings that say what is where on this machine, and checks no other.
func loadLocal(path string, environ []string) (Config, map[string]any, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, nil, fmt.Errorf("read the configuration: %w", err)
	}
	src, all, err := readYAML(text)
	if err != nil {
		return Config{}, nil, fmt.Errorf("configuration %s:\n%w", path, err)
	}
	src.override(all, environment(environ))
	raw := map[string]any{}
	for _, name := range []string{"data_dir", "keys"} {
		if value, ok := all[name]; ok {
			raw[name] = value
		}
	}
	cfg, err := decodeConfig(raw)
	if err == nil && cfg.DataDir == "" {
		err = errors.New("  data_dir: is missing: name a folder that belongs to this esignd alone")
	}
	if err != nil {
		return Config{}, nil, fmt.Errorf("configuration %s:\n%w", path, err)
	}
	return cfg, raw, nil
}
