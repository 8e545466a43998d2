package esignd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/bus/tlsfiles"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/host"
	"github.com/esignd/esignd/web/control"
)

// pathExamine answers what bus.Bus.Examine finds.
const pathExamine = "/examine"

// reachWithin bounds each look at another machine.
const reachWithin = 5 * time.Second

// Doctor looks at all that a daemon of cfg works with, and says of each thing how it is and what to do: data_dir and its
// disk, keys, NATS, plugins, the vendors' servers (a TLS handshake and no request), and the addresses that browsers come
// to. A daemon that runs on cfg's data_dir is asked for what it alone sees. Nothing is changed, but for a file in
// data_dir that is written and removed.
func Doctor(ctx context.Context, cfg Config) []bus.Finding {
	cfg = cfg.withDefaults()
	d := doctor{cfg: cfg, quiet: slog.New(slog.DiscardHandler)}
	found := bus.ExamineDataDir(cfg.DataDir)
	found = append(found, d.nats(ctx)...)
	d.tls()
	d.plugins(ctx)
	d.vendors(ctx)
	d.listeners(ctx)
	return append(found, d.found...)
}

// doctor collects what is found.
type doctor struct {
	cfg     Config
	quiet   *slog.Logger
	running bool // a daemon answers on cfg's data_dir
	schemas map[string]core.Metadata
	found   []bus.Finding
}

func (d *doctor) add(part string, level bus.Level, do, format string, args ...any) {
	d.found = append(d.found, bus.Finding{Part: part, Level: level, Text: fmt.Sprintf(format, args...), Do: do})
}

// nats asks the daemon that runs, or looks at what one would find.
func (d *doctor) nats(ctx context.Context) []bus.Finding {
	found, err := control.Call[[]bus.Finding](ctx, d.cfg.DataDir, pathExamine, nothing{})
	if errors.Is(err, control.ErrNoDaemon) {
		found, err = bus.ExamineStopped(ctx, d.cfg.bus(d.quiet))
	} else {
		d.running = err == nil
	}
	if err != nil {
		found = append(found, bus.Finding{Part: "nats", Level: bus.Problem, Text: err.Error()})
	}
	return found
}

// tls looks at the files of TLS.
func (d *doctor) tls() {
	const part = "tls"
	all := d.cfg.tls()
	for _, at := range slices.Sorted(maps.Keys(all)) {
		if all[at] == (tlsfiles.Files{}) {
			continue
		}
		warnings, err := tlsfiles.Check(at, all[at])
		for _, w := range warnings {
			d.add(part, bus.Warning, "", "%s", w)
		}
		if err != nil {
			d.add(part, bus.Problem, "", "%v", err)
			continue
		}
		d.add(part, bus.Fine, "", "the files of %s are in order", at)
	}
}

// plugins starts each plugin, asks it what it is, and stops it.
func (d *doctor) plugins(ctx context.Context) {
	const part = "plugins"
	d.schemas = map[string]core.Metadata{}
	there, err := host.Discover(d.cfg.Plugins.Dir)
	if err != nil {
		d.add(part, bus.Problem, "", "%v", err)
		return
	}
	adapters := core.AdapterMap{}
	for _, b := range there {
		p, err := d.plugin(ctx, b)
		if err != nil {
			d.add(part, bus.Problem, "plugin-host conformance says more", "%v", err)
			continue
		}
		defer func() { _ = p.Close(context.WithoutCancel(ctx)) }() // it ends with this process at the latest
		adapters[b.Vendor] = p.Adapter()
		if md, err := p.Adapter().Metadata(ctx); err == nil {
			d.schemas[b.Vendor] = md
		}
		if p.Status().Pinned {
			d.add(part, bus.Fine, "", "%s, version %s, has the pinned digest", b.Path, p.Status().Version)
		} else {
			d.add(part, bus.Warning, "pin it in plugins.sha256; sha256sum prints it", "%s, version %s, is not pinned", b.Path, p.Status().Version)
		}
	}
	if err := d.cfg.CheckSettings(ctx, adapters); err != nil {
		d.add(part, bus.Problem, "", "%v", err)
	}
}

func (d *doctor) plugin(ctx context.Context, b host.Binary) (*host.Plugin, error) {
	p, err := host.New(host.Config{Path: b.Path, Vendor: b.Vendor, SHA256: d.cfg.Plugins.SHA256[b.Vendor], Logger: d.quiet})
	if err != nil {
		return nil, err
	}
	return p, p.Start(ctx)
}

// vendors sees whether the vendors' servers can be reached from here.
func (d *doctor) vendors(ctx context.Context) {
	const part = "vendors"
	for _, raw := range d.vendorURLs() {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" {
			continue // the schema of the settings is what tells
		}
		if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u}); err == nil && proxy != nil {
			d.add(part, bus.Note, "", "%s is reached by a proxy, %s; it was not tried", u.Host, proxy.Host)
			continue
		}
		version, err := handshake(ctx, u)
		if err != nil {
			d.add(part, bus.Problem, remedy(err), "%s cannot be reached: %v", u.Host, err)
			continue
		}
		d.add(part, bus.Fine, "", "%s answers, %s", u.Host, version)
	}
}

// vendorURLs returns the servers of the clients' vendors, each once: settings whose names end in _url, with the defaults
// that the plugin declares.
func (d *doctor) vendorURLs() []string {
	all := map[string]bool{}
	for _, cl := range d.cfg.Clients {
		schema, err := compile(d.schemas[cl.Vendor].SettingsSchema)
		if err != nil {
			continue // the plugin has been told of
		}
		for name, property := range schema.Properties {
			value, given := cl.Settings[name]
			if fallback := target(property).Default; !given && fallback != nil {
				value, _ = (*fallback).(string)
			}
			if u, err := url.Parse(value); strings.HasSuffix(name, "_url") && err == nil && u.Host != "" {
				all[u.Scheme+"://"+u.Host] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// handshake connects to a server, with TLS where the URL has it, and says with which version.
func handshake(ctx context.Context, u *url.URL) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	port := u.Port()
	if u.Scheme == "http" {
		if port == "" {
			port = "80"
		}
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
		if err != nil {
			return "", err
		}
		return "without TLS", conn.Close()
	}
	if port == "" {
		port = "443"
	}
	dialer := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return "", err
	}
	version := tls.VersionName(conn.(*tls.Conn).ConnectionState().Version)
	_ = conn.Close() // the other side may have closed it, since nothing was asked
	return version, nil
}

// remedy says what to do about a server that cannot be reached.
func remedy(err error) string {
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &certificate):
		return "see that the machine has current root certificates (SSL_CERT_FILE) and the right time, and that nothing reads along"
	case errors.As(err, &name):
		return "see to the name's spelling in the client's settings, and to DNS"
	}
	return "see to the firewall and the client's settings; behind a proxy set HTTPS_PROXY"
}
