package esignd

import (
	"os"
	"path/filepath"

	"github.com/esignd/esignd/core"
)

// Config is the configuration of a daemon. Its YAML form has the same names in lower case; docs/configuration.md and
// schema/config.json describe each setting.
type Config struct {
	DataDir string `koanf:"data_dir"`
	NATS    NATS   `koanf:"nats"`
	HTTP    HTTP   `koanf:"http"`
	Plugins Plugins
	Clients []Client
	Keys    Keys
	Log     Log

	// Version is shown by the console and in telemetry. It is not read from a file.
	Version string `koanf:"-"`
}

// NATS says where the daemon answers.
type NATS struct {
	URL         string // external server; empty: embedded
	Listen      string // of the embedded server
	Auth        Auth
	Prefix      string // of every subject
	Replicas    int
	Credentials string // path, for an external server
	TLS         struct{ CA, Cert, Key string }
}

// Auth says who may connect to the embedded server: AuthNone, or "" while nothing was said.
type Auth string

// AuthNone lets every program on this machine ask for tokens.
const AuthNone Auth = "none"

// HTTP says where browsers and operators are answered.
type HTTP struct {
	Listen    string
	Admin     string
	PublicURL string   `koanf:"public_url"`
	ReturnTo  []string `koanf:"return_to"`
}

// Plugins says where the vendors' binaries are.
type Plugins struct {
	Dir    string
	SHA256 map[string]string
}

// Client is our registration at a vendor.
type Client struct {
	Name         string
	Vendor       string
	ClientID     string         `koanf:"client_id"`
	ClientSecret core.Secret    `koanf:"-"`
	GrantType    core.GrantType `koanf:"grant_type"`
	Scopes       []string
	Tenants      []string
	RedirectURIs []string `koanf:"redirect_uris"`
	Policy       core.Policy
	// Settings are the vendor's settings, and SecretSettings those that were given as {env} or {file}.
	Settings       map[string]string      `koanf:"-"`
	SecretSettings map[string]core.Secret `koanf:"-"`
}

// Keys seal what is stored.
type Keys struct {
	Keyset string
	Wrap   core.Secret `koanf:"-"`
}

// Log says how the daemon logs, on standard error.
type Log struct {
	Level  string
	Format string
}

// DefaultConfig returns what counts where a file says nothing.
func DefaultConfig() Config {
	c := Config{
		NATS: NATS{Listen: "127.0.0.1:4222", Prefix: "esign", Replicas: 1},
		HTTP: HTTP{Listen: "127.0.0.1:8080", Admin: "127.0.0.1:8081", PublicURL: "http://127.0.0.1:8080"},
		Log:  Log{Level: "info", Format: "json"},
	}
	if exe, err := os.Executable(); err == nil {
		c.Plugins.Dir = filepath.Dir(exe)
	}
	return c
}

// coreClients returns the clients as the engine knows them.
func (c Config) coreClients() []core.Client {
	clients := make([]core.Client, len(c.Clients))
	for i, cl := range c.Clients {
		clients[i] = core.Client{
			Name: cl.Name, Vendor: cl.Vendor, GrantType: cl.GrantType, Scopes: cl.Scopes, Tenants: cl.Tenants,
			RedirectURIs: cl.RedirectURIs, Policy: cl.Policy,
			Credentials: core.Credentials{
				ClientID: cl.ClientID, ClientSecret: cl.ClientSecret, Settings: cl.Settings, SecretSettings: cl.SecretSettings,
			},
		}
	}
	return clients
}

// Vendors lists the vendors of the clients, each once.
func (c Config) Vendors() []string {
	var vs []string
	seen := map[string]bool{}
	for _, cl := range c.Clients {
		if !seen[cl.Vendor] {
			seen[cl.Vendor] = true
			vs = append(vs, cl.Vendor)
		}
	}
	return vs
}
