package core_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
)

// ground is the store as one replica reaches it.
type ground struct{ *replica }

// lit returns an error while the store does not answer this replica.
func (g ground) lit() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Now().Before(g.dark) {
		return errBroken
	}
	return nil
}

func (g ground) Get(ctx context.Context, key string) (core.Record, error) {
	if err := g.lit(); err != nil {
		return core.Record{}, err
	}
	if err := g.pass(ctx, "before get"); err != nil {
		return core.Record{}, err
	}
	rec, err := g.fleet.store.Get(ctx, key)
	if perr := g.pass(ctx, "after get"); perr != nil {
		return core.Record{}, perr
	}
	return rec, err
}

func (g ground) Put(ctx context.Context, r core.Record) (uint64, error) {
	if err := g.lit(); err != nil {
		return 0, err
	}
	label := g.fleet.label(r)
	if err := g.pass(ctx, "before "+label); err != nil {
		return 0, err
	}
	rev, err := g.fleet.put(ctx, g.replica, r)
	if err != nil {
		return 0, err
	}
	if err := g.pass(ctx, "after "+label); err != nil {
		return 0, err
	}
	return rev, nil
}

// put writes, and keeps the history of the grant.
func (f *fleet) put(ctx context.Context, by *replica, r core.Record) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rev, err := f.store.Put(ctx, r)
	if err != nil || !strings.HasPrefix(r.Key, "grant.") {
		return rev, err
	}
	v := viewOf(r)
	w := write{view: v, at: time.Now(), label: labelOf(f.lastLocked(), v), by: by}
	if w.label == "claim" {
		by.mu.Lock()
		by.claim = *v.Attempt
		by.mu.Unlock()
	}
	f.traceLocked("%s writes %s: %s, generation %d, uncertain %v, %d owed", by.name, w.label, v.State, v.Generation, v.Uncertain, len(v.Debts))
	f.writes = append(f.writes, w)
	return rev, nil
}

func (g ground) Delete(ctx context.Context, key string, revision uint64) error {
	if err := g.pass(ctx, "before delete"); err != nil {
		return err
	}
	return g.fleet.store.Delete(ctx, key, revision)
}

func (g ground) Now(ctx context.Context) (time.Time, error) {
	if g.dead() {
		return time.Time{}, errCrashed
	}
	return g.fleet.store.Now(ctx)
}

func (g ground) Watch(ctx context.Context, fn func(core.Update)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.ctx, cancel)()
	return g.fleet.store.Watch(ctx, func(u core.Update) {
		g.mu.Lock()
		deaf := time.Until(g.deaf)
		g.mu.Unlock()
		if deaf > 0 {
			select {
			case <-time.After(deaf):
			case <-ctx.Done():
			}
		}
		if ctx.Err() == nil {
			fn(u)
		}
	})
}

// speaker is the publisher as one replica reaches it.
type speaker struct{ *replica }

func (s speaker) Publish(ctx context.Context, e core.Event) error {
	if err := s.pass(ctx, "before publish"); err != nil {
		return err
	}
	if err := s.fleet.publisher.Publish(ctx, e); err != nil {
		return err
	}
	return s.pass(ctx, "after publish")
}

func (s speaker) Last(ctx context.Context, e core.Event) (core.Event, error) {
	if s.dead() {
		return core.Event{}, errCrashed
	}
	return s.fleet.publisher.Last(ctx, e)
}

// clock is the timers as one replica reaches them.
type clock struct {
	*core.MemoryTimers
	r *replica
}

func (c clock) Arm(ctx context.Context, vendor, grant string, at time.Time) error {
	if err := c.r.pass(ctx, "before arming"); err != nil {
		return err
	}
	return c.MemoryTimers.Arm(ctx, vendor, grant, at)
}

func (c clock) Disarm(ctx context.Context, vendor, grant string) error {
	if c.r.dead() {
		return errCrashed
	}
	return c.MemoryTimers.Disarm(ctx, vendor, grant)
}

// redelivery is after how long a due message that nobody has acknowledged is told again.
const redelivery = 30 * time.Second

func (c clock) Work(ctx context.Context, vendor string, limit int, fn func(context.Context, core.Due) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.r.ctx, cancel)()
	return c.MemoryTimers.Work(ctx, vendor, limit, func(ctx context.Context, d core.Due) error {
		err := fn(ctx, d)
		if c.r.dead() {
			_ = c.MemoryTimers.Arm(context.Background(), vendor, d.Grant, time.Now().Add(redelivery))
		}
		return err
	})
}

// disk is the folder of one replica's machine.
type disk struct {
	*core.MemorySpool
	r *replica
}

func (d disk) Put(r core.Record) error {
	if err := d.r.pass(d.r.ctx, "before spool"); err != nil {
		return err
	}
	if err := d.MemorySpool.Put(r); err != nil {
		return err
	}
	return d.r.pass(d.r.ctx, "after spool")
}

func (d disk) Remove(key string) error {
	if d.r.dead() {
		return errCrashed
	}
	return d.MemorySpool.Remove(key)
}

// journal keeps the log of one replica in the trace.
type journal struct{ *replica }

func (journal) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

func (j journal) Handle(_ context.Context, rec slog.Record) error {
	var b strings.Builder
	rec.Attrs(func(a slog.Attr) bool {
		if a.Key != "grant" {
			fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		}
		return true
	})
	if !j.dead() {
		j.fleet.note("%s logs: %s%s", j.name, rec.Message, b.String())
	}
	return nil
}

func (j journal) WithAttrs([]slog.Attr) slog.Handler { return j }
func (j journal) WithGroup(string) slog.Handler      { return j }
