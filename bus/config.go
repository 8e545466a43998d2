package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/esignd/esignd/bus/tlsfiles"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// DefaultListen is where the embedded server listens unless Config says otherwise.
const DefaultListen = "127.0.0.1:4222"

// Config is what a Bus is made of. DataDir is required; so is Auth with the embedded server, and Keys with an external
// one.
type Config struct {
	// DataDir is the folder of this process: lock, owner id, keyset, spool, and the embedded server's store. It is made
	// where it is missing.
	DataDir string
	// URL is that of the external server or servers, comma-separated. Empty: an embedded server.
	URL string
	// Listen is where the embedded server listens, host:port; port 0 takes a free one. Empty: DefaultListen.
	Listen string
	// Auth says who may connect to the embedded server. With an external server, whose configuration says so
	// (Permissions), its Callers get their consumers of the events.
	Auth Auth
	// Prefix is the first part of every subject, one or more tokens. Empty: wire.DefaultPrefix.
	Prefix string
	// Replicas is how many copies an external cluster keeps of each stream. 0: 1. More copies that are there already
	// are left.
	Replicas int
	// Credentials is the path of a NATS credentials file or of one that package creds wrote, for an external server.
	Credentials string
	// TLS is what the embedded server shows, where it has a certificate; with authorities it lets in only who has a
	// certificate of theirs. With an external server it is what that server is judged by, and what we show it.
	TLS tlsfiles.Files
	// Keys seal the secrets.
	Keys Keys
	// Audit is who asked for what.
	Audit AuditConfig
	// Logger gets what an operator should know. nil: slog.Default.
	Logger *slog.Logger
	// TracerProvider and MeterProvider make spans and metrics. nil: the global ones.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider

	// offline says that nobody is served: an embedded server listens on nothing.
	offline bool
	// leaf makes an embedded server a leaf node of another, in which its JetStream is the domain.
	leaf   *server.RemoteLeafOpts
	domain string
}

// Keys say where the keyset is and what wraps it.
type Keys struct {
	// Keyset is the path of the keyset file. Empty: keyset.json in DataDir. Replicas share one keyset.
	Keyset string
	// Wrap is the key that the keyset is wrapped with: 32 bytes in base64 or hexadecimal. Empty, with the embedded
	// server: the keyset lies unwrapped, readable by the owner of the file alone, and a warning says so.
	Wrap core.Secret
	// Wrapper takes the place of Wrap where it is set.
	Wrapper Wrapper
}

// wrapped reports whether the keyset does not lie in the clear.
func (k Keys) wrapped() bool { return k.Wrapper != nil || !k.Wrap.IsZero() }

// withDefaults checks c and fills what was left out.
func (c Config) withDefaults() (Config, error) {
	if c.DataDir == "" {
		return c, errors.New("data_dir is missing: name a folder that belongs to this esignd alone")
	}
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	if c.Prefix == "" {
		c.Prefix = wire.DefaultPrefix
	}
	if !wire.ValidPrefix(c.Prefix) {
		return c, fmt.Errorf("nats.prefix %q: tokens of letters, digits, _ and -, parted by dots", c.Prefix)
	}
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	if c.Replicas < 1 || c.Replicas > 5 {
		return c, fmt.Errorf("nats.replicas %d: from 1 to 5", c.Replicas)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Audit.MaxAge == 0 {
		c.Audit.MaxAge = DefaultAuditAge
	}
	if c.Audit.MaxAge < 0 || c.Audit.MaxBytes < 0 {
		return c, errors.New("audit: max_age and max_bytes are not negative")
	}
	if !c.Keys.Wrap.IsZero() {
		if _, err := parseWrapKey(c.Keys.Wrap); err != nil {
			return c, err
		}
	}
	if c.URL != "" {
		return c, c.checkExternal()
	}
	return c, c.checkEmbedded()
}

func (c Config) checkExternal() error {
	for _, one := range strings.Split(c.URL, ",") {
		if _, err := url.Parse(strings.TrimSpace(one)); err != nil {
			// The error's text holds the URL, and that may hold a password.
			return errors.New("nats.url is not a URL such as nats://host:4222")
		}
	}
	if !c.Keys.wrapped() || c.Keys.Keyset == "" {
		return errors.New("an external NATS server needs keys of yours: set keys.keyset to a file that all replicas " +
			"share, and keys.wrap to 32 random bytes in base64 (openssl rand -base64 32)")
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		return errors.New("nats.tls: cert and key go together")
	}
	if s := certified(c.Auth.Callers); s != nil && c.TLS.Cert == "" {
		return fmt.Errorf("nats.auth service %s has a certificate: a server that asks for one asks us too; name ours in nats.tls.cert, "+
			"which takes a restart", s.Name)
	}
	return checkCallers(c.Auth.Callers)
}

func (c Config) checkEmbedded() error {
	if c.Credentials != "" {
		return errors.New("nats.credentials is for an external server: set nats.url, or leave it out")
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") || c.TLS.CA != "" && c.TLS.Cert == "" {
		return errors.New("nats.tls: the embedded server needs cert and key; ca has it ask for certificates as well")
	}
	if s := certified(c.Auth.Callers); s != nil && c.TLS.CA == "" {
		return fmt.Errorf("nats.auth service %s has a certificate: name the authority that signs those in nats.tls.ca, which takes a restart", s.Name)
	}
	if c.Replicas != 1 {
		return fmt.Errorf("nats.replicas %d: the embedded server keeps one copy; more need an external cluster (nats.url)",
			c.Replicas)
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("nats.listen %q is not host:port", c.Listen)
	}
	if c.Auth.None == (len(c.Auth.Callers) > 0) {
		return errors.New("nats.auth: say none, for programs on this machine only, or list the services that may connect")
	}
	if c.Auth.None && !isLoopback(host) {
		return fmt.Errorf("nats.listen %s with nats.auth none would give every token to the network: listen on a "+
			"loopback address such as 127.0.0.1, or list services under nats.auth", c.Listen)
	}
	return checkCallers(c.Auth.Callers)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
