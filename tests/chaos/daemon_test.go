//go:build heavy && linux

package chaos

import (
	"math/rand/v2"
	"testing"
	"time"
)

// daemonKilled ends the daemon with SIGKILL, again and again, some times while it starts.
func daemonKilled(t *testing.T, e extent) row {
	a := open(t, e, setup{})
	a.underLoad(func() {
		for a.kills < e.kills {
			pause(t.Context(), rand.N(e.lull))
			killed := a.killDaemon()
			if a.kills < e.kills && rand.IntN(8) == 0 {
				pause(t.Context(), rand.N(500*time.Millisecond))
				killed = a.killDaemon()
			}
			a.awaitAnswer(killed)
		}
	})
	return a.settle()
}

// killDaemon ends the daemon, starts it again, does not wait until it is ready, and returns when it ended.
func (a *arena) killDaemon() time.Time {
	a.t.Helper()
	killed := time.Now()
	a.daemon.Kill()
	a.harmed(killed)
	a.kills++
	a.daemon.Launch()
	return killed
}
