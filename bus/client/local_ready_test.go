package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
)

func newLocal(t *testing.T, m *core.Manager) *client.Local {
	t.Helper()
	l, err := client.NewLocal(m, "default")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// inProcess is an engine in a synctest bubble, with a grant of alice that needs its owner.
type inProcess struct {
	*esignd
	*client.Local
	cfg core.Config
}

func startInProcess(t *testing.T, store core.Store) *inProcess {
	t.Helper()
	p := &inProcess{esignd: &esignd{}}
	p.cfg = core.Config{
		Adapters: core.AdapterMap{"demo": &p.vendor}, Store: store, PublicURL: "https://esignd.example", Logger: quiet(),
		Clients: []core.Client{{Name: "main", Vendor: "demo", Tenants: []string{"default"}}},
	}
	p.manager = p.another(t)
	p.Local = newLocal(t, p.manager)
	p.kill(t, p.connect(t, "alice", "r1"))
	return p
}

// another starts one more Manager on the store.
func (p *inProcess) another(t *testing.T) *core.Manager {
	t.Helper()
	m, err := core.New(p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(t, m.Close) })
	return m
}

func TestLocalWaitReadyIsWokenByTheEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startInProcess(t, core.NewMemoryStore())
		waits := []ready{startReady(t, p, alice, never), startReady(t, p, client.Selector{Grant: core.GrantID("default", "main", "alice")}, never)}
		p.connect(t, "bob", "r2") // wakes nobody
		synctest.Wait()
		for _, w := range waits {
			w.parked(t)
		}
		begun := time.Now()
		p.connect(t, "alice", "r3")
		for _, w := range waits {
			if err := w.end(t); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("the event took %s to wake them", took)
		}
	})
}

// betweenStore does something while it stores a ticket, which is when an answer with a connect URL is under way.
type betweenStore struct {
	*core.MemoryStore
	do atomic.Pointer[func()] // once
}

func (s *betweenStore) Put(ctx context.Context, r core.Record) (uint64, error) {
	if strings.HasPrefix(r.Key, "ticket.") {
		if do := s.do.Swap(nil); do != nil {
			(*do)()
		}
	}
	return s.MemoryStore.Put(ctx, r)
}

func TestLocalWaitReadyMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &betweenStore{MemoryStore: core.NewMemoryStore()}
		p := startInProcess(t, store)
		time.Sleep(time.Hour) // the ticket of before has ended
		between := false
		do := func() { between = true; p.connect(t, "alice", "r2") }
		store.do.Store(&do)
		begun := time.Now()
		if err := startReady(t, p, alice, never).end(t); err != nil || !between {
			t.Errorf("%v; connected between the first answer and the waiting: %t", err, between)
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("it waited for %s", took)
		}
	})
}

func TestLocalWaitReadyEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		end  func(*inProcess, context.CancelFunc) error
		want error
	}{
		"when the grant is revoked": {func(p *inProcess, _ context.CancelFunc) error {
			_, err := p.Revoke(context.Background(), alice, "")
			return err
		}, client.ReauthorizationRequired},
		"with its context":           {func(_ *inProcess, cancel context.CancelFunc) error { cancel(); return nil }, context.Canceled},
		"when the Manager is closed": {func(p *inProcess, _ context.CancelFunc) error { return p.manager.Close(context.Background()) }, client.TemporarilyUnavailable},
		"when the grant is forgotten": {func(p *inProcess, _ context.CancelFunc) error {
			_, err := p.manager.Forget(context.Background(), core.Selector{Tenant: "default", Client: "main", Account: "alice"})
			return err
		}, client.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := startInProcess(t, core.NewMemoryStore())
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := make(chan error, 1)
				go func() { done <- p.WaitReady(ctx, alice) }()
				synctest.Wait()
				ready{done}.parked(t)
				if err := tc.end(p, cancel); err != nil {
					t.Fatal(err)
				}
				if err := <-done; !errors.Is(err, tc.want) {
					t.Errorf("%v, want %v", err, tc.want)
				}
			})
		})
	}
}

// What another process does on the same store is not heard, and found.
func TestLocalWaitReadyAsksByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startInProcess(t, core.NewMemoryStore())
		done := make(chan error, 1)
		go func() { done <- p.WaitReady(t.Context(), alice) }()
		time.Sleep(10 * time.Minute)
		ready{done}.parked(t)
		p.manager = p.another(t)
		p.connect(t, "alice", "r2")
		begun := time.Now()
		if err := <-done; err != nil || time.Since(begun) > 40*time.Second {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
	})
}

// What came before the next question wakes nobody, however much it was; what comes after does.
func TestLocalWaitReadyHearsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startInProcess(t, core.NewMemoryStore())
		hear, end := p.Hearing(alice)
		defer end()
		for i := range 10 {
			p.connect(t, "alice", fmt.Sprint("refresh ", i))
		}
		for _, want := range []bool{true, false} {
			if woken, err := hear(t.Context(), time.Second); err != nil || woken != want {
				t.Fatalf("woken %t, %v; want %t", woken, err, want)
			}
		}
		p.connect(t, "alice", "last")
		if woken, err := hear(t.Context(), never); err != nil || !woken {
			t.Errorf("woken %t, %v", woken, err)
		}
	})
}
