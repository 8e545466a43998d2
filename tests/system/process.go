package system

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/esignd/esignd/tests/transcript"
)

// program is a process that can be started again and again. All but output belongs to the test's goroutine.
type program struct {
	t      testing.TB
	name   string
	output *transcript.Transcript // of every process that it was

	cmd    *exec.Cmd
	exited chan struct{} // closed when the process of cmd was waited for
}

func (p *program) launch(env []string, path string, args ...string) {
	p.t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, p.output, p.output
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	exited := make(chan struct{})
	p.cmd, p.exited = cmd, exited
	go func() {
		_ = cmd.Wait() // the state tells how it ended
		close(exited)
	}()
}

// awaitStart waits until ready reports that the process can be used.
func (p *program) awaitStart(ready func() bool) {
	p.t.Helper()
	Await(p.t, 60*time.Second, p.name+" is ready", func() bool {
		if !p.Running() {
			p.t.Fatalf("%s ended: %s\n%s", p.name, p.cmd.ProcessState, p.output)
		}
		return ready()
	})
}

// PID returns the process id.
func (p *program) PID() int { return p.cmd.Process.Pid }

// Running reports whether the process was started and has not ended.
func (p *program) Running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Stop asks the process to end, waits for it, and checks that it ended in order.
func (p *program) Stop() {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 0 {
		p.t.Errorf("%s ended with status %d after SIGTERM\n%s", p.name, code, p.output.Tail(4000))
	}
}

// Kill ends the process at once.
func (p *program) Kill() {
	p.t.Helper()
	p.Signal(syscall.SIGKILL)
	p.Wait()
}

// Signal sends a signal. After SIGSTOP it returns when the process stands still.
func (p *program) Signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
	if s == syscall.SIGSTOP {
		p.awaitStop()
	}
}

// awaitStop waits until no thread runs any more: one of them has to be scheduled to stop the others, and until then they
// go on.
func (p *program) awaitStop() {
	p.t.Helper()
	threads := fmt.Sprintf("/proc/%d/task/*/stat", p.PID())
	Await(p.t, 30*time.Second, p.name+" stands still", func() bool {
		for _, file := range Must(filepath.Glob(threads))(p.t) {
			b, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
				continue // the thread has ended
			}
			// The state follows the name of the thread, which is in parentheses.
			if _, state, ok := strings.Cut(string(b), ") "); err != nil || !ok || !strings.HasPrefix(state, "T") {
				return false
			}
		}
		return true
	})
}

// Wait waits for the end and returns the exit status, -1 after a signal.
func (p *program) Wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(60 * time.Second):
		_ = p.cmd.Process.Kill()
		p.t.Fatalf("%s did not end\n%s", p.name, p.output.Tail(4000))
	}
	return p.cmd.ProcessState.ExitCode()
}

// Ended is closed when the process that runs has ended.
func (p *program) Ended() <-chan struct{} { return p.exited }

// Process is what /proc tells of one.
type Process struct {
	PID, Parent int
	Exe         string
}

// Processes lists those that run. Zombies are listed with an empty Exe.
func Processes() ([]Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var list []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		parent, _ := strconv.Atoi(fields[1])
		exe, err := os.Readlink("/proc/" + e.Name() + "/exe")
		if errors.Is(err, os.ErrPermission) { // a process that closes its memory, seen by another user than root
			line, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
			exe, _, _ = strings.Cut(string(line), "\x00")
		}
		list = append(list, Process{PID: pid, Parent: parent, Exe: exe})
	}
	return list, nil
}

// Alive lists those of the processes that are there, zombies too.
func Alive(pids map[string]int) []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(pids)) {
		if err := syscall.Kill(pids[name], 0); !errors.Is(err, syscall.ESRCH) {
			list = append(list, name)
		}
	}
	return list
}

var (
	nextPort atomic.Int32
	claimed  sync.Map // listeners by address
)

// FreeAddress returns an address that is free and is given to no other test, of no other process either, while this one
// runs. Its port is below those that the kernel gives to outgoing connections, so that it stays free whenever nobody listens.
func FreeAddress(t testing.TB) string {
	t.Helper()
	nextPort.CompareAndSwap(0, 10_000+rand.Int32N(15_000))
	for range 1000 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(nextPort.Add(1))))
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if claim(address) {
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// claim tells the tests of other processes that a port is taken, by holding that of UDP until this process ends.
func claim(address string) bool {
	l, err := net.ListenPacket("udp", address)
	if err == nil {
		claimed.Store(address, l) // which keeps it from being closed as garbage
	}
	return err == nil
}

// Await polls until done reports true and fails the test when that takes longer than within.
func Await(t testing.TB, within time.Duration, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// Must fails the test on an error and returns the value.
func Must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
