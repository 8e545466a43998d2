package bus

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

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
	cfg.Audit.Enabled = true
	g.Bus = openBus(t, cfg)
	return g
}

// reserved are the endpoints that only an operator may use.
var reserved = []wire.Endpoint{wire.GrantImport, wire.GrantForget, wire.GrantList}

func TestRolesMayUseTheirEndpoints(t *testing.T) {
	t.Parallel()
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

// A reply subject is the caller's to choose. What comes of it stays in the caller's own account.
func TestReplySubjectOfAServiceLeadsNowhere(t *testing.T) {
	t.Parallel()
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
		"esign.audit.tenant.default", "esign.audit.daemon",
	} {
		for _, subject := range sources {
			if err := billing.PublishRequest(subject, reply, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 12 {
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
	for _, name := range []string{recordStream, timerStream, wire.EventStream, wire.AuditStream} {
		stream, err := s.js.Stream(testContext(t), name)
		if err != nil {
			t.Fatal(err)
		}
		seqs[name] = stream.CachedInfo().State.LastSeq
	}
	return seqs
}

// TestSetCallersLeavesTheOthersAlone adds a service and removes one while another asks, hears and consumes.
func TestSetCallersLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
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
