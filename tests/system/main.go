package system

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esignd/esignd/tests/scratch"
)

const module = "github.com/esignd/esignd/"

// Binaries is the folder of the binaries under test.
type Binaries string

// Path returns the path of a binary.
func (b Binaries) Path(name string) string { return filepath.Join(string(b), name) }

// Build says what Main builds.
type Build struct {
	// Parallel is how many tests run at a time: most of what they do is wait. 0: as Go has it.
	Parallel int
	// NATS builds nats-server too.
	NATS bool
	// Tools builds plugin-host and the plugin of generic too.
	Tools bool
	// Next builds NextRelease too.
	Next bool
	// NoRace leaves the race detector out of the daemon, whatever the tests have.
	NoRace bool
	// OnDisk leaves temporary folders where the environment has them, also where there is a place in memory.
	OnDisk bool
}

// Main builds the daemon, the plugins of the three vendors and what b asks for, puts their folder into binaries, and runs
// the tests. It ends the process; the status is not 0 either where a goroutine or a process outlives the tests.
func Main(m *testing.M, binaries *Binaries, b Build) {
	code, err := run(m, binaries, b)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M, binaries *Binaries, b Build) (code int, err error) {
	flag.Parse()
	if b.Parallel > 0 {
		if err := flag.Set("test.parallel", strconv.Itoa(b.Parallel)); err != nil {
			return 1, err
		}
	}
	dir, err := os.MkdirTemp("", "esignd-system-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// Plugins run from a folder that others can read and not write.
	if err := os.Chmod(dir, 0o755); err != nil {
		return 1, err
	}
	if err := b.into(dir); err != nil {
		return 1, err
	}
	*binaries = Binaries(dir)
	if !b.OnDisk {
		remove, err := scratch.InMemory()
		if err != nil {
			return 1, err
		}
		defer func() { err = errors.Join(err, remove()) }()
	}
	if code = m.Run(); code != 0 {
		return code, nil
	}
	return 0, errors.Join(goleak.Find(), noneRuns(dir))
}

func (b Build) into(dir string) error {
	daemon := scratch.Build
	if Race && !b.NoRace {
		daemon = func(args ...string) error {
			return scratch.GoBuild(nil, append([]string{"-race", "-ldflags=-s"}, args...)...) // without symbols it is linked sooner
		}
	}
	others := []string{"-o", dir + "/"}
	for _, vendor := range []string{"adobesign", "dropboxsign", "esignglobal"} {
		others = append(others, module+"plugins/"+vendor+"/esignd-plugin-"+vendor)
	}
	if b.Tools {
		others = append(others, module+"cmd/plugin-host", module+"plugins/generic/esignd-plugin-generic")
	}
	err := errors.Join(daemon("-o", dir+"/", module+"cmd/esignd"), scratch.Build(others...))
	if b.NATS {
		err = errors.Join(err, scratch.Build("-o", filepath.Join(dir, natsServer), "github.com/nats-io/nats-server/v2"))
	}
	if b.Next {
		err = errors.Join(err, buildNext(dir, daemon))
	}
	return err
}

// noneRuns returns an error where a process of a binary in dir outlives the tests.
func noneRuns(dir string) error {
	var left []Process
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		all, err := Processes()
		if err != nil {
			return err
		}
		left = slices.DeleteFunc(all, func(p Process) bool { return !strings.HasPrefix(p.Exe, dir) })
		if len(left) == 0 {
			return nil
		}
	}
	return fmt.Errorf("processes are left behind: %v", left)
}
