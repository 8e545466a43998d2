package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
)

// boundedVariable tells this binary that it is the process whose memory is bounded.
const boundedVariable = "ESIGND_TEST_BOUNDED"

func TestMemoryIsBoundedWhereThatOfTheContainerIs(t *testing.T) {
	if os.Getenv(boundedVariable) != "" {
		if err := boundMemory(); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("limit=%d held=%d\n", debug.SetMemoryLimit(-1), len(holdReserve(startReserve)))
		return
	}
	for name, tt := range map[string]struct{ env, want string }{
		"by the group":    {want: fmt.Sprintf("limit=%d held=%d", 192<<20, 24<<20)},
		"by the operator": {env: "GOMEMLIMIT=100MiB", want: fmt.Sprintf("limit=%d held=0", 100<<20)},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "sh", "-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`, boundedGroup(t, 256<<20),
				os.Args[0], "-test.run=^TestMemoryIsBoundedWhereThatOfTheContainerIs$", "-test.v")
			cmd.Env = []string{boundedVariable + "=1", "PATH=" + os.Getenv("PATH"), tt.env}
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), tt.want) {
				t.Errorf("%v, want %s of\n%s", err, tt.want, out)
			}
		})
	}
}

// boundedGroup makes a control group with so much memory, in either version of them. It skips the test where it may not.
func boundedGroup(t *testing.T, memory int) string {
	t.Helper()
	var problem error
	for parent, limit := range map[string]string{"/sys/fs/cgroup/memory": "memory.limit_in_bytes", "/sys/fs/cgroup": "memory.max"} {
		dir, err := os.MkdirTemp(parent, "esignd-test-")
		if err != nil {
			problem = err
			continue
		}
		t.Cleanup(func() {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		})
		file, err := os.OpenFile(filepath.Join(dir, limit), os.O_WRONLY, 0)
		if err != nil {
			problem = err
			continue
		}
		_, err = file.WriteString(strconv.Itoa(memory))
		if problem = err; file.Close() == nil && problem == nil {
			return dir
		}
	}
	t.Skipf("a control group with a bound on its memory cannot be made here: %v", problem)
	return ""
}
