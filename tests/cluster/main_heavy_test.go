//go:build heavy

package cluster

import (
	"os"
	"strconv"
	"testing"

	"github.com/esignd/esignd/tests/system"
)

// binaries are those under test. TestMain sets them before any test runs.
var binaries system.Binaries

// grantsVariable names the variable that asks for the large runs, by how many grants the storm has.
const grantsVariable = "ESIGND_CLUSTER_GRANTS"

// large says whether the tests are to measure rather than to be quick.
func large() bool { return os.Getenv(grantsVariable) != "" }

func TestMain(m *testing.M) {
	build := system.Build{Parallel: 5, NATS: true, Next: true}
	if large() {
		// One after the other, and without the race detector.
		build.Parallel, build.NoRace = 1, true
	}
	system.Main(m, &binaries, build)
}

// stormSize is how many grants the storm has.
func stormSize(t *testing.T) int {
	t.Helper()
	if !large() {
		return 300
	}
	n, err := strconv.Atoi(os.Getenv(grantsVariable))
	if err != nil || n < 1 {
		t.Fatalf("%s: a number of grants is wanted", grantsVariable)
	}
	return n
}
