package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/trace"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// ErrNotRunning is returned by every part of a Bus before Start and after Close.
var ErrNotRunning = errors.New("bus: not running")

// Bus is the daemon's NATS: an embedded server or the connections to an external one, and what core needs of it. Its
// parts may be handed out before Start; they work from Start to Close.
type Bus struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	tracer  trace.Tracer
	session atomic.Pointer[session]

	mu      sync.Mutex // guards started, so that Start and Close happen once
	started bool

	callers sync.Mutex // held while SetCallers works
}

// New checks cfg and returns a Bus. It does no I/O.
func New(cfg Config) (*Bus, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	metrics, err := newMetrics(cfg.MeterProvider)
	if err != nil {
		return nil, err
	}
	return &Bus{cfg: cfg, log: cfg.Logger, metrics: metrics, tracer: tracer(cfg.TracerProvider)}, nil
}

// Open is New and Start.
func Open(ctx context.Context, cfg Config) (*Bus, error) {
	b, err := New(cfg)
	if err != nil {
		return nil, err
	}
	if err := b.Start(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// Start takes the data_dir's lock, starts the embedded server or connects to the external one, opens the keyset, and
// makes the streams. After an error nothing is left running and nothing that was sealed has been touched. A Bus is
// started once.
func (b *Bus) Start(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.started {
		return errors.New("bus: started before; make a new one")
	}
	b.started = true
	s := &session{closing: make(chan struct{})}
	if err := s.open(ctx, b.cfg); err != nil {
		return errors.Join(err, s.close(context.WithoutCancel(ctx)))
	}
	var err error
	if s.observing, err = b.metrics.observe(s); err != nil {
		return errors.Join(fmt.Errorf("observe the bus: %w", err), s.close(context.WithoutCancel(ctx)))
	}
	b.session.Store(s)
	return nil
}

// Close drains the connections until ctx ends, stops the embedded server, and gives the data_dir back. Whoever uses
// the Bus is to be closed before it.
func (b *Bus) Close(ctx context.Context) error {
	s := b.session.Swap(nil)
	if s == nil {
		return nil
	}
	return s.close(ctx)
}

// SetCallers makes callers those that may connect, in place of those before. With the embedded server who is not among
// them any more is disconnected, and the connections of the others stay; with an external server, whose own
// configuration says who may connect, new ones get their consumers. After an error those before may still connect. It
// cannot change to auth none or from it.
func (b *Bus) SetCallers(ctx context.Context, callers []Caller) error {
	b.callers.Lock()
	defer b.callers.Unlock()
	s, err := b.opened()
	if err != nil {
		return err
	}
	cfg := b.cfg
	if s.server != nil && cfg.Auth.None {
		return errors.New("nats.auth changes from none to services with a restart")
	}
	cfg.Auth.Callers = slices.Clone(callers)
	if _, err := cfg.withDefaults(); err != nil {
		return err
	}
	if err := s.checkMapping(ctx, cfg.Auth.Callers); err != nil {
		return err
	}
	if s.server != nil {
		if err := s.server.reload(cfg); err != nil {
			return err
		}
	}
	return s.keepConsumers(ctx, cfg.Auth.Callers)
}

// ReloadTLS reads the files of TLS now rather than in a few seconds. Connections that are open stay as they are.
func (b *Bus) ReloadTLS() {
	if s := b.session.Load(); s != nil {
		s.files.Reload()
	}
}

// Store keeps records.
func (b *Bus) Store() core.Store { return store{bus: b} }

// Publisher publishes events.
func (b *Bus) Publisher() core.Publisher { return publisher{bus: b} }

// Timers call back about grants.
func (b *Bus) Timers() core.Timers { return timers{bus: b} }

// Spool keeps records in the data_dir that cannot be written to the Store.
func (b *Bus) Spool() core.Spool { return spool{bus: b} }

// Owner returns the id of the data_dir, which stays the same over restarts: whoever runs under it holds the data_dir's
// lock. It is empty unless the Bus is running.
func (b *Bus) Owner() string {
	if s := b.session.Load(); s != nil {
		return s.dir.owner
	}
	return ""
}

// Conn returns the connection on which callers are answered and events are published, nil unless the Bus is running.
// With the embedded server it is in the account of the callers, from which records and timers cannot be reached. The
// Bus closes it.
func (b *Bus) Conn() *nats.Conn {
	if s := b.session.Load(); s != nil {
		return s.public
	}
	return nil
}

// Prefix returns the first part of every subject.
func (b *Bus) Prefix() string { return b.cfg.Prefix }

// ClientURL returns where programs connect: the embedded server's address, or the external server that we are connected
// to. It is empty unless the Bus is running.
func (b *Bus) ClientURL() string {
	s := b.session.Load()
	switch {
	case s == nil:
		return ""
	case s.server != nil:
		return s.server.srv.ClientURL()
	default:
		return withoutUser(s.public.ConnectedUrl())
	}
}

// withoutUser drops the user from a URL: a token is written there too.
func withoutUser(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	u.User = nil
	return u.String()
}

// Ready returns nil while both connections are up and the embedded server takes writes, else what is wrong. It does no I/O.
func (b *Bus) Ready() error {
	s, err := b.opened()
	if err != nil {
		return err
	}
	if s.server != nil && !s.server.srv.JetStreamEnabled() {
		return errors.New("bus: the embedded NATS server has shut JetStream down; its log says why (a full or broken disk)")
	}
	if s.server != nil && !s.takesWrites() {
		return errors.New("bus: the embedded NATS server takes no writes; its log says why (a full or broken disk): mend the disk and restart esignd")
	}
	if !s.state.IsConnected() || !s.public.IsConnected() {
		return errors.New("bus: not connected to NATS; connecting again")
	}
	if s.audit != nil {
		if since := s.audit.since(); !since.IsZero() {
			return fmt.Errorf("bus: the audit cannot be written since %s, and nothing is handed out without it: see to the stream %s",
				since.UTC().Format(time.RFC3339), wire.AuditStream)
		}
	}
	return nil
}

// opened returns the session of a running Bus.
func (b *Bus) opened() (*session, error) {
	if s := b.session.Load(); s != nil {
		return s, nil
	}
	return nil, ErrNotRunning
}
