package faults

import (
	"slices"
	"testing"

	"github.com/esignd/esignd/plugins/sdk/plugintest/faultproxy"
)

// TestFaults is the matrix: each vendor with each fault, at a refresh and at the exchange of a code. All run in
// parallel, and those that take long begin first. They have a process of their own, since a host ends a process in
// which a call hangs.
func TestFaults(t *testing.T) {
	for _, v := range vendors() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			quick, hanging := startPlugin(t, v), startPlugin(t, v)
			for _, f := range slowFirst() {
				p := quick
				if slow(f) {
					p = hanging
				}
				t.Run("refresh/"+f.Name, func(t *testing.T) { meet(t, p, v, f, refreshGoesWrong) })
				if v.exchanges {
					t.Run("exchange/"+f.Name, func(t *testing.T) { meet(t, p, v, f, exchangeGoesWrong) })
				}
			}
		})
	}
}

// meet runs a test in a world of its own, when it is its turn.
func meet(t *testing.T, p *plugin, v vendor, f faultproxy.Fault, test func(*world)) {
	t.Parallel()
	turn := takeTurn()
	defer turn.end()
	w := newWorld(t, p, v, f, turn)
	w.row = rowFor(t, f.Name, v.name)
	test(w)
}

func slowFirst() []faultproxy.Fault {
	all := faultproxy.Faults()
	slices.SortStableFunc(all, func(a, b faultproxy.Fault) int {
		switch {
		case slow(a) == slow(b):
			return 0
		case slow(a):
			return -1
		default:
			return 1
		}
	})
	return all
}

// slow are the faults that take a call's whole time.
func slow(f faultproxy.Fault) bool {
	return slices.Contains([]string{"slow headers", "a byte a second", "hang", "hang in the body"}, f.Name)
}

// turn is a test's place among those that work.
type turn struct{ over bool }

func takeTurn() *turn {
	working <- struct{}{}
	return &turn{}
}

// end gives the place to another, for good.
func (t *turn) end() {
	if !t.over {
		t.over = true
		<-working
	}
}

// aside lets others work while f waits.
func (t *turn) aside(f func()) {
	if t.over {
		f()
		return
	}
	<-working
	defer func() { working <- struct{}{} }()
	f()
}

// goWrong lets the next n token requests meet the world's fault while ask runs.
func (w *world) goWrong(n int, ask func()) {
	w.t.Helper()
	for range n {
		w.proxy.Next(w.fault)
	}
	if slow(w.fault) {
		// What is left is little, and must not wait for a place: meanwhile the grant would be tried again.
		w.turn.end()
	}
	ask()
	if err := w.proxy.Restore(); err != nil {
		w.t.Fatal(err)
	}
}
