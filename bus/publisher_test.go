package bus

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/core"
)

func testEvent(id string) core.Event {
	return core.Event{ID: id, Type: core.TokenIssued, Time: time.Now(), Tenant: "default", Client: "main",
		Vendor: "adobesign", Grant: "g_1", Generation: 1,
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
}

func TestEventPublishedTwiceIsStoredOnce(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	p, ctx := b.Publisher(), testContext(t)
	if last, err := p.Last(ctx, testEvent("")); err != nil || last.ID != "" {
		t.Errorf("before any event the last is %q, %v", last.ID, err)
	}
	for range 2 {
		if err := p.Publish(ctx, testEvent("e1")); err != nil {
			t.Fatal(err)
		}
	}
	ses, err := b.opened()
	if err != nil {
		t.Fatal(err)
	}
	info, err := ses.events.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if info.State.Msgs != 1 {
		t.Errorf("%d messages of one event", info.State.Msgs)
	}
	m, err := ses.events.GetLastMsgForSubject(ctx, "esign.event.default.token.issued.adobesign.g_1")
	if err != nil {
		t.Fatal(err)
	}
	if m.Header["traceparent"] == nil || m.Header.Get(jetstream.MsgIDHeader) != "e1" {
		t.Errorf("headers %v", m.Header)
	}
	if err := p.Publish(ctx, testEvent("e2")); err != nil {
		t.Fatal(err)
	}
	if last, err := p.Last(ctx, testEvent("")); err != nil || last.ID != "e2" {
		t.Errorf("the last event is %q, %v; want e2", last.ID, err)
	}
	other := testEvent("")
	other.Grant = ""
	if last, err := p.Last(ctx, other); err != nil || last.ID != "" {
		t.Errorf("the last event of no grant is %q, %v", last.ID, err)
	}
}
