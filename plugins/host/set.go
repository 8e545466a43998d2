package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/esignd/esignd/core"
)

// SetConfig describes the plugins of a folder. Dir is required.
type SetConfig struct {
	// Dir is the folder with the binaries; each esignd-plugin-<vendor> in it is a vendor.
	Dir string
	// SHA256 pins the digest of a vendor's file, in hexadecimal.
	SHA256 map[string]string
	// LooseParents is for development; see [Config].
	LooseParents bool
	// Vendors are those that must be there.
	Vendors []string
	// SocketDir holds a folder of sockets for each plugin; see [Config].
	SocketDir string
	// Logger takes what happens to the plugins, and what they log. nil: slog.Default().
	Logger *slog.Logger
	// Limits bound every wait.
	Limits Limits
	// TracerProvider and MeterProvider make spans and metrics. nil: the global ones.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
}

// Set is the plugins of a folder. It implements [core.Adapters]. Its methods may be called concurrently.
type Set struct {
	cfg     SetConfig
	metrics *metrics

	mu        sync.Mutex // guards what follows
	plugins   map[string]*Plugin
	observing metric.Registration // nil before Start and after Close
}

// NewSet checks the configuration and returns the set, not started. It does no I/O.
func NewSet(cfg SetConfig) (*Set, error) {
	if cfg.Dir == "" {
		return nil, errors.New("configure plugins: Dir is empty (plugins.dir)")
	}
	for vendor, digest := range cfg.SHA256 {
		if _, err := parseDigest(digest); err != nil {
			return nil, fmt.Errorf("configure plugins.sha256, vendor %s: %w", vendor, err)
		}
	}
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	metrics, err := newMetrics(cfg.MeterProvider)
	if err != nil {
		return nil, err
	}
	return &Set{cfg: cfg, metrics: metrics}, nil
}

// Start finds the plugins and starts them, all at once: when one does not start, or one that must be there is missing,
// all are closed again and the error says what was wrong with each. A set is started once, before its other methods are
// called.
func (s *Set) Start(ctx context.Context) (err error) {
	if s.Vendors() != nil {
		return errors.New("start plugins: they were started before")
	}
	found, err := Discover(s.cfg.Dir)
	if err != nil {
		return err
	}
	plugins, err := s.configure(found)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll(ctx, plugins))
		}
	}()
	if err := forAll(plugins, func(p *Plugin) error { return p.Start(ctx) }); err != nil {
		return err
	}
	observing, err := s.metrics.observe(s)
	if err != nil {
		return fmt.Errorf("observe the plugins: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plugins, s.observing = plugins, observing
	return nil
}

// all returns the plugins.
func (s *Set) all() []*Plugin {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.plugins))
}

// configure makes a plugin of each binary, once it is clear that none is missing.
func (s *Set) configure(found []Binary) (map[string]*Plugin, error) {
	plugins := make(map[string]*Plugin, len(found))
	for _, b := range found {
		p, err := New(Config{
			Path: b.Path, Vendor: b.Vendor, SHA256: s.cfg.SHA256[b.Vendor], LooseParents: s.cfg.LooseParents,
			SocketDir: s.cfg.SocketDir, Logger: s.cfg.Logger, Limits: s.cfg.Limits,
			TracerProvider: s.cfg.TracerProvider, MeterProvider: s.cfg.MeterProvider,
		})
		if err != nil {
			return nil, err
		}
		plugins[b.Vendor] = p
	}
	needed := slices.Concat(s.cfg.Vendors, slices.Collect(maps.Keys(s.cfg.SHA256)))
	slices.Sort(needed)
	var errs []error
	for _, vendor := range slices.Compact(needed) {
		if plugins[vendor] == nil {
			errs = append(errs, s.missing(vendor, plugins))
		}
	}
	return plugins, errors.Join(errs...)
}

// missing is the error about a vendor without a plugin.
func (s *Set) missing(vendor string, plugins map[string]*Plugin) error {
	there := "there is no plugin in that folder"
	if len(plugins) > 0 {
		there = "the plugins there are of " + strings.Join(slices.Sorted(maps.Keys(plugins)), ", ")
	}
	return fmt.Errorf("there is no plugin for vendor %q: expected the file %s; put it there (`make build` makes esignd's own), or set plugins.dir to its folder; %s",
		vendor, filepath.Join(s.cfg.Dir, FileName(vendor)), there)
}

// Adapter implements [core.Adapters].
func (s *Set) Adapter(vendor string) (core.Adapter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.plugins[vendor]
	if !ok {
		return nil, s.missing(vendor, s.plugins)
	}
	return p.Adapter(), nil
}

// Vendors returns the vendors that have a plugin, sorted; none before Start.
func (s *Set) Vendors() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.plugins))
}

// Status returns what may be shown of each plugin, sorted by vendor.
func (s *Set) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Status
	for _, vendor := range slices.Sorted(maps.Keys(s.plugins)) {
		all = append(all, s.plugins[vendor].Status())
	}
	return all
}

// Close closes all plugins at once; see [Plugin.Close]. Adapters that were given out fail with [core.NotSent] then.
func (s *Set) Close(ctx context.Context) error {
	s.mu.Lock()
	plugins, observing := maps.Clone(s.plugins), s.observing
	s.observing = nil
	s.mu.Unlock()
	if observing != nil {
		_ = observing.Unregister() // it fails where it was not registered
	}
	return closeAll(ctx, plugins)
}

func closeAll(ctx context.Context, plugins map[string]*Plugin) error {
	return forAll(plugins, func(p *Plugin) error { return p.Close(ctx) })
}

// forAll calls f for every plugin at the same time and joins the errors in the order of the vendors.
func forAll(plugins map[string]*Plugin, f func(*Plugin) error) error {
	vendors := slices.Sorted(maps.Keys(plugins))
	errs := make([]error, len(vendors))
	var running sync.WaitGroup
	for n, vendor := range vendors {
		running.Go(func() { errs[n] = f(plugins[vendor]) })
	}
	running.Wait()
	return errors.Join(errs...)
}
