package esignd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/fx"
)

// tidyWithin is how long the parts may take to stop that had started before another did not.
const tidyWithin = 30 * time.Second

// stopGrace is how long the parts have after the end of the time that they have to stop in, for what is done in any case.
const stopGrace = 10 * time.Second

// life starts and stops the parts of a [Daemon]. It takes the place of fx's own lifecycle, which returns from a start whose
// context ends while a part is still starting, and then stops none.
type life struct {
	mu    sync.Mutex
	hooks []fx.Hook // guarded by mu, as are all
	begun int       // hooks that started; one that has nothing to start did so when it was appended
	state lifeState
	ended chan struct{} // closed when all have stopped
}

type lifeState int

const (
	made lifeState = iota
	starting
	running
	stopping
)

// Append implements fx.Lifecycle.
func (l *life) Append(h fx.Hook) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hooks = append(l.hooks, h)
}

// start starts the parts in order. After an error those that had started are stopped.
func (l *life) start(ctx context.Context) error {
	l.mu.Lock()
	if l.state != made {
		l.mu.Unlock()
		return errors.New("start esignd: it was started or closed before; make another with New")
	}
	l.state = starting
	hooks := l.hooks
	l.mu.Unlock()
	n, err := startAll(ctx, hooks)
	l.mu.Lock()
	l.begun, l.state = n, running
	l.mu.Unlock()
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyWithin)
	defer cancel()
	return errors.Join(err, l.stop(ctx))
}

func startAll(ctx context.Context, hooks []fx.Hook) (begun int, err error) {
	for i, h := range hooks {
		if err := ctx.Err(); err != nil {
			return i, fmt.Errorf("start esignd: it takes longer than it may: %w", err)
		}
		if h.OnStart == nil {
			continue
		}
		if err := h.OnStart(ctx); err != nil {
			return i, err
		}
	}
	return len(hooks), nil
}

// stop stops the parts in reverse, once. Who comes second waits for the first. A part that does not heed the end of ctx is
// left behind.
func (l *life) stop(ctx context.Context) error {
	l.mu.Lock()
	switch l.state {
	case starting:
		l.mu.Unlock()
		return errors.New("close esignd: it is starting; end the context of Start, and wait for it")
	case stopping:
		ended := l.ended
		l.mu.Unlock()
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l.state, l.ended = stopping, make(chan struct{})
	hooks, begun := l.hooks, l.begun
	l.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopped := make(chan error, 1)
	go func() {
		defer close(l.ended)
		stopped <- stopAll(ctx, hooks, begun)
	}()
	select {
	case err := <-stopped:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-stopped:
		return err
	case <-time.After(stopGrace):
		return fmt.Errorf("close esignd: a part still stops; end the process, and the next start finds what it left: %w", ctx.Err())
	}
}

func stopAll(ctx context.Context, hooks []fx.Hook, begun int) error {
	var errs []error
	for i := len(hooks) - 1; i >= 0; i-- {
		if h := hooks[i]; h.OnStop != nil && (i < begun || h.OnStart == nil) {
			errs = append(errs, h.OnStop(ctx))
		}
	}
	return errors.Join(errs...)
}
