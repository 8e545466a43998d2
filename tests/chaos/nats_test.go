//go:build heavy && linux

package chaos

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// natsKilled ends an external NATS server with SIGKILL and starts it again. No answer of a vendor is lost by that:
// esignd keeps it until it can be written.
func natsKilled(t *testing.T, e extent) row {
	a := open(t, e, setup{external: true})
	a.underLoad(func() {
		for a.kills < max(2, e.kills/10) {
			pause(t.Context(), rand.N(2*e.lull))
			killed := time.Now()
			a.server.Kill()
			a.kills++
			a.server.Start()
			a.awaitAnswer(killed)
		}
	})
	return a.settle()
}

// natsUnreachable stops an external NATS server with SIGSTOP: its connections stay, and nothing comes of them. The
// recovery counts from when it goes on.
func natsUnreachable(t *testing.T, e extent) row {
	a := open(t, e, setup{external: true})
	a.underLoad(func() {
		pause(t.Context(), e.lull)
		a.server.Signal(syscall.SIGSTOP)
		a.kills++
		pause(t.Context(), e.outage)
		back := time.Now()
		a.server.Signal(syscall.SIGCONT)
		a.awaitAnswer(back)
	})
	return a.settle()
}
