//go:build heavy

// Package bench measures esignd as its callers and operators meet it: the real binary, plugin processes, callers in
// processes of their own, a vendor over HTTP, and a disk that syncs. It writes docs/performance.md with its plots.
//
// `make bench` runs it at full size. Among the long tests it runs small, with margins that a busy machine keeps, so that
// it does not rot.
package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/esignd/esignd/tests/system"
)

// binaries are those under test. TestMain sets them before any test runs.
var binaries system.Binaries

// roles are what the test binary does instead of testing where it is started as a process of its own.
var roles = map[string]func([]byte) error{"echo": echo, "caller": call, "grpc": bareGRPC}

// roleVariable names the role. Its task is the first line of standard input, since the environment has no room for a long
// one.
const roleVariable = "ESIGND_BENCH_ROLE"

func TestMain(m *testing.M) {
	if role := roles[os.Getenv(roleVariable)]; role != nil {
		task, err := bufio.NewReader(os.Stdin).ReadBytes('\n')
		if err := errors.Join(err, role(task)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	_, report := plan()
	system.Main(m, &binaries, system.Build{NoRace: true, OnDisk: report})
}

// process is this binary in a role.
type process struct {
	*exec.Cmd
	in  io.Closer // its end tells the process to come to an end
	out *json.Decoder
}

// begin starts this binary in a role. The test's end ends it.
func begin(t testing.TB, role string, task any) process {
	t.Helper()
	b := system.Must(json.Marshal(task))(t)
	cmd := exec.CommandContext(t.Context(), system.Must(os.Executable())(t))
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	in := system.Must(cmd.StdinPipe())(t)
	out := system.Must(cmd.StdoutPipe())(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write(append(b, '\n')); err != nil {
		t.Fatalf("%s: its task: %v", role, errors.Join(err, cmd.Wait()))
	}
	return process{cmd, in, json.NewDecoder(out)}
}

// serve starts a role that prints where it serves, as a line, and runs until its standard input ends. The test's end
// ends it.
func serve(t testing.TB, role string, task any) (address string) {
	t.Helper()
	p := begin(t, role, task)
	t.Cleanup(func() {
		_ = p.in.Close()
		if err := p.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("%s: %v", role, err)
		}
	})
	if err := p.out.Decode(&address); err != nil {
		t.Fatalf("%s did not say where it serves: %v", role, err)
	}
	return address
}

// sizes are how much is measured.
type sizes struct {
	quick    bool
	within   time.Duration // all of it, the page and what is measured until then
	rounds   int           // of each comparison; the median counts
	slice    time.Duration // of each measurement of a round
	callers  []int
	grants   []int         // the stores that are compared
	most     int           // a store that is reported alone; 0: none
	starts   int           // of which the median counts
	rest     time.Duration // from a start until what it took is over
	heapRest time.Duration // from a start until the server has dropped what it made for it
	idle     time.Duration
	forced   int // refreshes by which their cost is measured
	together int // grants that are due at once
	atOnce   int // grants refreshed at a vendor that answers at once
	calls    int // of a plugin
	turns    int // of daemons with and without telemetry; 0: that is not measured
}

// Environment of `make bench`.
const (
	sizeVariable = "ESIGND_BENCH"      // full, or quick: less, in less time
	docsVariable = "ESIGND_BENCH_DOCS" // the folder that performance.md is written to
)

// plan returns the sizes that are asked for, and whether they are those of a report rather than of a test.
func plan() (s sizes, report bool) {
	switch os.Getenv(sizeVariable) {
	case "full":
		return sizes{
			rounds: 15, slice: 500 * time.Millisecond, callers: []int{1, 16, 64, 256}, grants: []int{1_000, 10_000, 100_000}, most: 1_000_000,
			starts: 3, rest: 30 * time.Second, heapRest: 135 * time.Second, idle: 30 * time.Second, forced: 500, together: 10_000, atOnce: 10_000, calls: 20_000,
			turns: 2_000, within: 26 * time.Minute,
		}, true
	case "quick":
		return sizes{
			rounds: 3, slice: 500 * time.Millisecond, callers: []int{1, 16, 64, 256}, grants: []int{1_000, 10_000, 50_000},
			starts: 1, rest: 20 * time.Second, heapRest: 20 * time.Second, idle: 10 * time.Second, forced: 200, together: 2_000, atOnce: 2_000, calls: 3_000,
			turns: 200, within: 15 * time.Minute, quick: true,
		}, true
	}
	return sizes{
		rounds: 1, slice: 300 * time.Millisecond, callers: []int{1, 16}, grants: []int{200, 1_000},
		starts: 1, rest: 2 * time.Second, heapRest: 2 * time.Second, idle: time.Second, forced: 20, together: 200, atOnce: 200, calls: 200,
		within: 15 * time.Minute,
	}, false
}
