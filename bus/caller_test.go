package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/creds"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// newCaller makes a service and what it proves itself with.
func newCaller(t *testing.T, tenant, name string, role wire.Role) (Caller, creds.Credentials) {
	t.Helper()
	proof, err := creds.New(filepath.Join(t.TempDir(), name), tenant, name)
	if err != nil {
		t.Fatal(err)
	}
	return Caller{Name: name, Tenant: tenant, Role: role, NKeys: []string{proof.NKey}}, proof
}

// tenants are three services of the tenant default and one of another.
type guests struct {
	*Bus
	callers []Caller
	proofs  map[string]creds.Credentials
}

func openGuests(t *testing.T) guests {
	t.Helper()
	g := guests{proofs: map[string]creds.Credentials{}}
	for _, c := range []Caller{
		{Tenant: "default", Name: "billing", Role: wire.Caller}, {Tenant: "default", Name: "desk", Role: wire.Operator},
		{Tenant: "default", Name: "watch", Role: wire.Auditor}, {Tenant: "other", Name: "signing"},
	} {
		caller, proof := newCaller(t, c.Tenant, c.Name, c.Role)
		g.callers, g.proofs[c.Name] = append(g.callers, caller), proof
	}
	cfg := embeddedConfig(t.TempDir())
	cfg.Auth = Auth{Callers: g.callers}
	g.Bus = openBus(t, cfg)
	return g
}

// reserved are the endpoints that only an operator may use.
var reserved = []wire.Endpoint{wire.GrantImport, wire.GrantForget, wire.GrantList}

func TestRolesMayUseTheirEndpoints(t *testing.T) {
	g := openGuests(t)
	sub, err := g.Conn().Subscribe("esign.api.>", func(m *nats.Msg) { _ = m.Respond([]byte(m.Subject)) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := g.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	may := map[string]func(wire.Endpoint) bool{
		"billing": func(e wire.Endpoint) bool { return !slices.Contains(reserved, e) },
		"signing": func(e wire.Endpoint) bool { return !slices.Contains(reserved, e) },
		"desk":    func(wire.Endpoint) bool { return true },
		"watch":   func(wire.Endpoint) bool { return false },
	}
	for _, c := range g.callers {
		nc := dialDenied(t, g.Bus, g.proofs[c.Name].Options()...)
		for _, tenant := range []string{"default", "other"} {
			for _, e := range wire.Endpoints() {
				subject := wire.APISubject("esign", tenant, e)
				if tenant == c.Tenant && may[c.Name](e) {
					if m, err := nc.Request(subject, nil, 5*time.Second); err != nil || string(m.Data) != subject {
						t.Errorf("%s asks on %s: %v", c.Name, subject, err)
					}
					continue
				}
				if err := nc.Publish(subject, nil); err != nil {
					t.Fatal(err)
				}
				nc.wantRefusal(t, c.Name+" asks on "+subject)
			}
		}
	}
}

func TestServicesHearTheirTenantsEventsAndNothingElse(t *testing.T) {
	g := openGuests(t)
	if nc, err := nats.Connect(g.ClientURL()); err == nil {
		nc.Close()
		t.Error("a stranger was let in")
	}
	heard := map[string]*nats.Subscription{}
	for _, c := range g.callers {
		nc := dialDenied(t, g.Bus, g.proofs[c.Name].Options()...)
		own, other := "default", "other"
		if c.Tenant == "other" {
			own, other = other, own
		}
		for _, subject := range []string{
			">", "*.>", "esign.>", "esign.api.>", "esign.event.>", "esign.event.*.>", "esign.event." + other + ".>", "_INBOX.>",
			"_INBOX_" + other + "_signing.>", "_INBOX_" + own + "_x.>", "_R_.>", "$KV.>", "$JS.>", "$JS.API.>", "$JS.ACK.>", "$SRV.>", "$SYS.>",
			"esign.timer.>", "esign.api." + own + ".token.get",
		} {
			if _, err := nc.SubscribeSync(subject); err != nil {
				t.Fatal(err)
			}
			nc.wantRefusal(t, c.Name+" subscribes to "+subject)
		}
		for _, subject := range []string{
			"esign.event." + own + ".token.issued.v.g", "esign.event." + other + ".token.issued.v.g", "$KV.ESIGN.grant.g", "esign.timer.at.v.g",
			"$JS.API.INFO", "$JS.API.STREAM.INFO.ESIGN_EVENTS", "$JS.API.STREAM.MSG.GET.ESIGN_EVENTS", "$JS.API.DIRECT.GET.ESIGN_EVENTS.x",
			"$JS.API.STREAM.PURGE.ESIGN_EVENTS", "$JS.API.STREAM.CREATE.X", "$JS.API.STREAM.INFO.KV_ESIGN", "$JS.API.CONSUMER.LIST.ESIGN_EVENTS",
			"$JS.API.CONSUMER.CREATE.ESIGN_EVENTS", "$JS.API.CONSUMER.CREATE.ESIGN_EVENTS.x", "$JS.API.CONSUMER.DURABLE.CREATE.ESIGN_EVENTS.x",
			"$JS.API.CONSUMER.CREATE.ESIGN_EVENTS." + c.durable() + ".esign.event." + own + ".>",
			"$JS.API.CONSUMER.DELETE.ESIGN_EVENTS." + c.durable(), "$JS.API.CONSUMER.MSG.NEXT.ESIGN_EVENTS.x", "$JS.API.CONSUMER.INFO.ESIGN_EVENTS.x",
			"$JS.ACK.ESIGN_EVENTS.x.1.1.1.1.1", "$SRV.PING", "$SRV.INFO.esignd", "$SYS.REQ.USER.INFO", "_INBOX_" + own + "_x.y", "_R_.x", "anything",
		} {
			if err := nc.Publish(subject, nil); err != nil {
				t.Fatal(err)
			}
			nc.wantRefusal(t, c.Name+" publishes on "+subject)
		}
		sub, err := nc.SubscribeSync("esign.event." + own + ".>")
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		heard[c.Name] = sub
	}
	ctx := testContext(t)
	mine, others := testEvent("e1"), testEvent("e2")
	others.Tenant = "other"
	for _, e := range []core.Event{mine, others} {
		if err := g.Publisher().Publish(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range g.callers {
		m, err := heard[c.Name].NextMsg(5 * time.Second)
		if err != nil || !strings.HasPrefix(m.Subject, "esign.event."+c.Tenant+".") {
			t.Errorf("%s hears: %v", c.Name, err)
		}
		if n, _, err := heard[c.Name].Pending(); err != nil || n != 0 {
			t.Errorf("%s hears %d more, %v", c.Name, n, err)
		}
	}
}

func TestServiceConsumesThroughTheConsumerThatIsMadeForIt(t *testing.T) {
	g := openGuests(t)
	ctx := testContext(t)
	mine, others := testEvent("e1"), testEvent("e2")
	others.Tenant = "other"
	for _, e := range []core.Event{mine, others} {
		if err := g.Publisher().Publish(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	enough := errors.New("enough")
	for _, c := range g.callers {
		cl, closeConn, err := client.Dial(ctx, client.DialConfig{URL: g.ClientURL(), Credentials: g.proofs[c.Name].Path()})
		if err != nil {
			t.Fatal(err)
		}
		var got []client.Event
		err = cl.Watch(ctx, client.WatchConfig{Durable: c.Name}, func(e client.Event) error {
			got = append(got, e)
			return enough
		})
		if !errors.Is(err, enough) || got[0].Tenant != c.Tenant {
			t.Errorf("%s: %v, %v", c.Name, got, err)
		}
		if err := cl.Watch(ctx, client.WatchConfig{Durable: "x"}, nil); err == nil || !strings.Contains(err.Error(), "durable") {
			t.Errorf("another durable: %v", err)
		}
		closeConn()
	}
}

// A service without a durable hears what is published while it is connected.
func TestServiceWatchesWithoutAConsumer(t *testing.T) {
	g := openGuests(t)
	ctx := testContext(t)
	cl, closeConn, err := client.Dial(ctx, client.DialConfig{URL: g.ClientURL(), Credentials: g.proofs["watch"].Path()})
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn()
	enough := errors.New("enough")
	heard := make(chan client.Event, 16)
	done := make(chan error, 1)
	go func() {
		done <- cl.Watch(ctx, client.WatchConfig{Types: []client.EventType{client.TokenRevoked}}, func(e client.Event) error {
			heard <- e
			return enough
		})
	}()
	for n := 0; len(heard) == 0; n++ {
		for _, typ := range []core.EventType{core.TokenIssued, core.TokenRevoked} {
			e := testEvent(fmt.Sprint(typ, n))
			e.Type = typ
			if err := g.Publisher().Publish(ctx, e); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := <-done; !errors.Is(err, enough) {
		t.Error(err)
	}
	if e := <-heard; e.Type != core.TokenRevoked {
		t.Errorf("heard %s", e.Type)
	}
	if err := cl.Watch(ctx, client.WatchConfig{Since: time.Now()}, nil); err == nil || !strings.Contains(err.Error(), "Durable") {
		t.Errorf("with a time to begin at: %v", err)
	}
}

// A reply subject is the caller's to choose. What comes of it stays in the caller's own account.
func TestReplySubjectOfAServiceLeadsNowhere(t *testing.T) {
	g := openGuests(t)
	ctx := testContext(t)
	r := core.Record{Key: "grant.g_1", Public: []byte(`{}`), Secret: []byte("token")}
	r.Revision = put(t, g.Store(), r)
	if err := g.Publisher().Publish(ctx, testEvent("e1")); err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 64)
	sub, err := g.Conn().Subscribe("esign.api.>", func(m *nats.Msg) {
		asked <- m.Subject
		_ = m.Respond([]byte("token"))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	signing := dialOutside(t, g.Bus, g.proofs["signing"].Options()...)
	desk := dialOutside(t, g.Bus, g.proofs["desk"].Options()...)
	var near []*nats.Subscription
	for nc, subjects := range map[*nats.Conn][]string{signing: {"esign.event.other.>", "_INBOX_other_signing.>"}, desk: {"esign.event.default.>", "_INBOX_default_desk.>"}} {
		for _, subject := range subjects {
			s, err := nc.SubscribeSync(subject)
			if err != nil {
				t.Fatal(err)
			}
			near = append(near, s)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	before := g.lastSequences(t)
	billing := dialDenied(t, g.Bus, g.proofs["billing"].Options()...)
	sources := []string{
		"esign.api.default.token.get", "$JS.API.CONSUMER.INFO.ESIGN_EVENTS.default_billing",
		"$JS.API.CONSUMER.MSG.NEXT.ESIGN_EVENTS.default_billing", "$JS.ACK.ESIGN_EVENTS.default_billing.1.1.1.1.0",
	}
	for _, reply := range []string{
		"$KV.ESIGN.grant.g_1", "esign.event.default.token.issued.v.g", "esign.event.other.token.issued.v.g", "esign.timer.at.v.g",
		"esign.api.default.grant.forget", "esign.api.other.token.get", "_INBOX_other_signing.x", "_INBOX_default_desk.x",
		"$JS.API.STREAM.PURGE.ESIGN_EVENTS", "$JS.API.STREAM.DELETE.ESIGN_EVENTS",
	} {
		for _, subject := range sources {
			if err := billing.PublishRequest(subject, reply, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 10 {
		if got := <-asked; got != sources[0] {
			t.Errorf("%s was asked", got)
		}
	}
	if err := billing.PublishRequest(sources[0], "_R_.x", nil); err != nil {
		t.Fatal(err)
	}
	billing.wantRefusal(t, "a reply subject of the server's own")
	if _, err := billing.Request("esign.api.default.token.get", nil, 5*time.Second); err != nil {
		t.Errorf("an honest request after all that: %v", err)
	}
	<-asked
	if len(asked) > 0 {
		t.Errorf("%s was asked, by way of a reply", <-asked)
	}
	if after := g.lastSequences(t); !maps.Equal(before, after) {
		t.Errorf("the streams went from %v to %v", before, after)
	}
	for _, s := range near {
		if n, _, err := s.Pending(); err != nil || n > 0 {
			t.Errorf("%s: %d messages of another service, %v", s.Subject, n, err)
		}
	}
}

func (g guests) lastSequences(t *testing.T) map[string]uint64 {
	t.Helper()
	seqs := map[string]uint64{}
	s, err := g.opened()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{recordStream, timerStream, wire.EventStream} {
		stream, err := s.js.Stream(testContext(t), name)
		if err != nil {
			t.Fatal(err)
		}
		seqs[name] = stream.CachedInfo().State.LastSeq
	}
	return seqs
}

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
		e.read = func(string, []byte) (job, error) {
			return func(ctx context.Context) (any, error) {
				id, ok := IdentityOf(ctx)
				if !ok {
					return nil, errors.New("there is no identity")
				}
				return id, nil
			}, nil
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

// TestSetCallersLeavesTheOthersAlone adds a service and removes one while another asks, hears and consumes.
func TestSetCallersLeavesTheOthersAlone(t *testing.T) {
	g := openGuests(t)
	ctx := testContext(t)
	release := make(chan struct{})
	sub, err := g.Conn().Subscribe("esign.api.>", func(m *nats.Msg) {
		if string(m.Data) != "slow" {
			_ = m.Respond(nil)
			return
		}
		go func() { <-release; _ = m.Respond([]byte("token")) }()
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	stays := dialDenied(t, g.Bus, g.proofs["billing"].Options()...)
	heard, err := stays.SubscribeSync("esign.event.default.>")
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	_ = dialOutside(t, g.Bus, append(g.proofs["signing"].Options(), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(gone) }))...)
	slow := make(chan error, 1)
	if err := stays.Flush(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := stays.RequestWithContext(ctx, "esign.api.default.token.get", []byte("slow"))
		slow <- err
	}()
	added, proof := newCaller(t, "third", "late", wire.Caller)
	callers := append(slices.Clone(g.callers[:3]), added)
	for range 3 {
		if err := g.SetCallers(ctx, callers); err != nil {
			t.Fatal(err)
		}
	}
	<-gone
	close(release)
	if err := <-slow; err != nil {
		t.Errorf("a request that was on its way: %v", err)
	}
	late := dialOutside(t, g.Bus, proof.Options()...)
	if _, err := late.Request("esign.api.third.token.get", nil, 5*time.Second); err != nil {
		t.Errorf("the new service asks: %v", err)
	}
	if nc, err := nats.Connect(g.ClientURL(), g.proofs["signing"].Options()...); err == nil {
		nc.Close()
		t.Error("the service that was removed is let in")
	}
	if want, got := []string{"default_billing", "default_desk", "default_watch", "third_late"}, consumersOf(ctx, t, g.Bus); !slices.Equal(want, got) {
		t.Errorf("there are the consumers %v, want %v", got, want)
	}
	e := testEvent("e1")
	if err := g.Publisher().Publish(ctx, e); err != nil {
		t.Fatal(err)
	}
	e.Tenant, e.ID = "third", "e2"
	if err := g.Publisher().Publish(ctx, e); err != nil {
		t.Fatal(err)
	}
	for nc, durable := range map[*nats.Conn]string{stays.Conn: "default_billing", late: "third_late"} {
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		c, err := js.Consumer(ctx, wire.EventStream, durable)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := c.Next(jetstream.FetchMaxWait(5 * time.Second)); err != nil || m.DoubleAck(ctx) != nil {
			t.Errorf("%s: %v", durable, err)
		}
	}
	if _, err := heard.NextMsg(5 * time.Second); err != nil {
		t.Errorf("a subscription from before: %v", err)
	}
	if n, _, err := heard.Pending(); err != nil || n > 0 {
		t.Errorf("it hears %d more, %v", n, err)
	}
	if n := stays.Stats().Reconnects; n > 0 || !stays.IsConnected() {
		t.Errorf("one that stays was disconnected %d times", n)
	}
	if err := g.SetCallers(ctx, nil); err == nil || !strings.Contains(err.Error(), "nats.auth") {
		t.Errorf("nobody at all: %v", err)
	}
}

func consumersOf(ctx context.Context, t *testing.T, b *Bus) []string {
	t.Helper()
	s, err := b.opened()
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	names := s.events.ConsumerNames(ctx)
	for name := range names.Name() {
		list = append(list, name)
	}
	if names.Err() != nil {
		t.Fatal(names.Err())
	}
	slices.Sort(list)
	return list
}
