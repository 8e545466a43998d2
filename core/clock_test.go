package core_test

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/core"
)

// steppedClock is the wall clock of a store's server, and of its timers, which was stepped once.
type steppedClock struct {
	mu  sync.Mutex // guards what follows
	at  time.Time  // zero before
	off time.Duration
}

// read is what the clock showed at a moment.
func (c *steppedClock) read(at time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() || at.Before(c.at) {
		return at
	}
	return at.Add(c.off)
}

func (c *steppedClock) step(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.off = time.Now(), by
}

// clockedStore stamps each record with what the clock showed at the write.
type clockedStore struct {
	core.Store
	clock *steppedClock
}

func (s clockedStore) Now(context.Context) (time.Time, error) { return s.clock.read(time.Now()), nil }

func (s clockedStore) Get(ctx context.Context, key string) (core.Record, error) {
	r, err := s.Store.Get(ctx, key)
	r.Time = s.clock.read(r.Time)
	return r, err
}

func (s clockedStore) Watch(ctx context.Context, fn func(core.Update)) error {
	return s.Store.Watch(ctx, func(u core.Update) {
		u.Record.Time = s.clock.read(u.Record.Time)
		fn(u)
	})
}

// clockedTimers fire by the clock: those that are armed when it is stepped fire earlier or later.
type clockedTimers struct {
	core.Timers
	clock *steppedClock

	mu    sync.Mutex // guards armed
	armed map[string]time.Time
}

func (t *clockedTimers) Arm(ctx context.Context, vendor, grant string, at time.Time) error {
	t.mu.Lock()
	t.armed[grant] = at
	t.mu.Unlock()
	now := time.Now()
	return t.Timers.Arm(ctx, vendor, grant, now.Add(at.Sub(t.clock.read(now))))
}

func (t *clockedTimers) Work(ctx context.Context, vendor string, limit int, fn func(context.Context, core.Due) error) error {
	return t.Timers.Work(ctx, vendor, limit, func(ctx context.Context, d core.Due) error {
		d.Time = t.clock.read(d.Time)
		return fn(ctx, d)
	})
}

// step steps the clock under the timers.
func (t *clockedTimers) step(ctx context.Context, by time.Duration) error {
	t.clock.step(by)
	t.mu.Lock()
	armed := maps.Clone(t.armed)
	t.mu.Unlock()
	for grant, at := range armed {
		if err := t.Arm(ctx, "acme", grant, at); err != nil {
			return err
		}
	}
	return nil
}

// TestClockSteps steps the clock of the store's server by two hours, forward and back, while tokens of an hour are asked
// for every minute: while esignd runs, and while it is down. Whatever the clock says, no token is handed out that has
// expired, none is refreshed much more often than it needs to be, and each generation is told once.
func TestClockSteps(t *testing.T) {
	t.Parallel()
	var sum clockFigures
	for _, by := range []time.Duration{2 * time.Hour, -2 * time.Hour} {
		for _, down := range []bool{false, true} {
			for _, policy := range []core.Policy{core.Eager, core.Lazy} {
				t.Run(fmt.Sprintf("%s down=%t %s", by, down, policy), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { sum.add(stepClock(t, by, down, policy)) })
				})
			}
		}
	}
	t.Logf("figures: %+v", sum)
}

// clockFigures are what TestClockSteps counts; `make chaos` puts them into its table.
type clockFigures struct{ Steps, Requests, Refreshes, Lost, Twice, Missing, Doubled, Dead int }

func (f *clockFigures) add(o clockFigures) {
	f.Steps, f.Requests, f.Refreshes = f.Steps+o.Steps, f.Requests+o.Requests, f.Refreshes+o.Refreshes
	f.Lost, f.Twice, f.Missing, f.Doubled, f.Dead = f.Lost+o.Lost, f.Twice+o.Twice, f.Missing+o.Missing, f.Doubled+o.Doubled, f.Dead+o.Dead
}

func stepClock(t *testing.T, by time.Duration, down bool, policy core.Policy) (f clockFigures) {
	clock := &steppedClock{}
	timers := &clockedTimers{Timers: core.NewMemoryTimers(), clock: clock, armed: map[string]time.Time{}}
	w := newWorld(t, func(c *core.Config) {
		c.Clients[0].Policy = policy
		c.Store, c.Timers = clockedStore{core.NewMemoryStore(), clock}, timers
	})
	var issued []time.Time // by the vendor, as it counts them
	w.vendor.set(func(v *vendor) {
		v.after = func(context.Context, core.TokenRequest) error {
			v.set(func(*vendor) { issued = append(issued, time.Now()) })
			return nil
		}
	})
	w.imported()
	const hours = 4
	for minute := range 2 * hours * 60 {
		if minute == hours*60+10 {
			f.Steps++
			if down {
				w.close()
			}
			if err := timers.step(t.Context(), by); err != nil {
				t.Fatal(err)
			}
			if down {
				w.m = w.start()
			}
		}
		time.Sleep(time.Minute)
		f.ask(t, w, &issued)
	}
	w.close()
	f.Refreshes, f.Twice = w.vendor.refreshes(), w.vendor.presentedTwice()
	f.events(w.events, uint64(len(issued)))
	// A token is refreshed after forty minutes at the soonest; half an hour is left for the step itself.
	if most := 2*hours*60/40 + 2; f.Refreshes > most {
		t.Errorf("%d refreshes in %d hours, want at most %d", f.Refreshes, 2*hours, most)
	}
	if f.Lost+f.Twice+f.Missing+f.Doubled+f.Dead > 0 {
		t.Errorf("%+v", f)
	}
	return f
}

// ask asks for the token and looks up when the vendor issued it: nobody gets one that is an hour old.
func (f *clockFigures) ask(t *testing.T, w *world, issued *[]time.Time) {
	f.Requests++
	tok, err := w.m.Token(t.Context(), w.sel(), core.DefaultMinTTL)
	if err != nil {
		f.Lost++
		t.Errorf("no token: %v", err)
		return
	}
	var n int
	if _, err := fmt.Sscanf(tok.AccessToken.Reveal(), "access-%d", &n); err != nil {
		t.Fatal(err)
	}
	w.vendor.set(func(*vendor) {
		if age := time.Since((*issued)[n-1]); age >= time.Hour {
			f.Dead++
			t.Errorf("generation %d was handed out %s old", tok.Generation, age)
		}
	})
}

// events counts the events of each generation.
func (f *clockFigures) events(e *events, generations uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	told, ids := map[uint64]int{}, map[string]bool{}
	for _, ev := range e.all {
		if ev.Type == core.TokenIssued && !ids[ev.ID] {
			ids[ev.ID] = true
			told[ev.Generation]++
		}
	}
	for generation := uint64(1); generation <= generations; generation++ {
		switch n := told[generation]; n {
		case 0:
			f.Missing++
		default:
			f.Doubled += n - 1
		}
	}
}

// A record that nobody wrote for two hours seems half an hour old, since the clock was set back while esignd was down.
// What was written later gives it away.
func TestTokenThatExpiredBeforeTheClockWasSetBackIsNotHandedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := &steppedClock{}
		w := newWorld(t, lazy, func(c *core.Config) { c.Store = clockedStore{core.NewMemoryStore(), clock} })
		w.imported()
		old := w.token()
		time.Sleep(2 * time.Hour)
		if _, err := w.m.Import(t.Context(), core.ImportRequest{Tenant: tenant, Client: main, Account: "bob@example.com", RefreshToken: w.vendor.seed("bob's")}); err != nil {
			t.Fatal(err)
		}
		w.close()
		clock.step(-90 * time.Minute)
		w.m = w.start()
		defer w.close()
		if tok := w.token(); tok.AccessToken.Equal(old.AccessToken) || tok.Generation != 2 {
			t.Errorf("generation %d, which the vendor issued two hours ago", tok.Generation)
		}
	})
}
