//go:build heavy && linux

package chaos

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// inARow is how often each plugin is killed until the daemon is restarted.
const inARow = 4

// pluginsKilled ends plugins with SIGKILL. The host waits longer before each further start of the same plugin, so the
// daemon is restarted in order now and then, which begins that anew.
func pluginsKilled(t *testing.T, e extent) row {
	a := open(t, e, setup{})
	a.underLoad(func() {
		for {
			a.endPlugins(min(e.kills-a.kills, inARow*len(a.vendors)), syscall.SIGKILL)
			if a.kills >= e.kills {
				return
			}
			a.daemon.Stop()
			a.daemon.Launch()
			a.awaitReady()
		}
	})
	return a.settle()
}

// pluginsStopped stops plugins with SIGSTOP, and leaves it to esignd to notice.
func pluginsStopped(t *testing.T, e extent) row {
	a := open(t, e, setup{})
	a.underLoad(func() { a.endPlugins(e.stops, syscall.SIGSTOP) })
	return a.settle()
}

// plugin is one vendor's, as it is ended time and again.
type plugin struct {
	*vendor
	next  time.Time // when it is ended
	pid   int       // that was ended
	ended time.Time // zero while it runs
	away  time.Time // when the next process was not there yet
}

// endPlugins sends n signals to plugins, of all vendors at once, and waits each time until that vendor has granted a
// refresh to the next process.
func (a *arena) endPlugins(n int, signal syscall.Signal) {
	a.t.Helper()
	plugins := make([]*plugin, len(a.vendors))
	for i, v := range a.vendors {
		plugins[i] = &plugin{vendor: v, next: time.Now().Add(rand.N(a.lull))}
	}
	for waiting := 0; n > 0 || waiting > 0; pause(a.t.Context(), 20*time.Millisecond) {
		a.keepRunning()
		now, pids := time.Now(), a.daemon.Plugins()
		waiting = 0
		for _, p := range plugins {
			pid := pids[p.Vendor]
			switch {
			case !p.ended.IsZero():
				a.await(p, pid, now)
			case n > 0 && pid != 0 && now.After(p.next):
				if err := syscall.Kill(pid, signal); err != nil {
					a.t.Fatal(err)
				}
				p.pid, p.ended, p.away = pid, now, now
				n--
				a.kills++
			}
			if !p.ended.IsZero() {
				waiting++
			}
		}
	}
}

// await looks whether a plugin that was ended is back and refreshes.
func (a *arena) await(p *plugin, pid int, now time.Time) {
	a.t.Helper()
	if pid == 0 || pid == p.pid {
		p.away = now
	} else if at, ok := p.door.firstSince(p.away); ok {
		a.recovery = append(a.recovery, at.Sub(p.ended))
		a.harmed(p.ended)
		p.ended, p.next = time.Time{}, now.Add(rand.N(a.lull))
	}
	if !p.ended.IsZero() && now.Sub(p.ended) > 2*time.Minute {
		a.t.Fatalf("the plugin of %s was ended at %s and refreshes nothing since", p.Vendor, stamp(p.ended))
	}
}
