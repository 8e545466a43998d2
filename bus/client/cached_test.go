package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

func TestManyCallersMakeOneRequest(t *testing.T) {
	t.Parallel()
	k := startCaching(t)
	gate := make(chan struct{})
	k.answers(func(wire.Endpoint, *nats.Msg) (any, error) { <-gate; return issue(1, ""), nil })
	var callers sync.WaitGroup
	for i := range 200 {
		callers.Go(func() {
			var opts []client.TokenOption
			if i%2 == 0 {
				opts = append(opts, client.MinTTL(time.Minute))
			}
			if _, err := k.Token(testContext(t), grantOne, opts...); err != nil {
				t.Error(err)
			}
		})
	}
	until(t, "the daemon was asked", func() bool { return k.daemon.count(wire.TokenGet) > 0 })
	close(gate)
	callers.Wait()
	if n := k.daemon.count(wire.TokenGet); n > 2 { // one with min_ttl, one without
		t.Errorf("%d requests", n)
	}
}

func TestCallerWhoGivesUpTakesNobodyAlong(t *testing.T) {
	t.Parallel()
	k := startCaching(t)
	asked, gate := make(chan struct{}), make(chan struct{})
	k.answers(func(wire.Endpoint, *nats.Msg) (any, error) {
		if asked != nil {
			close(asked)
			asked = nil
			<-gate
		}
		return issue(1, ""), nil
	})
	ctx, cancel := context.WithCancel(testContext(t))
	first, second, waits := make(chan error, 1), make(chan error, 1), asked
	go func() { _, err := k.Token(ctx, grantOne); first <- err }()
	<-waits
	go func() { _, err := k.Token(testContext(t), grantOne); second <- err }()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first: %v", err)
	}
	close(gate)
	if err := <-second; err != nil {
		t.Errorf("the second: %v", err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	n := startNATS(t)
	startDaemon(t, n, func(_ wire.Endpoint, m *nats.Msg) (any, error) {
		var r wire.TokenGetRequest
		if err := json.Unmarshal(m.Data, &r); err != nil {
			return nil, err
		}
		tok := issue(1, "")
		tok.Grant = core.GrantID("default", r.Client, r.Account)
		return tok, nil
	})
	c, _ := cached(t, newClient(t, dial(t, n)))
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for j := range 600 {
				if _, err := c.Token(testContext(t), client.Selector{Client: "main", Account: fmt.Sprint(i, "-", j)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	if tokens, room := c.Kept(); tokens < 4000 || room != 4096 {
		t.Errorf("it keeps %d tokens, and has room for %d", tokens, room)
	}
}

func TestCachedSaysWhereEventsAreNotHeard(t *testing.T) {
	t.Parallel()
	n := startNATS(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{"esign.api.>"}}, Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}}}}}
	})
	_, _, err := newClient(t, dial(t, n, nats.UserInfo("u", "p"))).Cached(testContext(t))
	if !errors.Is(err, client.AccessDenied) || !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("got %v", err)
	}
}

// What another service does reaches the cache by the real events, whatever NATS lets a service do.
func TestCacheHearsOfWhatOthersDo(t *testing.T) {
	t.Parallel()
	underEachAuth(t, func(t *testing.T, e *esignd, opts []nats.Option) {
		c, _ := cached(t, e.client(t, opts...))
		e.connect(t, "alice", "r1")
		ctx := testContext(t)
		token := func() client.Token {
			tok, err := c.Token(ctx, alice)
			for errors.Is(err, client.TemporarilyUnavailable) { // the store is slow on a machine that is busy
				tok, err = c.Token(ctx, alice)
			}
			if err != nil {
				t.Fatal(err)
			}
			return tok
		}
		first := token()
		until(t, "it is kept", func() bool { token(); n, _ := c.Kept(); return n == 1 })
		e.connect(t, "alice", "r2")
		until(t, "the new one is handed out", func() bool { return token().Generation == first.Generation+1 })
		if _, err := e.manager.Revoke(ctx, core.Selector{Tenant: "default", Client: "main", Account: "alice"}, ""); err != nil {
			t.Fatal(err)
		}
		until(t, "none is handed out", func() bool { _, err := c.Token(ctx, alice); return errors.Is(err, client.ReauthorizationRequired) })
		if _, err := c.Token(ctx, alice); err == nil {
			t.Error("one is handed out again")
		}
	})
}
