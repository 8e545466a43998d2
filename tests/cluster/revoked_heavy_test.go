//go:build heavy

package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/tests/system"
)

// revocationBound is for how long another replica may go on handing out a revoked token, as docs/scaling.md says.
const revocationBound = 2 * time.Second

// slack is for what a busy machine adds between a replica and the caller who measures.
const slack = time.Second

// exposure is how long after the request to revoke it was sent, and after it was answered, a token came, and for how long it was
// on its way at most, which says nothing of the replica.
type exposure struct{ sinceAsked, sinceAnswered, way time.Duration }

// revocation is an account that is revoked while others ask for its token.
type revocation struct {
	ask, revoke *client.Client
	account     int
	served      chan struct{} // closed when its token was handed out once
}

// measure revokes when start is closed, and returns for how long the token was handed out.
func (r revocation) measure(ctx context.Context, start <-chan struct{}) (exposure, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var last time.Time
	var poll errgroup.Group
	poll.Go(func() (err error) {
		last, err = r.poll(ctx)
		return err
	})
	<-start
	asked, answered, err := r.end(ctx)
	// Whoever hands it out at all does so within twice the bound.
	time.AfterFunc(2*revocationBound, cancel)
	if err = errors.Join(err, poll.Wait()); err != nil {
		return exposure{}, err
	}
	return exposure{sinceAsked: max(0, last.Sub(asked)), sinceAnswered: max(0, last.Sub(answered))}, nil
}

// end revokes. The replica that is cut off answers nothing, so whoever gets no answer asks again.
func (r revocation) end(ctx context.Context) (asked, answered time.Time, err error) {
	for {
		asking, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		asked = time.Now()
		_, err = r.revoke.Revoke(asking, selector(r.account), "measured")
		answered = time.Now()
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, client.TemporarilyUnavailable) {
			return asked, answered, err
		}
	}
}

// poll asks for the token until ctx ends, and returns when an answer last brought it.
func (r revocation) poll(ctx context.Context) (last time.Time, err error) {
	for {
		_, err := r.ask.Token(ctx, selector(r.account))
		switch {
		case err == nil && last.IsZero():
			close(r.served)
			fallthrough
		case err == nil:
			last = time.Now()
		case ctx.Err() != nil:
			return last, nil
		case !errors.Is(err, client.ReauthorizationRequired) && !errors.Is(err, client.TemporarilyUnavailable):
			return last, err
		}
		pause(ctx, 2*time.Millisecond)
	}
}

// TestRevokedTokenIsHandedOutNoLongerThanTheBound measures how long replicas hand out a token after it was revoked at another:
// while all is well, and while one of them hears nothing from NATS but its callers' requests.
func TestRevokedTokenIsHandedOutNoLongerThanTheBound(t *testing.T) {
	t.Parallel()
	const together = 10 // accounts of a round
	calm, cutOff := 2, 2
	if large() {
		calm, cutOff = 20, 20
	}
	v := openVendor(t, time.Hour, 0, nil)
	f := startRelayed(t, v)
	cut := f.relays[2]
	pollers, revoker := make([]*client.Client, together), f.service()
	for i := range pollers {
		pollers[i] = f.service()
	}
	measured := map[string][]exposure{}
	for round := range calm + cutOff {
		kind, before := "calm", func() {}
		if round >= calm {
			kind, before = "one replica cut off", cut.hold
		}
		list := make([]revocation, together)
		for i := range list {
			n := round*together + i
			if err := f.bring(revoker, n, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			list[i] = revocation{ask: pollers[i], revoke: revoker, account: n, served: make(chan struct{})}
		}
		measured[kind] = append(measured[kind], measureAll(t, f.connect(), list, before)...)
		cut.pass()
		system.Await(t, time.Minute, "all replicas are ready", func() bool {
			return !slices.ContainsFunc(f.daemons, func(d *system.Daemon) bool { return !d.Ready() })
		})
	}
	for kind, list := range measured {
		judgeExposure(t, kind, list)
	}
	if slices.MaxFunc(measured["one replica cut off"], byAnswer).sinceAnswered < 100*time.Millisecond {
		t.Error("the replica that was cut off handed out no revoked token, so nothing was measured")
	}
}

// measureAll measures revocations at the same time. before is called when each token is being handed out. How long an answer was
// on its way is at most what nc waited meanwhile for one about no token.
func measureAll(t *testing.T, nc *nats.Conn, list []revocation, before func()) []exposure {
	t.Helper()
	found, start := make([]exposure, len(list)), make(chan struct{})
	var all errgroup.Group
	for i, r := range list {
		all.Go(func() (err error) {
			found[i], err = r.measure(t.Context(), start)
			return err
		})
	}
	for _, r := range list {
		<-r.served
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ways errgroup.Group
	var way time.Duration
	ways.Go(func() (err error) {
		way, err = longestWay(ctx, nc)
		return err
	})
	before()
	close(start)
	err := all.Wait()
	cancel()
	if err = errors.Join(err, ways.Wait()); err != nil {
		t.Fatal(err)
	}
	for i := range found {
		found[i].way = way
	}
	return found
}

// longestWay sends what is no request until ctx ends, which each replica refuses at once, and returns the longest time that took.
func longestWay(ctx context.Context, nc *nats.Conn) (longest time.Duration, err error) {
	for {
		sent := time.Now()
		m, err := nc.RequestWithContext(ctx, "esign.api.default.token.get", []byte("{"))
		longest = max(longest, time.Since(sent))
		switch {
		case ctx.Err() != nil:
			return longest, nil
		case err != nil:
			return longest, err
		case m.Header.Get("Nats-Service-Error-Code") != "invalid_request":
			return longest, fmt.Errorf("what is no request is answered %v: %s", m.Header, m.Data)
		}
		pause(ctx, 2*time.Millisecond)
	}
}

func byAnswer(a, b exposure) int { return int(a.sinceAnswered - b.sinceAnswered) }

func judgeExposure(t *testing.T, kind string, list []exposure) {
	t.Helper()
	slices.SortFunc(list, byAnswer)
	median, most := list[len(list)/2], list[len(list)-1]
	for _, e := range list {
		if e.sinceAnswered > revocationBound+slack+e.way {
			t.Errorf("%s: a revoked token came %s after the revocation was answered, on its way for at most %s", kind, e.sinceAnswered, e.way)
		}
	}
	t.Logf("%s: after %d revocations the token was handed out for p50 %s, at most %s from the answer; p50 %s from the request", kind, len(list),
		median.sinceAnswered.Round(time.Millisecond), most.sinceAnswered.Round(time.Millisecond), median.sinceAsked.Round(time.Millisecond))
}
