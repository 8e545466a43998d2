//go:build heavy && linux

package chaos

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/esignd/esignd/tests/system"
)

// The variables that say how much is ended and stopped; without them it is little. `make chaos` sets them.
const (
	killsVar  = "ESIGND_CHAOS_KILLS"  // of the daemon, and of plugins; a tenth as many of the NATS server
	stopsVar  = "ESIGND_CHAOS_STOPS"  // of plugins, by SIGSTOP
	outageVar = "ESIGND_CHAOS_OUTAGE" // of the NATS server, a duration
)

var binaries system.Binaries

// TestMain has a few scenarios run at a time: most of each is waiting for something to come back.
func TestMain(m *testing.M) {
	parallel := 4
	if os.Getenv(killsVar) != "" {
		parallel = 2 // where there is much to be ended, the times are to mean something
	}
	system.Main(m, &binaries, system.Build{NATS: true, Parallel: parallel})
}

// extent is how much happens.
type extent struct {
	kills, stops int
	outage       time.Duration
	lull         time.Duration // at most, between two kills
	accounts     int           // of each vendor
	small        bool
}

func extentFromEnvironment(t *testing.T) extent {
	t.Helper()
	e := extent{kills: 5, stops: 2, outage: 5 * time.Second, lull: 800 * time.Millisecond, accounts: 6, small: true}
	for name, field := range map[string]*int{killsVar: &e.kills, stopsVar: &e.stops} {
		if text := os.Getenv(name); text != "" {
			*field, e.small = system.Must(strconv.Atoi(text))(t), false
		}
	}
	if text := os.Getenv(outageVar); text != "" {
		e.outage, e.small = system.Must(time.ParseDuration(text))(t), false
	}
	if !e.small {
		e.lull, e.accounts = 1200*time.Millisecond, 16
	}
	return e
}
