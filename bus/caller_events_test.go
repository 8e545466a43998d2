package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

func TestServicesHearTheirTenantsEventsAndNothingElse(t *testing.T) {
	t.Parallel()
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
			"esign.timer.>", "esign.api." + own + ".token.get", "esign.audit.>", wire.AuditSubject("esign", own),
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
			wire.AuditSubject("esign", own), wire.AuditSubject("esign", ""), "$JS.API.STREAM.INFO.ESIGN_AUDIT", "$JS.API.STREAM.MSG.GET.ESIGN_AUDIT",
			"$JS.API.STREAM.PURGE.ESIGN_AUDIT", "$JS.API.STREAM.DELETE.ESIGN_AUDIT", "$JS.API.STREAM.MSG.DELETE.ESIGN_AUDIT", "$JS.API.STREAM.UPDATE.ESIGN_AUDIT",
			"$JS.API.DIRECT.GET.ESIGN_AUDIT.x", "$JS.API.CONSUMER.CREATE.ESIGN_AUDIT", "$JS.API.CONSUMER.MSG.NEXT.ESIGN_AUDIT.x",
			"$JS.API.CONSUMER.DELETE.ESIGN_AUDIT.default_watch", "$JS.API.CONSUMER.MSG.NEXT.ESIGN_AUDIT." + other + "_watch",
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
	t.Parallel()
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
	t.Parallel()
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
