package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/esignd/esignd"
	"github.com/esignd/esignd/core"
	adobe "github.com/esignd/esignd/plugins/adobesign/sandbox"
	dropbox "github.com/esignd/esignd/plugins/dropboxsign/sandbox"
	global "github.com/esignd/esignd/plugins/esignglobal/sandbox"
)

type devCommand struct {
	Demo       bool          `help:"Connect demo accounts and drive them: tokens are issued, expire and are revoked."`
	Once       bool          `help:"With --demo: stop when every vendor has shown every kind of event; fail after a minute."`
	DataDir    string        `type:"path" placeholder:"DIR" help:"Folder for all state. Default: esignd-data here, and with --demo a temporary one."`
	PluginsDir string        `type:"path" placeholder:"DIR" help:"Folder of the plugin binaries. Default: that of this binary."`
	NATS       string        `name:"nats" default:"127.0.0.1:4222" env:"ESIGND_NATS_LISTEN" help:"Where NATS listens."`
	HTTP       string        `name:"http" default:"127.0.0.1:8080" env:"ESIGND_HTTP_LISTEN" help:"Where browsers are answered."`
	Admin      string        `default:"127.0.0.1:8081" env:"ESIGND_HTTP_ADMIN" help:"Where the console is."`
	Lifetime   time.Duration `help:"How long the sandboxes' access tokens live. Default: a minute, and with --demo 15 seconds."`
}

// vendorSandbox is what all sandboxes have in common.
type vendorSandbox interface {
	Start() error
	Close() error
	URL() string
	Settings() map[string]string
	Client() (id, secret string)
}

// Validate finds flags that do not go together.
func (c devCommand) Validate() error {
	if c.Once && !c.Demo {
		return errors.New("--once goes with --demo")
	}
	return nil
}

func (c devCommand) Run(ctx context.Context, s streams) (err error) {
	if c.Lifetime == 0 {
		c.Lifetime = time.Minute
		if c.Demo {
			c.Lifetime = 15 * time.Second
		}
	}
	if err := errors.Join(c.claim("--nats", &c.NATS), c.claim("--http", &c.HTTP), c.claim("--admin", &c.Admin)); err != nil {
		return err
	}
	dir, remove, err := c.dataDir()
	if err != nil {
		return err
	}
	defer remove()
	sandboxes, err := startSandboxes(dir, c.Lifetime)
	if err != nil {
		return err
	}
	defer func() {
		for _, sb := range sandboxes {
			err = errors.Join(err, sb.Close())
		}
	}()
	cfg := c.config(dir, sandboxes)
	return runDaemon(ctx, cfg, func(ctx context.Context, d *esignd.Daemon) error {
		if err := c.welcome(s, d, dir); err != nil {
			return err
		}
		if c.Demo {
			return runDemo(ctx, s, d.NATSURL(), c.Once)
		}
		<-ctx.Done()
		return nil
	})
}

// dataDir returns the folder for all state, and what removes it where it is temporary.
func (c devCommand) dataDir() (string, func(), error) {
	if c.DataDir == "" && c.Demo {
		dir, err := os.MkdirTemp("", "esignd-demo-")
		if err != nil {
			return "", nil, fmt.Errorf("make a folder for the demo: %w", err)
		}
		return dir, func() { _ = os.RemoveAll(dir) }, nil
	}
	dir := c.DataDir
	if dir == "" {
		dir = "esignd-data"
	}
	if err := os.MkdirAll(filepath.Join(dir, "sandbox"), 0o700); err != nil {
		return "", nil, fmt.Errorf("make the data folder: %w", err)
	}
	return dir, func() {}, nil
}

// startSandboxes starts the three vendors. Their state is kept, so that grants outlive a restart.
func startSandboxes(dir string, lifetime time.Duration) (map[string]vendorSandbox, error) {
	state := func(vendor string) string { return filepath.Join(dir, "sandbox", vendor+".json") }
	if err := os.MkdirAll(filepath.Join(dir, "sandbox"), 0o700); err != nil {
		return nil, fmt.Errorf("make the sandboxes' folder: %w", err)
	}
	a, aerr := adobe.New(adobe.Config{AccessLifetime: lifetime, StateFile: state("adobesign")})
	d, derr := dropbox.New(dropbox.Config{AccessLifetime: lifetime, StateFile: state("dropboxsign")})
	g, gerr := global.New(global.Config{AccessLifetime: lifetime, StateFile: state("esignglobal"), Rotate: true})
	if err := errors.Join(aerr, derr, gerr); err != nil {
		return nil, err
	}
	started := map[string]vendorSandbox{}
	for vendor, sb := range map[string]vendorSandbox{"adobesign": a, "dropboxsign": d, "esignglobal": g} {
		if err := sb.Start(); err != nil {
			err = fmt.Errorf("start the sandbox of %s (is another esignd dev running on this folder?): %w", vendor, err)
			for _, other := range started {
				err = errors.Join(err, other.Close())
			}
			return nil, err
		}
		started[vendor] = sb
	}
	return started, nil
}

// config is the configuration of a development daemon.
func (c devCommand) config(dir string, sandboxes map[string]vendorSandbox) esignd.Config {
	cfg := esignd.DefaultConfig()
	cfg.DataDir = dir
	cfg.NATS.Auth, cfg.NATS.Listen = esignd.AuthNone, c.NATS
	cfg.HTTP.Listen, cfg.HTTP.Admin, cfg.HTTP.PublicURL = c.HTTP, c.Admin, "" // by default that of Listen
	cfg.Log.Format, cfg.Log.Level = "text", "info"
	if c.Demo {
		cfg.Log.Level = "warn"
	}
	cfg.Plugins.LooseParents = true // a clone may lie anywhere, and no secret here is real
	if c.PluginsDir != "" {
		cfg.Plugins.Dir = c.PluginsDir
	}
	add := func(name, vendor string, grantType core.GrantType, scopes ...string) {
		id, secret := sandboxes[vendor].Client()
		cfg.Clients = append(cfg.Clients, esignd.Client{
			Name: name, Vendor: vendor, ClientID: id, ClientSecret: core.NewSecret(secret), GrantType: grantType,
			Scopes: scopes, Tenants: []string{"default"}, Policy: core.Eager, Settings: sandboxes[vendor].Settings(),
		})
	}
	add("adobe-main", "adobesign", core.AuthorizationCode, "agreement_send:account", "user_login:self", "user_read:self")
	add("dropbox-main", "dropboxsign", core.AuthorizationCode)
	if box, ok := sandboxes["dropboxsign"].(*dropbox.Server); ok {
		cfg.Clients[len(cfg.Clients)-1].SecretSettings = map[string]core.Secret{"api_key": core.NewSecret(box.APIKey())}
		box.SetEventURL("http://" + c.HTTP + "/events/dropbox-main")
	}
	add("global-main", "esignglobal", core.AuthorizationCode, "signature")
	add("global-app", "esignglobal", core.ClientCredentials)
	return cfg
}

// claim sees that an address is free, and puts a free port in place of port 0: browsers are told of it before it is
// listened on.
func (devCommand) claim(flag string, address *string) error {
	l, err := net.Listen("tcp", *address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s %s is in use; is another esignd running? Stop it, or choose another address (port 0 takes a free one)", flag, *address)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	*address = l.Addr().String()
	return l.Close()
}

// self is how this program was called, so that what is said can be typed.
func self() string {
	if strings.ContainsRune(os.Args[0], filepath.Separator) && !filepath.IsAbs(os.Args[0]) {
		return os.Args[0]
	}
	return "esignd"
}

// welcome says what to open and what to try.
func (c devCommand) welcome(s streams, d *esignd.Daemon, dir string) error {
	server := ""
	if d.NATSURL() != "nats://127.0.0.1:4222" {
		server = " --server " + d.NATSURL()
	}
	_, err := fmt.Fprintf(s.out, `
esignd is up, with sandboxes of Adobe Acrobat Sign, Dropbox Sign and eSignGlobal.

  open     %[1]s            the console
  connect  %[2]s connect --client adobe-main --account alice@example.com%[3]s
  ask      %[2]s token get --client adobe-main --account alice@example.com%[3]s
  robot    %[2]s token get --client global-app%[3]s
  watch    %[2]s events%[3]s
  nats     nats --server %[4]s sub 'esign.event.>'
           nats --server %[4]s req esign.api.default.token.get '{"client":"global-app"}'

Clients: adobe-main, dropbox-main, global-main, global-app. State is in %[5]s. Ctrl-C stops.
The warnings about keys.wrap and plugins.sha256 matter where tokens are real.

`, d.AdminURL(), self(), server, d.NATSURL(), dir)
	return err
}
