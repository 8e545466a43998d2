package storetest

import (
	"testing"
	"time"

	"github.com/esignd/esignd/core"
)

// RunPublisher runs the suite of core.Publisher: what Last tells. open returns one that has published nothing.
func RunPublisher(t *testing.T, open func(t *testing.T) core.Publisher) {
	t.Helper()
	p := open(t)
	about := core.Event{Tenant: "default", Client: "main", Vendor: "adobesign", Grant: "g_1"}
	other := about
	other.Grant = "g_2"
	publish := func(id string, kind core.EventType, of core.Event, generation uint64) {
		t.Helper()
		of.ID, of.Type, of.Generation, of.Time, of.Reason = id, kind, generation, time.Now().UTC().Truncate(time.Millisecond), "because"
		if err := p.Publish(t.Context(), of); err != nil {
			t.Fatalf("publish %s: %v", id, err)
		}
	}
	last := func(kind core.EventType, of core.Event) core.Event {
		t.Helper()
		of.Type = kind
		e, err := p.Last(t.Context(), of)
		if err != nil {
			t.Fatalf("last %q of %s: %v", kind, of.Grant, err)
		}
		return e
	}
	if e := last("", about); e.ID != "" || e.Generation != 0 {
		t.Errorf("before any event the last is %+v", e)
	}
	publish("e1", core.TokenIssued, about, 1)
	publish("e2", core.TokenExpiring, about, 1)
	publish("e3", core.TokenIssued, other, 9)
	publish("e4", core.TokenRevoked, about, 2)
	for kind, want := range map[core.EventType]string{"": "e4", core.TokenIssued: "e1", core.TokenExpiring: "e2", core.TokenRevoked: "e4", core.GrantExpiring: ""} {
		if e := last(kind, about); e.ID != want {
			t.Errorf("the last %q is %q, want %q", kind, e.ID, want)
		}
	}
	e := last("", about)
	if e.Type != core.TokenRevoked || e.Generation != 2 || e.Reason != "because" || e.Time.IsZero() || e.Grant != about.Grant {
		t.Errorf("the last event came back as %+v", e)
	}
	publish("e1", core.TokenIssued, about, 1)
	if e := last("", about); e.ID != "e4" {
		t.Errorf("after the first was published again the last is %q, want e4", e.ID)
	}
}
