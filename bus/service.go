package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// scopeName is the instrumentation scope of this package's spans.
const scopeName = "github.com/esignd/esignd/bus"

// serviceName is the name of the service in NATS discovery, and of the queue group that its replicas share.
const serviceName = "esignd"

// Defaults of a ServiceConfig.
const (
	DefaultPending        = 10_000
	DefaultRequestTimeout = 30 * time.Second
)

const (
	// overloadRetry is after how long a caller who met an overload asks again.
	overloadRetry = time.Second
	// stragglers is how long Close waits for requests whose context it has ended.
	stragglers = 2 * time.Second
)

// ServiceConfig is what a Service is made of. Conn and Manager are required.
type ServiceConfig struct {
	// Conn returns the connection on which requests come and answers go. It is called by Start: Bus.Conn fits.
	Conn func() *nats.Conn
	// Manager answers. It is started before the Service and closed after it.
	Manager *core.Manager
	// Prefix is the first part of every subject. Empty: wire.DefaultPrefix.
	Prefix string
	// Version is what discovery tells, a semantic version. Empty: 0.0.0.
	Version string
	// Pending is how many requests may be worked on at once; one over 1 KiB counts as one for each. Most of them wait
	// for a refresh that others asked for too. Requests beyond are answered temporarily_unavailable. 0: DefaultPending.
	Pending int
	// Quota bounds what one caller may ask. The zero Quota has no bounds.
	Quota Quota
	// Audit gets an entry of each request that is answered, before the answer: Bus.Audit fits. nil: there is none.
	Audit *Audit
	// Timeout bounds the work on one request. 0: DefaultRequestTimeout.
	Timeout time.Duration
	// Logger gets what an operator should know. nil: slog.Default.
	Logger *slog.Logger
	// TracerProvider and MeterProvider make spans and metrics. nil: the global ones. A TracerProvider that is a Sampler
	// costs least.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
}

// Service answers the requests of the contract over NATS. It is one of a queue group: over all replicas one answers
// each request.
//
// It answers to inboxes only, _INBOX.> or _INBOX_<tenant>_<service>.>: a reply subject is the caller's to choose, and
// what is published on another subject would be written where it leads. A request with another reply subject, or with
// none, is dropped and counted. To a request from another NATS account it answers by way of the server, which keeps the
// answer to that account. Counts are told by NATS discovery (nats micro stats).
//
// A request for a token that can be served from memory is answered at once, in the order of arrival, unless the answer is
// to be sealed; all others are worked on concurrently.
type Service struct {
	cfg       ServiceConfig
	log       *slog.Logger
	tracer    trace.Tracer
	untraced  bool    // no span is recorded
	sampler   Sampler // nil: only a span that was begun tells whether it is recorded
	metrics   *serviceMetrics
	endpoints []*endpoint
	sealKey   wire.CurveKey // seals answers; as old as the Service
	pending   *semaphore.Weighted
	quotas    *quotas
	complain  rate.Sometimes

	base context.Context // of the work on requests; ends with Close
	stop context.CancelFunc

	mu        sync.Mutex // guards what follows
	micro     micro.Service
	conn      *nats.Conn
	observing metric.Registration
	closing   bool           // no more work may begin
	work      sync.WaitGroup // begun under mu, while closing is false
}

// NewService checks cfg and returns a Service. It does no I/O.
func NewService(cfg ServiceConfig) (*Service, error) {
	if cfg.Prefix == "" {
		cfg.Prefix = wire.DefaultPrefix
	}
	if cfg.Version == "" {
		cfg.Version = "0.0.0"
	}
	if cfg.Pending == 0 {
		cfg.Pending = DefaultPending
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultRequestTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.TracerProvider == nil {
		cfg.TracerProvider = otel.GetTracerProvider()
	}
	switch {
	case cfg.Conn == nil:
		return nil, errors.New("bus: ServiceConfig.Conn is missing")
	case cfg.Manager == nil:
		return nil, errors.New("bus: ServiceConfig.Manager is missing")
	case !wire.ValidPrefix(cfg.Prefix):
		return nil, fmt.Errorf("bus: prefix %q: tokens of letters, digits, _ and -, parted by dots", cfg.Prefix)
	case cfg.Pending < 0 || cfg.Timeout < 0 || cfg.Quota.PerSecond < 0 || cfg.Quota.Concurrent < 0:
		return nil, errors.New("bus: ServiceConfig.Pending, Timeout and Quota are not negative")
	}
	sealKey, err := wire.NewCurveKey()
	if err != nil {
		return nil, err
	}
	metrics, err := newServiceMetrics(cfg.MeterProvider)
	if err != nil {
		return nil, err
	}
	s := &Service{
		cfg: cfg, metrics: metrics, sealKey: sealKey, log: cfg.Logger, tracer: cfg.TracerProvider.Tracer(scopeName),
		quotas:   newQuotas(cfg.Quota),
		pending:  semaphore.NewWeighted(int64(cfg.Pending)),
		complain: rate.Sometimes{First: 1, Interval: time.Minute},
	}
	_, s.untraced = cfg.TracerProvider.(noop.TracerProvider)
	s.sampler, _ = cfg.TracerProvider.(Sampler)
	s.endpoints = s.table()
	for _, e := range s.endpoints {
		e.template = wire.APISubject(cfg.Prefix, "{tenant}", e.name)
		e.measures = newMeasures(e.template)
	}
	// The context of Start does not bound the Service's life; Close does.
	s.base, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Start subscribes. It returns when the server has taken the subscriptions. A Service is started once.
func (s *Service) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil || s.closing {
		return errors.New("bus: the service was started before; make a new one")
	}
	conn := s.cfg.Conn()
	if conn == nil {
		return fmt.Errorf("start the service: %w", ErrNotRunning)
	}
	s.conn = conn
	m, err := micro.AddService(conn, micro.Config{
		Name:         serviceName,
		Version:      strings.TrimPrefix(s.cfg.Version, "v"),
		Description:  "live OAuth tokens for e-signature vendors",
		QueueGroup:   serviceName,
		StatsHandler: s.stats,
		ErrorHandler: func(_ micro.Service, e *micro.NATSError) {
			s.log.WarnContext(s.base, "NATS reports an error of the service; requests of that time may have had no answer, and are asked again", "subject", e.Subject, "error", e.Description)
		},
	})
	if err != nil {
		return fmt.Errorf("start the service: %w", err)
	}
	s.micro = m
	for _, e := range s.endpoints {
		handler := micro.HandlerFunc(func(r micro.Request) { s.take(conn, e, r) })
		// Names there have no dots.
		name := strings.ReplaceAll(string(e.name), ".", "-")
		if err := m.AddEndpoint(name, handler, micro.WithEndpointSubject(wire.APISubject(s.cfg.Prefix, "*", e.name))); err != nil {
			return errors.Join(fmt.Errorf("start the service: endpoint %s: %w", e.name, err), m.Stop())
		}
	}
	if err := flush(ctx, conn); err != nil {
		return errors.Join(fmt.Errorf("start the service: %w", err), m.Stop())
	}
	if s.observing, err = s.metrics.observe(s.endpoints); err != nil {
		return errors.Join(fmt.Errorf("start the service: observe its requests: %w", err), m.Stop())
	}
	return nil
}

// flush returns when the server has taken what was sent. Without a deadline nats.go refuses a context.
func flush(ctx context.Context, conn *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return conn.FlushWithContext(ctx)
}

// Close takes no more requests and waits until those that came are answered. When ctx ends it stops the work that is
// still going on, whose callers are told to ask again. It does not close the connection.
func (s *Service) Close(ctx context.Context) error {
	s.mu.Lock()
	m, conn, observing := s.micro, s.conn, s.observing
	s.micro, s.observing = nil, nil
	s.mu.Unlock()
	if observing != nil {
		_ = observing.Unregister() // it fails where it was not registered
	}
	defer s.metrics.duration.Flush()
	if m == nil {
		s.refuseWork()
		s.stop()
		return nil
	}
	err := m.Stop()
	drained(ctx, conn)
	s.refuseWork()
	done := make(chan struct{})
	go func() { s.work.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		s.stop()
		select {
		case <-done:
		case <-time.After(stragglers):
			err = errors.Join(err, fmt.Errorf("close the service: requests are still being worked on: %w", ctx.Err()))
		}
	}
	s.stop()
	// The answers are on their way when the connection's owner goes on to close it.
	if ferr := flush(context.WithoutCancel(ctx), conn); ferr != nil && !conn.IsClosed() {
		err = errors.Join(err, fmt.Errorf("close the service: send the last answers: %w", ferr))
	}
	return err
}

// drained returns when the requests that had reached us before the subscriptions ended are taken, or ctx ends. micro
// ends its subscriptions without waiting for that.
func drained(ctx context.Context, conn *nats.Conn) {
	if flush(ctx, conn) != nil {
		return
	}
	taken := make(chan struct{})
	if conn.Barrier(func() { close(taken) }) != nil {
		return
	}
	select {
	case <-taken:
	case <-ctx.Done():
	}
}

func (s *Service) connection() *nats.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn
}

// begin counts a piece of work, and reports false where none may begin any more.
func (s *Service) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.work.Add(1)
	return true
}

func (s *Service) refuseWork() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
}
