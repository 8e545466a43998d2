package core_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/esignd/esignd/core"
)

// fleet is what survives a crash: the store, the published events, the timers, the disks of the machines, the vendor.
type fleet struct {
	vendor    *strictVendor
	store     *core.MemoryStore
	publisher *core.MemoryPublisher
	timers    *core.MemoryTimers
	policy    core.Policy

	began time.Time
	tasks sync.WaitGroup

	mu       sync.Mutex
	spools   map[string]*core.MemorySpool // by folder
	replicas []*replica
	writes   []write
	events   []publication
	trace    []string
	wrong    []string // what should never have been seen
	// meddle says what goes wrong where a replica touches the outside; nil is nothing. It is called under mu.
	meddle func(r *replica, place string) *trouble
}

// trouble is what happens at one touch of the outside.
type trouble struct {
	kind kind
	d    time.Duration
}

// kind is a kind of trouble.
type kind string

const (
	crash  kind = "crash"  // the process dies here
	fail   kind = "fail"   // before: not done, and an error that says so; after: done, and the answer is lost
	stall  kind = "stall"  // the network holds it up for d; the replica gives up when its own patience ends
	pause  kind = "pause"  // the process stands still for d and then goes on, whatever deadline has passed
	busy   kind = "busy"   // the vendor answers 503
	broken kind = "broken" // the vendor answers 500 and has done nothing
	refuse kind = "refuse" // the vendor answers that it does not accept the client
)

func newFleet(rotates bool, lifetime time.Duration, policy core.Policy) *fleet {
	f := &fleet{
		vendor: newStrictVendor(rotates, lifetime), store: core.NewSlowStore(time.Second), timers: core.NewMemoryTimers(),
		policy: policy, spools: map[string]*core.MemorySpool{}, began: time.Now(),
	}
	f.publisher = core.NewMemoryPublisher(f.published)
	return f
}

func (f *fleet) traceLocked(format string, args ...any) {
	f.trace = append(f.trace, fmt.Sprintf("%10s  ", time.Since(f.began).Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

func (f *fleet) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.traceLocked(format, args...)
}

// complain notes what should never be seen.
func (f *fleet) complain(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrong = append(f.wrong, fmt.Sprintf(format, args...))
	f.traceLocked("WRONG: "+format, args...)
}

// replica is one process: a Manager between start and crash.
type replica struct {
	fleet  *fleet
	name   string
	folder string
	m      *core.Manager
	died   chan struct{}
	once   sync.Once
	ctx    context.Context // ends with the process
	stop   context.CancelFunc

	mu    sync.Mutex
	claim viewAttempt // the last that this process wrote
	deaf  time.Time   // until when the watch is silent
	dark  time.Time   // until when the store does not answer
	end   time.Time   // when the process died
}

var errCrashed = errors.New("the process is dead")

// start starts a process that holds the lock of a data folder.
func (f *fleet) start(folder string) (*replica, error) {
	f.mu.Lock()
	if f.spools[folder] == nil {
		f.spools[folder] = core.NewMemorySpool()
	}
	r := &replica{fleet: f, folder: folder, name: fmt.Sprintf("%s%d", folder, len(f.replicas)), died: make(chan struct{})}
	f.replicas = append(f.replicas, r)
	spool := f.spools[folder]
	whole := -(len(f.replicas) % 2) // every other process keeps no grant whole in memory
	f.traceLocked("%s starts", r.name)
	f.mu.Unlock()
	r.ctx, r.stop = context.WithCancel(context.Background())
	var err error
	r.m, err = core.New(core.Config{
		Clients: []core.Client{{Name: main, Vendor: "acme", Credentials: core.Credentials{ClientID: "id", ClientSecret: core.NewSecret("client-secret")},
			Scopes: []string{"sign"}, Tenants: []string{tenant}, RedirectURIs: []string{"https://svc.example/cb"}, Policy: f.policy}},
		Adapters: core.AdapterMap{"acme": wire{r, f.vendor}}, Store: ground{r}, Publisher: speaker{r}, Timers: clock{f.timers, r},
		Spool: disk{spool, r}, CachedGrants: whole, Owner: func() string { return folder }, Logger: slog.New(journal{r}), PublicURL: "http://127.0.0.1:8080",
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.ctx, 10*time.Second)
	defer cancel()
	if err := r.m.Start(ctx); err != nil {
		r.kill("its start failed: " + err.Error())
		return nil, err
	}
	return r, nil
}

// kill ends the process where it stands: nothing that it does from here on reaches anything.
func (r *replica) kill(where string) {
	r.once.Do(func() {
		r.fleet.note("%s dies: %s", r.name, where)
		r.mu.Lock()
		r.end = time.Now()
		r.mu.Unlock()
		close(r.died)
		r.stop()
		// Only the goroutines are left to be collected.
		r.fleet.tasks.Go(func() { _ = r.m.Close(r.ctx) })
	})
}

func (r *replica) dead() bool { return r.ctx.Err() != nil }

// reach is called where a replica touches the outside. It returns nil where the touch goes on.
func (r *replica) reach(ctx context.Context, place string) *trouble {
	if r.dead() {
		return &trouble{kind: crash}
	}
	var t *trouble
	r.fleet.mu.Lock()
	if r.fleet.meddle != nil {
		t = r.fleet.meddle(r, place)
	}
	r.fleet.mu.Unlock()
	if t == nil {
		return nil
	}
	r.fleet.note("%s: %s at %s %v", r.name, t.kind, place, t.d)
	switch t.kind {
	case crash:
		r.kill(place)
	case pause:
		time.Sleep(t.d)
		if !r.dead() {
			return nil
		}
		return &trouble{kind: crash}
	case stall:
		until := time.Now().Add(t.d)
		select {
		case <-time.After(t.d):
			return nil
		case <-ctx.Done():
		case <-r.died:
		}
		return &trouble{kind: stall, d: time.Until(until)}
	}
	return t
}

// pass is reach for what has no more to say than an error.
func (r *replica) pass(ctx context.Context, place string) error {
	t := r.reach(ctx, place)
	switch {
	case t == nil:
		return nil
	case r.dead():
		return errCrashed
	case t.kind == stall && ctx.Err() != nil:
		return ctx.Err()
	}
	return errBroken
}

// claimed is the claim that this process acts on.
func (r *replica) claimed() viewAttempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.claim
}

// folders returns the data folders there are.
func (f *fleet) folders() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var fs []string
	for folder := range maps.Keys(f.spools) {
		fs = append(fs, folder)
	}
	return fs
}

// end closes what lives and waits for what is dead.
func (f *fleet) end() {
	f.heal()
	f.mu.Lock()
	rs := f.replicas
	f.mu.Unlock()
	for _, r := range rs {
		r.kill("the end")
	}
	f.tasks.Wait()
}

// heal ends all trouble to come.
func (f *fleet) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.meddle = nil
}

// strike has one thing go wrong, where a place is reached for the nth time from now on. It returns whether that was.
func (f *fleet) strike(place string, nth int, t trouble) (reached func() bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.meddle = func(_ *replica, at string) *trouble {
		if at != place {
			return nil
		}
		if nth--; nth != 0 {
			return nil
		}
		return &t
	}
	return func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return nth <= 0
	}
}

// set has trouble come from a function, which is called with the fleet locked.
func (f *fleet) set(meddle func(*replica, string) *trouble) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.meddle = meddle
}
