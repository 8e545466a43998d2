package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/internal/wire"
)

// State is where a plugin is in its life.
type State string

// The states.
const (
	Stopped    State = "stopped"    // not started yet, or closed
	Ready      State = "ready"      // its process answers
	Restarting State = "restarting" // its process ended; another is being started, or will be after a while
)

// Status is what may be shown of a plugin.
type Status struct {
	Vendor    string
	Path      string
	State     State
	Since     time.Time // when State began; zero before the first
	PID       int       // 0 where there is no process
	Version   string    // the adapter's, of the last process that was ready
	Pinned    bool      // the file's digest is checked at each start
	Restarts  int       // processes that were replaced, since Start
	LastError string    // why the last process ended or did not start; empty: never
}

// Plugin is one vendor's process, supervised from Start to Close. Start and Close are called one after the other; the
// other methods, and those of the adapter, may be called concurrently at any time.
type Plugin struct {
	cfg    Config
	digest []byte // nil: any file
	// secrets outlive a process: what is left of its output is read after its end.
	secrets discretion

	cancel context.CancelFunc // ends supervise; set by Start
	done   chan struct{}      // closed when supervise has ended; set by Start

	mu        sync.Mutex // guards what follows
	current   *instance  // nil while no process is ready
	down      *core.VendorError
	metadata  core.Metadata
	abilities []wire.Ability
	state     State
	since     time.Time
	restarts  int
	lastError string
}

// Start starts the process and returns when it is ready, or with an error that says what to do; nothing runs then. A
// plugin is started once. The context bounds the start only.
func (p *Plugin) Start(ctx context.Context) error {
	if p.done != nil {
		return fmt.Errorf("start plugin %s: it was started before", p.cfg.Vendor)
	}
	if p.digest == nil {
		p.cfg.Logger.WarnContext(ctx, "the plugin's digest is not pinned: whoever can replace the file decides what runs; set plugins.sha256", "path", p.cfg.Path)
	}
	dir, err := openSocketDir(p.cfg)
	if err != nil {
		return fmt.Errorf("start plugin %s: %w", p.cfg.Vendor, err)
	}
	s := newSpawner()
	first, err := p.launch(ctx, s, dir.path)
	if err != nil {
		s.close()
		return errors.Join(fmt.Errorf("start plugin %s: %w", p.cfg.Vendor, err), dir.close())
	}
	p.setReady(first)
	// The supervisor outlives the start; Close ends it.
	supervision, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p.cancel, p.done = cancel, make(chan struct{})
	go func() {
		defer close(p.done)
		p.supervise(supervision, s, dir.path, first)
		s.close()
		if err := dir.close(); err != nil {
			p.cfg.Logger.WarnContext(ctx, "the plugin's socket folder is left behind; the next start sweeps it", "error", err)
		}
	}()
	return nil
}

// Close lets calls in flight end, for a bounded time, and then ends the process. When the context ends sooner, it ends
// the process at once. It may be called again, and for a plugin that was never started.
func (p *Plugin) Close(ctx context.Context) error {
	if p.done == nil {
		return nil
	}
	p.mu.Lock()
	current := p.current
	p.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		if current != nil {
			current.proc.kill("it was to be closed sooner")
		}
	})
	defer stop()
	p.cancel()
	<-p.done
	return nil
}

// Status returns what may be shown of the plugin now.
func (p *Plugin) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Status{
		Vendor: p.cfg.Vendor, Path: p.cfg.Path, State: p.state, Since: p.since, Version: p.metadata.Version,
		Pinned: p.digest != nil, Restarts: p.restarts, LastError: p.lastError,
	}
	if p.current != nil {
		s.PID = p.current.proc.pid()
	}
	return s
}

// supervise replaces the process whenever it ends, until the context does.
func (p *Plugin) supervise(ctx context.Context, s *spawner, socketDir string, i *instance) {
	retry := &backoff.ExponentialBackOff{
		InitialInterval:     p.cfg.Limits.MinBackoff,
		MaxInterval:         p.cfg.Limits.MaxBackoff,
		Multiplier:          2,
		RandomizationFactor: 0.2,
	}
	retry.Reset()
	for i != nil {
		cause := p.watch(ctx, i)
		if ctx.Err() != nil {
			p.setDown(Stopped, "the plugin is closed", "")
			i.stop(context.WithoutCancel(ctx)) // bounded by Limits
			return
		}
		p.setDown(Restarting, "the plugin is being restarted", cause)
		p.cfg.Logger.ErrorContext(ctx, "the plugin ended; another process takes its place, and calls that were under way have an unknown outcome", "cause", cause, "pid", i.proc.pid(), "lived", time.Since(i.started).Round(time.Millisecond))
		i.stop(ctx)
		if time.Since(i.started) >= p.cfg.Limits.Settled {
			retry.Reset()
		}
		i = p.replace(ctx, s, socketDir, retry)
	}
}

// memoryPeriod is between two looks at a process's memory.
const memoryPeriod = 500 * time.Millisecond

// watch returns when the process has ended, with the cause, or when the context has. It ends a process that does not
// answer its health checks, or has more memory than it may.
func (p *Plugin) watch(ctx context.Context, i *instance) (cause string) {
	ticker := time.NewTicker(p.cfg.Limits.HealthPeriod)
	defer ticker.Stop()
	sizes := time.NewTicker(memoryPeriod)
	defer sizes.Stop()
	misses := 0
	for {
		select {
		case <-ctx.Done():
			return ""
		case <-i.proc.exited:
			return i.proc.exitText()
		case <-sizes.C:
			if has := memory(i.proc.pid()); has > i.limits.Memory {
				i.kill(fmt.Sprintf("it had %d MiB of memory, a plugin may have %d", has>>20, i.limits.Memory>>20))
			}
			continue
		case <-ticker.C:
		}
		if i.healthy(ctx) {
			misses = 0
			continue
		}
		if misses++; misses >= maxMisses && ctx.Err() == nil {
			i.kill(fmt.Sprintf("it missed %d health checks in a row", misses))
			return i.proc.exitText()
		}
	}
}

// replace tries to start another process, with growing delays, until it succeeds or the context ends: then it is nil.
func (p *Plugin) replace(ctx context.Context, s *spawner, socketDir string, retry *backoff.ExponentialBackOff) *instance {
	for {
		delay := time.NewTimer(retry.NextBackOff())
		select {
		case <-ctx.Done():
			delay.Stop()
			p.setDown(Stopped, "the plugin is closed", "")
			return nil
		case <-delay.C:
		}
		i, err := p.launch(ctx, s, socketDir)
		if err == nil {
			p.setReady(i)
			p.cfg.Logger.InfoContext(ctx, "the plugin is ready again", "pid", i.proc.pid())
			return i
		}
		if ctx.Err() == nil {
			p.setDown(Restarting, "the plugin cannot be restarted; esignd goes on trying", err.Error())
			p.cfg.Logger.ErrorContext(ctx, "the plugin cannot be restarted; esignd goes on trying, and serves live tokens meanwhile", "error", err)
		}
	}
}

func (p *Plugin) setReady(i *instance) {
	p.cfg.Logger.LogAttrs(context.Background(), slog.LevelDebug, "the plugin is ready",
		slog.Int("pid", i.proc.pid()), slog.String("version", i.metadata.Version))
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == Restarting {
		p.restarts++
	}
	p.current, p.down = i, nil
	p.metadata, p.abilities = i.metadata, i.abilities
	p.state, p.since = Ready, time.Now()
}

// setDown says how calls fail from now on, and why the process is gone where there is a cause.
func (p *Plugin) setDown(s State, detail, cause string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current, p.down = nil, notSent(detail)
	if p.state != s {
		p.state, p.since = s, time.Now()
	}
	if cause != "" {
		p.lastError = cause
	}
}

// begin returns the process with a place in it for one call, or the error of that call.
func (p *Plugin) begin() (*instance, error) {
	p.mu.Lock()
	i, down := p.current, p.down
	p.mu.Unlock()
	if i == nil {
		return nil, down
	}
	return i, i.begin()
}
