//go:build heavy

package cluster

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/system"
)

// held is a fleet with a refresh of every account under way, which the vendor holds: of accounts with an even number it has
// acted by then, of others not.
type held struct {
	*fleet
	asks  *client.Client
	size  int
	gates map[string]gate
	work  sync.WaitGroup // of those who asked for the refreshes
	most  []uint64       // the highest generation that was seen of each account
}

func actedOn(n int) bool { return n%2 == 0 }

// hold starts a fleet and the refreshes.
func hold(t *testing.T, size int, start func(*testing.T, *vendor) *fleet) *held {
	t.Helper()
	h := &held{size: size, gates: map[string]gate{}, most: make([]uint64, size)}
	for n := range size {
		h.gates[account(n)] = gate{acted: actedOn(n), open: make(chan struct{})}
	}
	h.fleet = start(t, openVendor(t, time.Hour, 0, h.gates))
	h.asks = h.service()
	for n := range size {
		if err := h.bring(h.asks, n, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	// All begin together: a replica waits ten seconds for an answer.
	for n := range size {
		h.work.Go(func() { h.refresh(n) })
	}
	t.Cleanup(h.work.Wait)
	system.Await(t, time.Minute, "each refresh is at the vendor", func() bool {
		for n := range size {
			if len(h.vendor.of(account(n))) == 0 {
				return false
			}
		}
		return true
	})
	return h
}

// refresh asks for a refresh until one is at the vendor: within a second of the import the imported token is the answer.
func (h *held) refresh(n int) {
	for len(h.vendor.of(account(n))) == 0 && h.t.Context().Err() == nil {
		// Whoever asks a replica that is stopped then gets no answer.
		ctx, cancel := context.WithTimeout(h.t.Context(), 10*time.Second)
		_, _ = h.asks.Refresh(ctx, selector(n))
		cancel()
	}
}

// of returns the accounts that a replica is refreshing.
func (h *held) of(replica int) []int {
	var list []int
	for n := range h.size {
		for _, p := range h.vendor.of(account(n)) {
			if p[0].door == replica {
				list = append(list, n)
			}
		}
	}
	return list
}

// victim returns a replica that refreshes accounts of both kinds.
func (h *held) victim() int {
	h.t.Helper()
	for replica := range replicas {
		kinds := map[bool]bool{}
		for _, n := range h.of(replica) {
			kinds[actedOn(n)] = true
		}
		if len(kinds) == 2 {
			return replica
		}
	}
	h.t.Fatal("no replica refreshes accounts of both kinds")
	return 0
}

// release opens the gates of the accounts that which reports true for.
func (h *held) release(which func(n int) bool) {
	for n := range h.size {
		if g := h.gates[account(n)]; which(n) {
			close(g.open)
		}
	}
}

// await waits until a grant is as wanted, and holds that its generation never goes back. One of the replicas may be stopped,
// so a request may get no answer.
func (h *held) await(n int, what string, wanted func(client.Grant) bool) {
	h.t.Helper()
	var last client.Grant
	deadline := time.Now().Add(90 * time.Second)
	for !wanted(last) {
		if time.Now().After(deadline) {
			h.t.Fatalf("%s is not %s: %+v, presented %v", account(n), what, last, h.vendor.of(account(n)))
		}
		ctx, cancel := context.WithTimeout(h.t.Context(), time.Second)
		g, err := h.asks.Grant(ctx, selector(n))
		cancel()
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, client.TemporarilyUnavailable) {
				h.t.Fatal(err)
			}
			continue
		}
		if g.Generation < h.most[n] {
			h.t.Errorf("%s went from generation %d to %d", g.Account, h.most[n], g.Generation)
		}
		last, h.most[n] = g, max(g.Generation, h.most[n])
		time.Sleep(20 * time.Millisecond) // between polls
	}
}

// settled says that a grant's claim was settled by another replica, which does not know what became of it.
func settled(g client.Grant) bool {
	return g.State == core.Active && g.Generation == 1 && hasWarning(g, core.WarnOutcomeUnknown)
}

// refreshed says that the grant has its second token set, and nothing is in doubt.
func refreshed(g client.Grant) bool {
	return g.State == core.Active && g.Generation == 2 && !hasWarning(g, core.WarnOutcomeUnknown)
}

func hasWarning(g client.Grant, w core.Warning) bool {
	for _, have := range g.Warnings {
		if have == w {
			return true
		}
	}
	return false
}

// wantPresented holds how often each refresh token of the account was presented.
func (h *held) wantPresented(n, times int) {
	h.t.Helper()
	if got := h.vendor.of(account(n)); len(got) != 1 {
		h.t.Errorf("%d refresh tokens of %s were presented, want 1", len(got), account(n))
	}
	for _, list := range h.vendor.of(account(n)) {
		if len(list) != times {
			h.t.Errorf("the refresh token of %s was presented %d times, want %d", account(n), len(list), times)
		}
	}
}

// lastTry has a caller report that the vendor refuses the access token of a grant in doubt.
func (h *held) lastTry(n int) {
	h.t.Helper()
	tok, err := h.asks.Report(h.t.Context(), selector(n), 1)
	if err != nil {
		h.t.Errorf("the last try of %s: %v", account(n), err)
		return
	}
	if live, err := h.vendor.live(tok.AccessToken.Reveal()); err != nil || !live {
		h.t.Errorf("the vendor does not take the token of %s: %v", account(n), err)
	}
}

// stop stops a replica, which is woken by the test or at its end.
func stop(t *testing.T, d *system.Daemon) {
	t.Helper()
	d.Signal(syscall.SIGSTOP)
	t.Cleanup(func() { d.Signal(syscall.SIGCONT) })
}

// TestReplicaStoppedAcrossItsClaim stops a replica while the vendor holds its calls, and wakes it after the others have
// settled its claims. What the vendor had done by then counts; what it had not done is tried once more.
func TestReplicaStoppedAcrossItsClaim(t *testing.T) {
	t.Parallel()
	h := hold(t, 16, startFleet)
	victim := h.victim()
	theirs := h.of(victim)
	stop(t, h.daemons[victim])
	mine := map[int]bool{}
	for _, n := range theirs {
		mine[n] = true
	}
	// The answers to the stopped replica wait for it; what the vendor did not do for it, it does not do later.
	h.release(func(n int) bool { return actedOn(n) || !mine[n] })
	for n := range h.size {
		if mine[n] {
			h.await(n, "settled", settled)
		} else {
			h.await(n, "refreshed", refreshed)
		}
	}
	h.daemons[victim].Signal(syscall.SIGCONT)
	for _, n := range theirs {
		if actedOn(n) {
			h.await(n, "refreshed by the one who woke", refreshed)
		}
	}
	system.Await(t, time.Minute, "the one who woke is ready", h.daemons[victim].Ready)
	h.release(func(n int) bool { return !actedOn(n) && mine[n] })
	for n := range h.size {
		times := 1
		if mine[n] && !actedOn(n) {
			h.lastTry(n)
			times = 2
		}
		h.await(n, "refreshed", refreshed)
		h.wantPresented(n, times)
	}
	if reused := h.vendor.Stats().RefreshTokensReused; reused != 0 {
		t.Errorf("a spent refresh token came back %d times", reused)
	}
	t.Logf("replica %d was stopped with %d claims", victim, len(theirs))
}

// TestReplicaCutOffFromNATS cuts a replica off from the records while the vendor holds its calls. It cannot write the outcomes,
// and does so when it is connected again, after the others have settled its claims.
func TestReplicaCutOffFromNATS(t *testing.T) {
	t.Parallel()
	h := hold(t, 16, startRelayed)
	victim := h.victim()
	theirs := len(h.of(victim))
	h.relays[victim].hold()
	h.release(func(int) bool { return true })
	system.Await(t, 2*time.Minute, "their claims are settled", func() bool { return h.said(claimSettled) >= theirs })
	h.relays[victim].pass()
	for n := range h.size {
		h.await(n, "refreshed", refreshed)
		h.wantPresented(n, 1)
	}
	if n := h.said(`"reason":"recovered"`); n < theirs {
		t.Errorf("%d results came late and were kept, want %d", n, theirs)
	}
	t.Logf("replica %d was cut off with %d claims", victim, theirs)
}
