package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/semaphore"
)

// scopeName is the instrumentation scope of this package's spans.
const scopeName = "github.com/esignd/esignd/core"

// Policy says when a grant of a client is refreshed.
type Policy string

// The policies.
const (
	// Eager refreshes ahead of expiry, so that a caller seldom waits.
	Eager Policy = "eager"
	// Lazy refreshes when a caller asks, and where the refresh token would otherwise die of disuse.
	Lazy Policy = "lazy"
)

// Client is our registration at a vendor (RFC 6749 §2).
type Client struct {
	Name   string
	Vendor string
	Credentials
	GrantType    GrantType // empty: AuthorizationCode
	Scopes       []string
	Tenants      []string // whose grants may be of this client
	RedirectURIs []string // callbacks of services, exact
	Policy       Policy   // empty: Eager
}

// Config is what a Manager is made of. Only Adapters is required.
type Config struct {
	Clients  []Client
	Adapters Adapters
	// Store, Publisher and Timers. nil: in memory, which is gone with the process.
	Store     Store
	Publisher Publisher
	Timers    Timers
	// Spool keeps token sets that cannot be committed. nil: they are kept in memory.
	Spool Spool
	// PublicURL is where browsers reach the connect pages. Empty: there is no connect flow.
	PublicURL string
	// ReturnTo lists where the connect flow may send browsers, exact.
	ReturnTo []string
	// CachedGrants is how many grants are whole in memory; others are read from the store. 0: 8192. Negative: none.
	CachedGrants int
	// Owner names the data folder that this Manager holds the lock of; Start asks for it. Claims of an earlier process
	// under the same name are dead at once. nil: a random name.
	Owner func() string
	// Refreshed is told of each refresh and client_credentials request that was made at a vendor, once its outcome is
	// committed or could not be. It does not wait for anything. nil: nobody is told.
	Refreshed func(context.Context, Refreshed)
	// Hooks are told of what this Manager has done.
	Hooks Hooks
	// Logger gets what an operator should know. nil: slog.Default.
	Logger *slog.Logger
	// TracerProvider and MeterProvider make spans and instruments. nil: the global ones.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
}

// Limits of one Manager.
const (
	callsPerVendor = 64 // at once, so that a hanging vendor holds no more than its own
	duePerVendor   = 64 // grants that are looked at at once
)

// Manager owns the life of every grant. It is made by New, works from Start to Close, and all its other methods may
// be called concurrently in between.
type Manager struct {
	clients   map[string]*Client
	adapters  Adapters
	store     Store
	publisher Publisher
	timers    Timers
	spool     Spool
	publicURL string
	returnTo  []string
	ownerOf   func() string // Config.Owner
	refreshed func(context.Context, Refreshed)
	outbox    *outbox
	listeners listeners
	folder    string // what ownerOf says; set by Start
	owner     string // folder and a mark of this process; set by Start
	log       *slog.Logger
	seldom    *seldom
	tracer    trace.Tracer
	metrics   *metrics
	observing metric.Registration // set by Start

	cache          *cache
	directory      directory
	fingerprintKey Secret
	unavailable    map[string]bool         // clients whose vendor does not answer; used by the watch alone
	slots          map[string]*slots       // by vendor
	turns          [64]*semaphore.Weighted // of imports and creations, by a hash of the grant
	breakers       map[string]*breaker     // by client
	lineups        map[string]*lineup      // by client

	metaMu sync.Mutex
	meta   map[string]Metadata // by vendor; guarded by metaMu

	flightMu sync.Mutex
	flights  map[string]*flight // by grant; guarded by flightMu
	kept     map[string]kept    // outcomes that wait to be committed, by attempt; guarded by flightMu
	// replaying says that a goroutine commits what waits; guarded by flightMu.
	replaying bool
	closed    bool            // guarded by flightMu
	sweeping  map[string]bool // the vendors whose overdue grants are looked at; guarded by flightMu

	background context.Context // ends with Close; for work that no caller waits for
	stop       context.CancelFunc
	tasks      sync.WaitGroup // loops of Start
	work       sync.WaitGroup // calls to vendors and what follows them
}

// New checks cfg and returns a Manager. It does no I/O.
func New(cfg Config) (*Manager, error) {
	if cfg.Adapters == nil {
		return nil, errors.New("core: Config.Adapters is missing")
	}
	m := &Manager{
		clients: map[string]*Client{}, adapters: cfg.Adapters, store: cfg.Store, publisher: cfg.Publisher,
		timers: cfg.Timers, spool: cfg.Spool, publicURL: strings.TrimSuffix(cfg.PublicURL, "/"), returnTo: cfg.ReturnTo,
		ownerOf: cfg.Owner, refreshed: cfg.Refreshed, log: cfg.Logger, cache: newCache(cachedGrants(cfg.CachedGrants)), slots: map[string]*slots{},
		breakers: map[string]*breaker{}, lineups: map[string]*lineup{}, meta: map[string]Metadata{},
		flights: map[string]*flight{}, kept: map[string]kept{},
		sweeping: map[string]bool{}, unavailable: map[string]bool{}, seldom: newSeldom(),
	}
	m.fillDefaults(cfg)
	var err error
	if m.metrics, err = newMetrics(cfg.MeterProvider); err != nil {
		return nil, err
	}
	for _, c := range cfg.Clients {
		if err := m.addClient(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Manager) fillDefaults(cfg Config) {
	for i := range m.turns {
		m.turns[i] = semaphore.NewWeighted(1)
	}
	if m.store == nil {
		m.store = NewMemoryStore()
	}
	if m.publisher == nil {
		m.publisher = NewMemoryPublisher()
	}
	if m.timers == nil {
		m.timers = NewMemoryTimers()
	}
	if m.spool == nil {
		m.spool = NewMemorySpool()
	}
	if m.log == nil {
		m.log = slog.Default()
	}
	if m.ownerOf == nil {
		m.ownerOf = randomID
	}
	if m.refreshed == nil {
		m.refreshed = func(context.Context, Refreshed) {}
	}
	tp := cfg.TracerProvider
	if tp == nil {
		tp = otel.GetTracerProvider()
	}
	m.tracer = tp.Tracer(scopeName)
	m.outbox = newOutbox(cfg.Hooks, m.log)
	// The context of Start does not bound the Manager's life; Close does.
	m.background, m.stop = context.WithCancel(context.Background())
}

func (m *Manager) addClient(c Client) error {
	if c.GrantType == "" {
		c.GrantType = AuthorizationCode
	}
	if c.Policy == "" {
		c.Policy = Eager
	}
	switch {
	case c.Name == "" || c.Vendor == "":
		return fmt.Errorf("core: a client needs a name and a vendor (name %q, vendor %q)", c.Name, c.Vendor)
	case m.clients[c.Name] != nil:
		return fmt.Errorf("core: two clients are named %q", c.Name)
	case c.GrantType != AuthorizationCode && c.GrantType != ClientCredentials:
		return fmt.Errorf("core: client %s: grant type %q is neither authorization_code nor client_credentials", c.Name, c.GrantType)
	case c.Policy != Eager && c.Policy != Lazy:
		return fmt.Errorf("core: client %s: policy %q is neither eager nor lazy", c.Name, c.Policy)
	}
	m.clients[c.Name] = &c
	if m.slots[c.Vendor] == nil {
		m.slots[c.Vendor] = newSlots(callsPerVendor)
	}
	m.breakers[c.Name] = m.newBreaker(&c)
	m.lineups[c.Name] = newLineup()
	m.metrics.addClient(&c)
	return nil
}

// Start reads the store and begins to refresh ahead. It returns when answers can be given; ctx bounds only that.
func (m *Manager) Start(ctx context.Context) error {
	m.folder = m.ownerOf()
	m.owner = m.folder + "/" + randomID()
	if err := m.readClock(ctx); err != nil {
		return err
	}
	if err := m.loadFingerprintKey(ctx); err != nil {
		return err
	}
	m.tasks.Go(m.watch)
	select {
	case <-m.cache.synced:
	case <-ctx.Done():
		m.stop()
		m.tasks.Wait()
		return fmt.Errorf("read the grants from the store: %w", ctx.Err())
	}
	m.outbox.start()
	err := m.replay(ctx)
	if err != nil {
		m.log.ErrorContext(ctx, "token sets that were not committed before the last stop wait in data_dir/uncommitted; esignd goes on trying", "error", err)
		m.replayLater()
	}
	if m.observing, err = m.observe(); err != nil {
		m.log.WarnContext(ctx, "some metrics are not observed; the others are, until esignd is restarted", "error", err)
	}
	m.tasks.Go(m.sweep)
	for _, vendor := range m.vendors() {
		m.tasks.Go(func() { m.workTimers(vendor) })
	}
	for _, cl := range m.clients {
		m.tasks.Go(func() { m.walkLineup(cl) })
	}
	return nil
}

// vendors lists the vendors of the configured clients.
func (m *Manager) vendors() []string {
	var vs []string
	for v := range m.slots {
		vs = append(vs, v)
	}
	slices.Sort(vs)
	return vs
}

// Close stops refreshing ahead, waits for calls to vendors that are on their way and commits them, until ctx ends.
func (m *Manager) Close(ctx context.Context) error {
	m.flightMu.Lock()
	m.closed = true
	m.flightMu.Unlock()
	m.unobserve()
	defer m.metrics.remaining.Flush()
	done, settled := make(chan error, 1), make(chan struct{})
	go func() {
		m.work.Wait()
		m.stop()
		m.tasks.Wait()
		close(settled)
		done <- errors.Join(m.keepRest(), m.outbox.close())
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		m.stop()
		m.outbox.abandon()
		still := "calls to vendors were still on their way; their claims are settled at the next start"
		select {
		case <-settled:
			still = "a hook was still being told"
		default:
		}
		return errors.Join(fmt.Errorf("close the manager: %s: %w", still, ctx.Err()), m.keepRest())
	}
}

// closing reports whether Close was called: nothing is begun any more.
func (m *Manager) closing() bool {
	m.flightMu.Lock()
	defer m.flightMu.Unlock()
	return m.closed
}

// Ready returns nil while the Manager can answer, else why it cannot. It calls no vendor.
func (m *Manager) Ready() error {
	select {
	case <-m.cache.synced:
	default:
		return errors.New("the store has not been read yet")
	}
	if !m.cache.fresh() {
		return fmt.Errorf("nothing was heard from the store for %s", watchSilence)
	}
	return nil
}

// now is the time by the store's clock.
func (m *Manager) now() time.Time { return m.cache.now() }

// readClock ties the store's clock to the monotonic one.
func (m *Manager) readClock(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	asked := time.Now()
	t, err := m.store.Now(ctx)
	if err != nil {
		return fmt.Errorf("read the store's clock: %w", err)
	}
	m.cache.setClock(t, asked)
	return nil
}

// adapterOf returns the adapter of a client's vendor with its metadata.
func (m *Manager) adapterOf(ctx context.Context, cl *Client) (Adapter, Metadata, error) {
	a, err := m.adapters.Adapter(cl.Vendor)
	if err != nil {
		m.seldom.adapter.Do(func() {
			m.log.WarnContext(ctx, "there is no adapter for a vendor; its live tokens are handed out, and nothing is refreshed until its plugin is there", "client", cl.Name,
				"vendor", cl.Vendor, "error", err)
		})
		return nil, Metadata{}, &VendorError{Outcome: NotSent, Code: CodePlugin, Detail: "there is no adapter for vendor " + cl.Vendor}
	}
	md, err := m.metadata(ctx, cl.Vendor, a)
	return a, md, err
}

func (m *Manager) metadata(ctx context.Context, vendor string, a Adapter) (Metadata, error) {
	if md, ok := m.knownMetadata(vendor); ok {
		return md, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	md, err := a.Metadata(ctx)
	if err != nil {
		return Metadata{}, &VendorError{Outcome: NotSent, Code: CodePlugin, Detail: "the adapter of " + vendor + " does not say its metadata"}
	}
	m.startLineups(vendor)
	m.metaMu.Lock()
	defer m.metaMu.Unlock()
	m.meta[vendor] = md
	return md, nil
}

func (m *Manager) knownMetadata(vendor string) (Metadata, bool) {
	m.metaMu.Lock()
	defer m.metaMu.Unlock()
	md, ok := m.meta[vendor]
	return md, ok
}

// publicPath returns an address below the public URL.
func (m *Manager) publicPath(parts ...string) string {
	u, err := url.JoinPath(m.publicURL, parts...)
	if err != nil {
		return m.publicURL
	}
	return u
}
