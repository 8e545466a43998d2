package esignd

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/core"
)

// Config is the configuration of a daemon. Its YAML form has the same names in lower case; docs/configuration.md and
// docs/configuration.schema.json describe each setting. A field that is zero has its default, which [DefaultConfig] shows; DataDir,
// NATS.Auth and what a client is at its vendor have none.
//
// It prints without its secrets, and marshalling one that has any is an error.
type Config struct {
	DataDir string  `koanf:"data_dir"`
	NATS    NATS    `koanf:"nats"`
	HTTP    HTTP    `koanf:"http"`
	Plugins Plugins `koanf:"plugins"`
	Clients []Client
	Keys    Keys
	Audit   Audit
	Log     Log

	// Hooks are told of what this daemon does; see core.Hooks. They are not read from a file.
	Hooks core.Hooks `koanf:"-" json:"-"`

	// OwnsProcess says that the process is nothing but this daemon: its telemetry becomes OpenTelemetry's global one, with
	// what the SDK reports of its own troubles. A program that embeds a daemon has globals of its own. It is not read from a file.
	OwnsProcess bool `koanf:"-"`

	// Version is shown by the console, in telemetry and in NATS discovery: a semantic version, by default that of this
	// module. It is not read from a file.
	Version string `koanf:"-"`
}

// NATS says where the daemon answers.
type NATS struct {
	URL         ServerURL // external server or servers, comma-separated; empty: embedded
	Listen      string    // of the embedded server
	Auth        Auth
	Services    []Service `koanf:"-"` // those that may connect, with AuthServices
	Prefix      string    // of every subject
	Replicas    int
	Quota       Quota
	Credentials string // path, for an external server
	TLS         TLS    // of the embedded server, or of our connections to an external one
}

// Quota bounds what one caller may ask of this daemon: a service of NATS.Services, else all who ask for a tenant.
type Quota struct {
	PerSecond  int `koanf:"per_second"` // requests, on average; as many at once
	Concurrent int // that are being worked on; what is answered from memory does not count
}

// TLS names PEM files: a certificate of ours with its key, and the authorities of whoever is at the other end. They are
// read again when they change.
type TLS struct{ CA, Cert, Key string }

// Auth says who may connect to the embedded server: AuthNone or AuthServices, or "" while nothing was said.
type Auth string

const (
	// AuthNone lets every program on this machine ask for tokens.
	AuthNone Auth = "none"
	// AuthServices lets in the services that NATS lists.
	AuthServices Auth = "services"
)

// ServerURL is the address of a NATS server, or several, comma-separated. It prints without the user, password or token
// that it may hold; string(u) is the whole.
type ServerURL string

// String returns the address without what proves who we are.
func (u ServerURL) String() string {
	parts := strings.Split(string(u), ",")
	for i, part := range parts {
		if at := strings.LastIndexByte(part, '@'); at >= 0 {
			scheme, _, ok := strings.Cut(part, "://")
			if scheme += "://"; !ok {
				scheme = ""
			}
			parts[i] = scheme + "[redacted]" + part[at:]
		}
	}
	return strings.Join(parts, ",")
}

// Format implements fmt.Formatter: every verb and flag prints what String returns.
func (u ServerURL) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(u.String())) }

// LogValue implements slog.LogValuer.
func (u ServerURL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// MarshalText implements encoding.TextMarshaler; JSON uses it.
func (u ServerURL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// HTTP says where browsers and operators are answered.
type HTTP struct {
	Listen    string
	Admin     string
	PublicURL string   `koanf:"public_url"`
	ReturnTo  []string `koanf:"return_to"`
	TLS       TLS      // of both listeners; with CA the admin listener asks for a certificate
	// AdminURL is where operators reach Admin. Empty: http at its address.
	AdminURL string `koanf:"admin_url"`
	// MetricsToken is what who asks for /metrics sends. Zero: they are for who may see the console.
	MetricsToken core.Secret `koanf:"-"`
	// TrustedProxies are addresses or networks (CIDR) whose X-Forwarded-For is believed.
	TrustedProxies []string `koanf:"trusted_proxies"`
}

// proxies returns the trusted proxies, all as networks, and the first that is none.
func (h HTTP) proxies() (list []netip.Prefix, wrong string) {
	for _, text := range h.TrustedProxies {
		network, err := netip.ParsePrefix(text)
		if addr, single := netip.ParseAddr(text); single == nil {
			network, err = addr.Prefix(addr.BitLen())
		}
		if err != nil || network.Addr().Zone() != "" || network.Addr().Is4In6() {
			return nil, text
		}
		list = append(list, network.Masked())
	}
	return list, ""
}

// Plugins says where the vendors' binaries are.
type Plugins struct {
	Dir    string
	SHA256 map[string]string
	// LooseParents only warns of a folder above Dir that others can write. It is for development and not read from a file.
	LooseParents bool `koanf:"-"`
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
	// Wrapper takes the place of Wrap for a program that embeds the daemon, such as a client of a key management service.
	// It is asked when the keyset is read or written, never for a record. No setting names it.
	Wrapper bus.Wrapper `koanf:"-"`
}

// Audit says whether each act is kept in the stream ESIGN_AUDIT, and how much of it.
type Audit struct {
	Enabled  bool
	MaxAge   time.Duration `koanf:"max_age"`   // whole hours
	MaxBytes int64         `koanf:"max_bytes"` // 0: no bound
}

// Log says how the daemon logs, on standard error.
type Log struct {
	Level  string
	Format string
}

// DefaultConfig returns what counts where a file says nothing.
func DefaultConfig() Config { return Config{}.withDefaults() }

// withDefaults returns c with its zero fields filled.
func (c Config) withDefaults() Config {
	fill := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	fill(&c.NATS.Listen, "127.0.0.1:4222")
	fill(&c.NATS.Prefix, "esign")
	if c.NATS.Replicas == 0 {
		c.NATS.Replicas = 1
	}
	if c.NATS.Quota.PerSecond == 0 {
		c.NATS.Quota.PerSecond = bus.DefaultPerSecond
	}
	if c.NATS.Quota.Concurrent == 0 {
		c.NATS.Quota.Concurrent = bus.DefaultConcurrent
	}
	if c.Audit.MaxAge == 0 {
		c.Audit.MaxAge = bus.DefaultAuditAge
	}
	fill(&c.HTTP.Listen, "127.0.0.1:8080")
	fill(&c.HTTP.Admin, "127.0.0.1:8081")
	fill(&c.HTTP.PublicURL, urlOf(c.HTTP.scheme(), c.HTTP.Listen))
	if exe, err := os.Executable(); err == nil {
		fill(&c.Plugins.Dir, filepath.Dir(exe))
	}
	fill(&c.Log.Level, "info")
	fill(&c.Log.Format, "json")
	fill(&c.Version, Version)
	if len(c.NATS.Services) > 0 {
		fill((*string)(&c.NATS.Auth), string(AuthServices))
	}
	c.NATS.Services = servicesWithDefaults(c.NATS.Services)
	clients := c.Clients
	c.Clients = nil // the caller's stay as they are
	for _, cl := range clients {
		c.Clients = append(c.Clients, cl.withDefaults())
	}
	return c
}

func (c Client) withDefaults() Client {
	if c.GrantType == "" {
		c.GrantType = core.AuthorizationCode
	}
	if c.Policy == "" {
		c.Policy = core.Eager
	}
	if c.Tenants == nil {
		c.Tenants = []string{"default"}
	}
	return c
}

// urlOf returns the URL of what listens at an address. An address of all interfaces is reached by the loopback one.
func urlOf(scheme, listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return scheme + "://" + listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// scheme is what the listeners speak.
func (h HTTP) scheme() string {
	if h.TLS.Cert != "" {
		return "https"
	}
	return "http"
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

// sharedCallbacks are the redirect URIs of services that are those of clients at several vendors. What arrives there shows
// by no address whose answer it is.
func (c Config) sharedCallbacks() []string {
	var shared []string
	vendor := map[string]string{}
	for _, cl := range c.Clients {
		for _, uri := range cl.RedirectURIs {
			if first, ok := vendor[uri]; ok && first != cl.Vendor {
				shared = append(shared, uri)
			}
			vendor[uri] = cl.Vendor
		}
	}
	return shared
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
