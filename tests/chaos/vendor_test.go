//go:build heavy && linux

package chaos

import (
	"testing"
	"time"
)

// vendorsDown closes every vendor's sandbox and opens it again at its old address, and then lets it answer 503 for as
// long. The recovery counts from when a vendor is back until it grants a refresh.
func vendorsDown(t *testing.T, e extent) row {
	a := open(t, e, setup{stateful: true})
	a.underLoad(func() {
		pause(t.Context(), e.lull)
		for _, v := range a.vendors {
			closing := time.Now()
			v.door.restarts()
			if err := v.Box.Close(); err != nil {
				t.Error(err)
			}
			a.harmed(closing)
			a.kills++
		}
		pause(t.Context(), e.outage/4)
		for _, v := range a.vendors {
			v.Box = a.reopen(v)
		}
		a.awaitRefreshes()
		for _, v := range a.vendors {
			v.door.refuse(true)
			a.kills++
		}
		pause(t.Context(), e.outage/4)
		for _, v := range a.vendors {
			v.door.refuse(false)
		}
		a.awaitRefreshes()
	})
	return a.settle()
}

// awaitRefreshes waits until each vendor grants a refresh, and notes how long that took.
func (a *arena) awaitRefreshes() {
	a.t.Helper()
	back := time.Now()
	for _, v := range a.vendors {
		for {
			if at, ok := v.door.firstSince(back); ok {
				a.recovery = append(a.recovery, at.Sub(back))
				break
			}
			if time.Since(back) > 2*time.Minute {
				a.t.Fatalf("%s is back since %s and refreshes nothing", v.Vendor, stamp(back))
			}
			pause(a.t.Context(), 20*time.Millisecond)
		}
	}
}
