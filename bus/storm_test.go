package bus

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
)

// storm is many grants whose tokens end one after the other while nobody can refresh them.
type storm struct {
	size int

	mu    sync.Mutex
	order []int // the grants by their place in the order of expiry, as they were refreshed
}

// gated are timers that are armed and not worked until the gate is opened.
type gated struct {
	core.Timers
	gate chan struct{}
}

func (g gated) Work(ctx context.Context, vendor string, limit int, fn func(context.Context, core.Due) error) error {
	select {
	case <-g.gate:
		return g.Timers.Work(ctx, vendor, limit, fn)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// manage starts a Manager on a Bus, which works no timers until the gate is opened.
func (s *storm) manage(t *testing.T, b *Bus, gate chan struct{}) *core.Manager {
	t.Helper()
	vendor := &acme{}
	vendor.answer(s.refresh)
	m, err := core.New(core.Config{
		Clients: clients()[:1], Adapters: core.AdapterMap{"acme": vendor}, Store: b.Store(), Publisher: b.Publisher(),
		Timers: gated{b.Timers(), gate}, Spool: b.Spool(), Owner: b.Owner, Logger: quiet(),
	})
	if err == nil {
		err = m.Start(testContext(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// refresh is the vendor, which takes a moment.
func (s *storm) refresh(_ context.Context, r core.TokenRequest) (core.TokenResponse, error) {
	var place int
	if _, err := fmt.Sscanf(r.RefreshToken.Reveal(), "seed-%d", &place); err != nil {
		return core.TokenResponse{}, &core.VendorError{Outcome: core.Refused, Code: core.CodeInvalidGrant, Status: 400}
	}
	s.mu.Lock()
	s.order = append(s.order, place)
	s.mu.Unlock()
	time.Sleep(20 * time.Millisecond)
	return core.TokenResponse{
		AccessToken: core.NewSecret(fmt.Sprint("access-", place)), TokenType: "Bearer", ExpiresIn: 24 * time.Hour,
		RefreshToken: core.NewSecret(fmt.Sprint("refresh-", place)),
	}, nil
}

func (s *storm) refreshed() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.order)
}

// brew writes grants whose tokens have ended, each a second after the one before, and arms their timers, in an order of its
// own. It returns when the last of them is due.
func (s *storm) brew(t *testing.T, b *Bus) (due time.Time) {
	t.Helper()
	ctx, begun := testContext(t), time.Now()
	for k := range s.size {
		place := k * 7919 % s.size
		account := fmt.Sprint("account-", place)
		id := core.GrantID("default", "main", account)
		age := time.Hour + time.Since(begun) + time.Duration(s.size-place)*time.Second
		put(t, b.Store(), core.Record{
			Key: "grant." + id, Secret: fmt.Appendf(nil, `{"access_token":"given-%d","refresh_token":"seed-%[1]d"}`, place),
			Public: fmt.Appendf(nil, `{"format":1,"id":%q,"tenant":"default","client":"main","vendor":"acme","account":%q,"state":"active","consent":"c","generation":1,"lifetime":%d,"age":%d}`,
				id, account, time.Hour, age),
		})
		due = time.Now().Add(time.Second)
		if err := b.Timers().Arm(ctx, "acme", id, due); err != nil {
			t.Fatal(err)
		}
	}
	return due
}

// pass waits until all are refreshed, and checks the order.
func (s *storm) pass(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); len(s.refreshed()) < s.size && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	order := s.refreshed()
	if len(order) != s.size {
		t.Fatalf("%d refreshes of %d grants", len(order), s.size)
	}
	off := make([]int, 0, s.size)
	for n, place := range order {
		off = append(off, max(n-place, place-n))
	}
	slices.Sort(off)
	t.Logf("places away from the order of expiry: median %d, 90%% %d, 99%% %d, most %d", off[s.size/2], off[s.size*9/10], off[s.size*99/100], off[s.size-1])
	// A vendor has 64 calls at once, and as many looks may wait for one.
	if off[s.size*9/10] > 128 {
		t.Errorf("a tenth of %d grants were refreshed %d places and more from their own: who ends first does not go first", s.size, off[s.size*9/10])
	}
}

func TestStormAfterAnOutageOfNATSIsInTheOrderOfExpiry(t *testing.T) {
	t.Parallel()
	server := startExternal(t, nil)
	b := openBus(t, externalConfig(t, server.ClientURL()))
	s := &storm{size: 300}
	gate := make(chan struct{})
	m := s.manage(t, b, gate)
	defer closeIn(t, time.Minute, m.Close)
	due := s.brew(t, b)
	server.stop()
	time.Sleep(time.Until(due.Add(3 * time.Second)))
	server.restart(t)
	close(gate)
	s.pass(t)
}

func TestStormAfterAnOutageOfEsigndIsInTheOrderOfExpiry(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	s := &storm{size: 300}
	time.Sleep(time.Until(s.brew(t, b)))
	gate := make(chan struct{})
	close(gate)
	m := s.manage(t, b, gate)
	defer closeIn(t, time.Minute, m.Close)
	s.pass(t)
}
