package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
)

// asking asks for tokens as long as it may. It never gets one that is older than the one before.
func asking(ctx context.Context, t *testing.T, c *client.Client) {
	var newest uint64
	for pace := time.NewTicker(time.Millisecond); ctx.Err() == nil; <-pace.C {
		tok, err := c.Token(ctx, alice)
		switch {
		case err == nil && tok.Generation < newest:
			t.Errorf("generation %d after %d", tok.Generation, newest)
		case err == nil:
			newest = tok.Generation
		case ctx.Err() == nil && !errors.Is(err, client.TemporarilyUnavailable):
			t.Errorf("a token: %v", err)
		}
	}
}

func TestEverythingOutlivesRestartsOfTheServer(t *testing.T) {
	t.Parallel()
	e := startEsignd(t, nil)
	c := e.client(t)
	kept, _ := cached(t, e.client(t))
	e.connect(t, "alice", "r0")
	bob, err := e.manager.Authorize(testContext(t), core.AuthorizeRequest{Tenant: "default", Client: "main", Account: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	waits := startReady(t, c, client.Selector{Grant: bob.Grant}, never)
	heard := startWatch(t, c, client.WatchConfig{Durable: "billing", Types: []client.EventType{client.TokenIssued}})
	ctx, cancel := context.WithCancel(testContext(t))
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel()
	for _, as := range []*client.Client{c, kept, kept} {
		workers.Go(func() { asking(ctx, t, as) })
	}
	until(t, "the watch has its consumer", func() bool { return e.watched(t, "default_billing") })
	for round := range 2 {
		e.end(t)
		e.begin(t)
		g := e.connect(t, "alice", fmt.Sprint("r", round+1))
		until(t, "the new token is kept and handed out", func() bool {
			tok, err := kept.Token(ctx, alice)
			n, _ := kept.Kept()
			return err == nil && tok.Generation == g.Generation && n == 1
		})
		if ev := <-heard.heard; ev.Grant != g.Grant || ev.Generation != g.Generation {
			t.Errorf("the watch heard %+v, want generation %d", ev, g.Generation)
		}
		waits.parked(t)
	}
	e.connect(t, "bob", "b1")
	if err := waits.end(t); err != nil {
		t.Error(err)
	}
}
