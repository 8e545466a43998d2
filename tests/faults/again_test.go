package faults

import (
	"errors"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/sdk/plugintest/faultproxy"
)

// TestUnknownOutcomeIsTriedAgain lets the answer to a refresh be lost, with the vendor having acted and without. A
// refresh token may be presented once more, and where the vendor rotates never a third time.
func TestUnknownOutcomeIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, v := range vendors() {
		for _, acted := range []bool{false, true} {
			f, _ := faultproxy.ByName("reset")
			if acted {
				f = f.Acts()
			}
			t.Run(v.name+"/"+f.Name, func(t *testing.T) {
				t.Parallel()
				turn := takeTurn()
				defer turn.end()
				tryAgain(newWorld(t, startPlugin(t, v), v, f, turn), acted)
			})
		}
	}
}

func tryAgain(w *world, acted bool) {
	g := w.imported("spent", "a@example.com", false)
	var err error
	w.goWrong(1, func() { _, err = w.manager.Token(w.t.Context(), g.Selector, core.DefaultMinTTL) })
	if !errors.Is(err, core.TemporarilyUnavailable) {
		w.t.Fatalf("got %v", err)
	}
	lost := w.vendor.rotates && acted // the new refresh token was in the answer that nobody read
	w.turn.aside(func() {
		for deadline := time.Now().Add(time.Minute); errors.Is(err, core.TemporarilyUnavailable) && time.Now().Before(deadline); {
			time.Sleep(50 * time.Millisecond)
			_, err = w.manager.Token(w.t.Context(), g.Selector, core.DefaultMinTTL)
		}
	})
	want := core.Active
	if lost {
		want = core.NeedsReauthorization
	}
	if info := w.info(g); info.State != want || lost && info.Reason != core.ReasonOutcomeUnknown {
		w.t.Errorf("the grant is %s with reason %q, want %s: %v", info.State, info.Reason, want, err)
	}
	if lost {
		_, err = w.manager.Token(w.t.Context(), g.Selector, core.DefaultMinTTL)
		if e := core.AsError(err); e.Code != core.ReauthorizationRequired || e.Reason != core.ReasonOutcomeUnknown || e.ConnectURL == "" {
			w.t.Errorf("asked for a token: %v", err)
		}
	}
	if got := w.presentations(g.refresh); got != 2 {
		w.t.Errorf("the refresh token was presented %d times, want 2", got)
	}
	w.searchAll()
}
