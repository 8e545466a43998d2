package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/esignd/esignd/bus/client"
	adobe "github.com/esignd/esignd/plugins/adobesign/sandbox"
	"github.com/esignd/esignd/tests/system"
)

// TestManyCallersCauseOneRefresh lets fifty callers ask at once for a token that has expired. The first of them gives
// up while the vendor is thinking; the refresh goes on for the others.
func TestManyCallersCauseOneRefresh(t *testing.T) {
	t.Parallel()
	clients := system.World{Lifetime: 4 * time.Second}.Mains(t, "lazy")
	d := startDaemon(t, system.Options{Clients: clients})
	cl := d.Dial()
	old := map[string]client.Token{}
	for _, r := range clients {
		connect(t, cl, r.Name, "many@example.com")
		old[r.Name] = system.Must(cl.Token(t.Context(), client.Selector{Client: r.Name, Account: "many@example.com"}))(t)
	}
	for _, r := range clients {
		awaitExpired(t, old[r.Name])
		manyAsk(t, d, r, old[r.Name])
	}
}

func manyAsk(t *testing.T, d *system.Daemon, r system.Registration, old client.Token) {
	t.Helper()
	const connections, callers = 5, 50
	sel := client.Selector{Client: r.Name, Account: "many@example.com"}
	thinking := make(chan struct{})
	// esignd waits ten seconds for the vendor, so that what takes time is done before.
	nc, early := connectPlain(t, d), d.Dial()
	cls := make([]*client.Client, connections)
	for c := range cls {
		cls[c] = d.Dial()
	}
	r.Box.FailNext(1, adobe.Fault{Wait: thinking}) // slow, and right in the end
	before := r.Box.Stats().TokenRequests["refresh_token"]

	hasty, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error, 1)
	go func() {
		_, err := early.Token(hasty, sel)
		gaveUp <- err
	}()
	system.Await(t, time.Minute, "the vendor is asked", func() bool { return r.Box.Stats().TokenRequests["refresh_token"] == before+1 })
	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller that gave up got %v", err)
	}

	tokens := make([]client.Token, callers)
	var group errgroup.Group
	for c, cl := range cls {
		for i := c; i < callers; i += connections {
			group.Go(func() (err error) {
				tokens[i], err = cl.Token(t.Context(), sel)
				return err
			})
		}
	}
	system.Await(t, time.Minute, "all callers wait for the refresh", func() bool { return discover(t, nc, "token-get")["pending"].(float64) >= callers })
	close(thinking)
	if err := group.Wait(); err != nil {
		t.Errorf("%s: a caller got %v", r.Vendor, err)
	}
	if n := r.Box.Stats().TokenRequests["refresh_token"] - before; n != 1 {
		t.Errorf("%s: %d callers caused %d refreshes", r.Vendor, callers, n)
	}
	for _, tok := range tokens {
		if tok.Generation != old.Generation+1 || !tok.AccessToken.Equal(tokens[0].AccessToken) || tok.AccessToken.Equal(old.AccessToken) {
			t.Fatalf("%s: a caller got generation %d, and not the token that all got", r.Vendor, tok.Generation)
		}
	}
}

// discover returns what discovery tells of an endpoint.
func discover(t testing.TB, nc *nats.Conn, endpoint string) map[string]any {
	t.Helper()
	m := system.Must(nc.Request("$SRV.STATS.esignd", nil, 20*time.Second))(t)
	var stats struct {
		Endpoints []struct {
			Name string
			Data map[string]any
		}
	}
	if err := json.Unmarshal(m.Data, &stats); err != nil {
		t.Fatal(err)
	}
	for _, e := range stats.Endpoints {
		if e.Name == endpoint {
			return e.Data
		}
	}
	t.Fatalf("discovery knows no endpoint %s: %s", endpoint, m.Data)
	return nil
}

// connectPlain connects a program that is no esignd client.
func connectPlain(t testing.TB, d *system.Daemon) *nats.Conn {
	t.Helper()
	nc := system.Must(nats.Connect(d.NATSURL()))(t)
	t.Cleanup(nc.Close)
	return nc
}
