// Package e2e tests esignd from outside: the real binaries, real plugin processes, the vendors' sandboxes, browsers
// with cookies, and callers that know nothing but NATS.
//
// Each test has daemons, ports, folders and sandboxes of its own, so that tests run in parallel. Tests wait for a
// condition with a deadline, and sandboxes give out tokens that live for seconds.
package e2e

import (
	"testing"

	"github.com/esignd/esignd/tests/system"
)

// binaries are those under test. TestMain sets them before any test runs.
var binaries system.Binaries

func TestMain(m *testing.M) { system.Main(m, &binaries, system.Build{Parallel: 10}) }

// newDaemon writes a configuration for the binaries under test and starts nothing.
func newDaemon(t testing.TB, o system.Options) *system.Daemon {
	t.Helper()
	o.Binaries = binaries
	return system.NewDaemon(t, o)
}

// startDaemon starts a daemon of the binaries under test and waits until it is ready. The test's end stops it.
func startDaemon(t testing.TB, o system.Options) *system.Daemon {
	t.Helper()
	o.Binaries = binaries
	return system.StartDaemon(t, o)
}
