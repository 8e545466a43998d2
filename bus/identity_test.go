package bus

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/wire"
)

// identify puts a service in the place of the daemon's that answers grant.get with who asks.
func (d *daemon) identify(t *testing.T) {
	t.Helper()
	if err := d.service.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	s, err := NewService(ServiceConfig{Conn: d.Conn, Manager: d.manager, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range s.endpoints {
		e.read = func(string, []byte) (job, wire.Selector, error) {
			return func(ctx context.Context) (any, error) {
				id, ok := IdentityOf(ctx)
				if !ok {
					return nil, errors.New("there is no identity")
				}
				return id, nil
			}, wire.Selector{}, nil
		}
	}
	if err := s.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeIn(t, 10*time.Second, s.Close) })
}

func askWho(t *testing.T, nc *nats.Conn, header nats.Header) Identity {
	t.Helper()
	m, err := nc.RequestMsg(&nats.Msg{Subject: "esign.api.default.grant.get", Header: header}, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var id Identity
	if err := json.Unmarshal(m.Data, &id); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestRequestsTellWhoAsks(t *testing.T) {
	t.Parallel()
	forged := nats.Header{requestInfo: {`{"acc":"ESIGND_default_desk","user":"root"}`}}
	g := openGuests(t)
	startDaemon(t, g.Bus, nil).identify(t)
	billing := g.proofs["billing"]
	want := Identity{Tenant: "default", Service: "billing", Account: "ESIGND_default_billing", User: billing.NKey}
	if got := askWho(t, dialOutside(t, g.Bus, billing.Options()...), forged); got != want {
		t.Errorf("a service: %+v, want %+v", got, want)
	}
	anybody := openBus(t, embeddedConfig(t.TempDir()))
	startDaemon(t, anybody, nil).identify(t)
	if got := askWho(t, dialOutside(t, anybody), forged); got != (Identity{Tenant: "default"}) {
		t.Errorf("anybody: %+v, want the tenant alone", got)
	}
}
