//go:build heavy && linux

package chaos

import (
	"fmt"
	"testing"
)

// TestChaos runs every scenario and prints the table of what came of them.
func TestChaos(t *testing.T) {
	e := extentFromEnvironment(t)
	var results table
	t.Run("scenarios", func(t *testing.T) {
		for _, s := range []struct {
			name string
			run  func(*testing.T, extent) row
		}{
			{"plugins, SIGSTOP", pluginsStopped},
			{"daemon, kill -9", daemonKilled},
			{"plugins, kill -9", pluginsKilled},
			{"NATS server, SIGSTOP", natsUnreachable},
			{"NATS server, kill -9", natsKilled},
			{"disk full", diskFull},
			{"disk takes no write", diskReadOnly},
			{"vendors stopped, then busy", vendorsDown},
			{"clock of the store, 2 h forward, back", clockStepped},
		} {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				r := s.run(t, e)
				r.scenario = s.name
				results.add(r)
			})
		}
	})
	fmt.Print("\n", results.String())
}
