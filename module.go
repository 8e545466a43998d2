package esignd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/dig"
	"go.uber.org/fx"
	"go.uber.org/fx/fxevent"

	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/bus/tlsfiles"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/host"
	"github.com/esignd/esignd/telemetry"
	"github.com/esignd/esignd/web"
	"github.com/esignd/esignd/web/control"
)

// Module is the daemon for a program that is wired with fx. It needs a [Config] (fx.Supply), and provides the
// *core.Manager, the *bus.Bus and the *host.Set, so that the program can use the engine it embeds; everything else in it
// stays its own, such as its logger.
var Module = module()

// module returns Module with more in its scope.
func module(more ...fx.Option) fx.Option {
	return fx.Module("esignd", append([]fx.Option{
		fx.Provide(check, newTelemetry, newLogger, newService, newWeb, newControl, fx.Private),
		fx.Provide(newBus, newPlugins, newManager),
		fx.Invoke(func(lc fx.Lifecycle, _ *bus.Service, _ *control.Server, w *web.Server) {
			lc.Append(fx.StartStopHook(w.Start, w.Close)) // the last: once /readyz says so, everything answers
		}),
	}, more...)...)
}

// Daemon is a daemon that is not wired into anything else. A process may have several, each with a data_dir and addresses
// of its own. Its methods may be called concurrently, after Start has returned.
type Daemon struct {
	cfg       Config
	life      life
	telemetry *telemetry.Telemetry
	bus       *bus.Bus
	manager   *core.Manager
	web       *web.Server
}

// New checks cfg and makes a daemon, which Close ends. It listens on nothing yet.
func New(cfg Config) (*Daemon, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuration:\n%w", err)
	}
	d := &Daemon{cfg: cfg.withDefaults()}
	app := fx.New(
		fx.Supply(cfg), module(fx.Populate(&d.telemetry, &d.bus, &d.manager, &d.web)),
		fx.Decorate(func(fx.Lifecycle) fx.Lifecycle { return &d.life }),
		fx.WithLogger(func() fxevent.Logger { return fxevent.NopLogger }),
	)
	if err := app.Err(); err != nil {
		// The cause is what is wrong; what fx says around it is how the parts are wired.
		return nil, errors.Join(dig.RootCause(err), d.Close(context.Background()))
	}
	return d, nil
}

// Start starts the parts in the order in which they need each other, and returns when tokens can be asked for. After
// an error, such as that ctx has ended, nothing is left running, and the daemon is closed. It is called once.
func (d *Daemon) Start(ctx context.Context) error { return d.life.start(ctx) }

// Close stops the parts in reverse: requests are answered, calls to vendors committed and hooks told, until ctx ends. It
// may be called again, before Start, and after a Start that failed; then it does nothing.
func (d *Daemon) Close(ctx context.Context) error { return d.life.stop(ctx) }

// Manager returns the engine, which can be asked while the daemon runs, without NATS: see client.NewLocal.
func (d *Daemon) Manager() *core.Manager { return d.manager }

// NATSURL returns where programs connect. It is empty unless the daemon is running.
func (d *Daemon) NATSURL() string { return d.bus.ClientURL() }

// PublicURL returns where the public listener is, while the daemon runs; browsers may reach it by another address. Before and after it is empty.
func (d *Daemon) PublicURL() string { return d.urlAt(d.web.PublicAddr()) }

// AdminURL returns where the console is, while the daemon runs; else it is empty.
func (d *Daemon) AdminURL() string { return d.urlAt(d.web.AdminAddr()) }

func (d *Daemon) urlAt(addr net.Addr) string {
	if addr == nil {
		return ""
	}
	return d.cfg.HTTP.scheme() + "://" + addr.String()
}

// Logger returns the daemon's logger.
func (d *Daemon) Logger() *slog.Logger { return d.telemetry.Logger() }

// checked is a configuration that was checked and whose defaults are filled.
type checked struct{ Config }

func check(cfg Config) (checked, error) {
	if err := cfg.Validate(); err != nil {
		return checked{}, fmt.Errorf("configuration:\n%w", err)
	}
	return checked{cfg.withDefaults()}, nil
}

func newTelemetry(lc fx.Lifecycle, cfg checked) (*telemetry.Telemetry, trace.TracerProvider, metric.MeterProvider, error) {
	t, err := telemetry.Start(context.Background(), telemetry.Config{
		Service: "esignd", Version: cfg.Version, Log: telemetry.LogConfig{Level: cfg.Log.Level, Format: cfg.Log.Format},
		Global: cfg.OwnsProcess,
	})
	if err != nil {
		return nil, nil, nil, err
	}
	lc.Append(fx.StopHook(t.Shutdown))
	return t, t.TracerProvider(), t.MeterProvider(), nil
}

func newLogger(t *telemetry.Telemetry) *slog.Logger { return t.Logger() }

func newBus(lc fx.Lifecycle, cfg checked, log *slog.Logger, tp trace.TracerProvider, mp metric.MeterProvider) (*bus.Bus, error) {
	c := cfg.bus(log)
	c.TracerProvider, c.MeterProvider = tp, mp
	b, err := bus.New(c)
	if err != nil {
		return nil, err
	}
	if cfg.NATS.URL == "" && cfg.NATS.TLS.Cert == "" && !loopback(cfg.NATS.Listen) {
		log.Warn("nats.listen can be reached from the network, and tokens go over it in the clear; name a certificate and key in "+
			"nats.tls, or listen on a loopback address", "listen", cfg.NATS.Listen)
	}
	lc.Append(fx.StartStopHook(b.Start, b.Close))
	return b, nil
}

// bus returns what the configuration says of NATS, records and keys.
func (c Config) bus(log *slog.Logger) bus.Config {
	return bus.Config{
		DataDir: c.DataDir, URL: string(c.NATS.URL), Listen: c.NATS.Listen,
		Auth:   bus.Auth{None: c.NATS.Auth == AuthNone, Callers: c.NATS.Callers()},
		Prefix: c.NATS.Prefix, Replicas: c.NATS.Replicas, Credentials: c.NATS.Credentials,
		TLS:   tlsfiles.Files(c.NATS.TLS),
		Keys:  bus.Keys{Keyset: c.Keys.Keyset, Wrap: c.Keys.Wrap, Wrapper: c.Keys.Wrapper},
		Audit: bus.AuditConfig{Enabled: c.Audit.Enabled, MaxAge: c.Audit.MaxAge, MaxBytes: c.Audit.MaxBytes}, Logger: log,
	}
}

// newPlugins needs the bus, since that holds the lock of data_dir, in which the sockets are.
func newPlugins(lc fx.Lifecycle, cfg checked, log *slog.Logger, tp trace.TracerProvider, mp metric.MeterProvider, _ *bus.Bus) (*host.Set, error) {
	set, err := host.NewSet(host.SetConfig{
		Dir: cfg.Plugins.Dir, SHA256: cfg.Plugins.SHA256, Vendors: cfg.Vendors(), Logger: log,
		SocketDir: filepath.Join(cfg.DataDir, "plugins"), LooseParents: cfg.Plugins.LooseParents,
		TracerProvider: tp, MeterProvider: mp,
	})
	if err != nil {
		return nil, err
	}
	lc.Append(fx.StartStopHook(func(ctx context.Context) error {
		if err := set.Start(ctx); err != nil {
			return err
		}
		if err := cfg.CheckSettings(ctx, set); err != nil {
			return errors.Join(fmt.Errorf("configuration:\n%w", err), set.Close(ctx))
		}
		return nil
	}, set.Close))
	return set, nil
}

func newManager(lc fx.Lifecycle, cfg checked, log *slog.Logger, tp trace.TracerProvider, mp metric.MeterProvider, b *bus.Bus, set *host.Set) (*core.Manager, error) {
	m, err := core.New(core.Config{
		Clients: cfg.coreClients(), Adapters: set, Store: b.Store(), Publisher: b.Publisher(), Timers: b.Timers(), Spool: b.Spool(),
		PublicURL: cfg.HTTP.PublicURL, ReturnTo: cfg.HTTP.ReturnTo, Owner: b.Owner, Refreshed: b.Audit().Refreshed, Hooks: cfg.Hooks, Logger: log, TracerProvider: tp, MeterProvider: mp,
	})
	if err != nil {
		return nil, err
	}
	if shared := cfg.sharedCallbacks(); len(shared) > 0 {
		log.Warn("clients at several vendors share a redirect URI, so that a service cannot tell by it whose answer arrives; give each its own, "+
			"and say it in grant.exchange", "redirect_uris", shared)
	}
	lc.Append(fx.StartStopHook(m.Start, m.Close))
	return m, nil
}

func newService(lc fx.Lifecycle, cfg checked, log *slog.Logger, tp trace.TracerProvider, mp metric.MeterProvider, b *bus.Bus, m *core.Manager) (*bus.Service, error) {
	s, err := bus.NewService(bus.ServiceConfig{
		Conn: b.Conn, Manager: m, Prefix: b.Prefix(), Version: cfg.Version, Logger: log, TracerProvider: tp, MeterProvider: mp,
		Audit: b.Audit(), Quota: bus.Quota{PerSecond: cfg.NATS.Quota.PerSecond, Concurrent: cfg.NATS.Quota.Concurrent},
	})
	if err != nil {
		return nil, err
	}
	lc.Append(fx.StartStopHook(s.Start, s.Close))
	return s, nil
}

func newWeb(cfg checked, log *slog.Logger, t *telemetry.Telemetry, b *bus.Bus, m *core.Manager, set *host.Set) (*web.Server, error) {
	proxies, _ := cfg.HTTP.proxies()
	return web.New(web.Config{
		Manager: auditedPages{Manager: m, audit: b.Audit()}, Shown: consoleShown(b.Audit()), PublicURL: cfg.HTTP.PublicURL, Listen: cfg.HTTP.Listen, Admin: cfg.HTTP.Admin, TLS: tlsfiles.Files(cfg.HTTP.TLS), Metrics: t.MetricsHandler(),
		AdminURL: cfg.HTTP.AdminURL, MetricsToken: cfg.HTTP.MetricsToken, TrustedProxies: proxies,
		Version: cfg.Version, Logger: log, TracerProvider: t.TracerProvider(), MeterProvider: t.MeterProvider(),
		Vendors: func() []web.VendorStatus { return vendorStatus(set) },
		Ready: func() error {
			if err := b.Ready(); err != nil {
				return err
			}
			return m.Ready()
		},
	})
}

// vendorStatus is what the console shows of the plugins.
func vendorStatus(set *host.Set) []web.VendorStatus {
	var out []web.VendorStatus
	for _, s := range set.Status() {
		out = append(out, web.VendorStatus{
			Name: s.Vendor, Title: s.Vendor, Version: s.Version, Healthy: s.State == host.Ready, State: string(s.State),
			Detail: s.LastError, Since: s.Since, Restarts: s.Restarts,
		})
	}
	return out
}
