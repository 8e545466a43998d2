package host

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin/runner"
)

const (
	maxHandshake = 16 << 10               // bytes of the first line of standard output
	outputGrace  = 200 * time.Millisecond // for the last output of an ended process
	exitNotice   = 200 * time.Millisecond // from a lost connection to the end of its process
)

// spawner starts processes, all from one thread that lives as long as it does: the kernel kills a child with
// Pdeathsig when the thread that started it ends.
type spawner struct {
	starts chan func()
	done   chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{starts: make(chan func()), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for start := range s.starts {
			start()
		}
	}()
	return s
}

// start is cmd.Start on the spawner's thread.
func (s *spawner) start(cmd *exec.Cmd) error {
	result := make(chan error, 1)
	s.starts <- func() { result <- cmd.Start() }
	return <-result
}

// close ends the thread. The processes have ended by then.
func (s *spawner) close() {
	close(s.starts)
	<-s.done
}

// process is one run of a plugin's binary and the leader of its own process group. It implements go-plugin's
// runner.Runner, so that go-plugin makes the handshake and the keys, and nothing else of the process is left to it:
// its own reader of standard error can be made to panic by what it reads, and its wait for the end never returns while
// a grandchild holds a pipe.
type process struct {
	spawner *spawner
	path    string
	args    []string
	env     []string // go-plugin's part is added by it
	log     *outputLog

	socketDir string         // go-plugin's folder for the socket of this run
	hello     *io.PipeReader // what go-plugin reads: the first line of standard output and then the end
	helloDone chan struct{}  // closed once firstLine is set
	firstLine string
	exited    chan struct{} // closed once the process and its group are gone
	closed    chan struct{} // closed once its output was read, after exited; never where it was not started

	mu      sync.Mutex // guards what follows
	cmd     *exec.Cmd  // nil until started
	cause   string     // of the kill, once there was one
	reaped  bool
	waitErr error
}

func newProcess(s *spawner, cfg Config, log *outputLog, env []string) *process {
	return &process{
		spawner: s, path: cfg.Path, args: cfg.Args, env: env, log: log,
		helloDone: make(chan struct{}), exited: make(chan struct{}), closed: make(chan struct{}),
	}
}

// Start starts the process, with its ends of the output pipes and nothing else of this one's.
func (p *process) Start(context.Context) error {
	stdout, stdoutW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	stderr, stderrW, err := os.Pipe()
	if err != nil {
		return errors.Join(fmt.Errorf("make a pipe: %w", err), stdout.Close(), stdoutW.Close())
	}
	cmd := exec.Command(p.path, p.args...) //nolint:gosec // the file was checked; no context: kill ends it, with its group
	cmd.Env = p.env
	cmd.Stdout, cmd.Stderr = stdoutW, stderrW
	cmd.SysProcAttr = ownGroup()
	err = p.spawner.start(cmd)
	_ = stdoutW.Close() // the child has its own
	_ = stderrW.Close()
	if err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", p.path, err), stdout.Close(), stderr.Close())
	}
	restrict(cmd.Process.Pid)
	p.mu.Lock()
	p.cmd = cmd
	if p.cause != "" {
		killGroup(cmd.Process.Pid)
	}
	p.mu.Unlock()
	var hello *io.PipeWriter
	p.hello, hello = io.Pipe()
	go p.run(stdout, stderr, hello)
	return nil
}

// run reads the output until the process and its group have ended.
func (p *process) run(stdout, stderr *os.File, hello *io.PipeWriter) {
	defer close(p.closed)
	var readers sync.WaitGroup
	readers.Go(func() { p.readStdout(stdout, hello) })
	readers.Go(func() { p.log.readAll(stderr) })
	p.reap()
	close(p.exited)
	// A grandchild that left the group may hold the pipes for ever.
	end := time.Now().Add(outputGrace)
	_ = stdout.SetReadDeadline(end)
	_ = stderr.SetReadDeadline(end)
	_ = p.hello.Close()
	readers.Wait()
	_ = stdout.Close()
	_ = stderr.Close()
}

// readStdout hands the first line to go-plugin and drops the rest, which is not for anybody: a plugin that filled the
// pipe would stand still.
func (p *process) readStdout(stdout io.Reader, hello *io.PipeWriter) {
	r := bufio.NewReaderSize(stdout, maxHandshake)
	line, err := r.ReadSlice('\n')
	p.firstLine = string(line)
	close(p.helloDone)
	if err == nil {
		_, _ = hello.Write(line)
	}
	_ = hello.Close()
	p.log.drop(r)
}

// kill ends the process and its group, once it is started and unless it was reaped: its number may be another's then.
// The first cause counts.
func (p *process) kill(cause string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cause = cmp.Or(p.cause, cause)
	if p.cmd != nil && !p.reaped {
		killGroup(p.cmd.Process.Pid)
	}
}

// pid is 0 before the start.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// exitText says how the process ended, once it has.
func (p *process) exitText() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.waitErr == nil:
		return "exit status 0"
	case p.cause != "" && wasKilled(p.waitErr):
		return p.cause + " and was killed"
	default:
		return p.waitErr.Error()
	}
}

// wasKilled reports whether SIGKILL ended the process: it may have ended by itself before a kill reached it.
func wasKilled(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// endsByItself reports whether a process that was lost has ended, and was not killed by this one. It waits a moment for
// that: the connection ends before the process does.
func (p *process) endsByItself() bool {
	timeout := time.NewTimer(exitNotice)
	defer timeout.Stop()
	select {
	case <-p.exited:
	case <-timeout.C:
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cause == "" || !wasKilled(p.waitErr)
}

// setReaped notes that the process is gone. The caller holds mu.
func (p *process) setReaped(err error) {
	p.reaped = true
	p.waitErr = err
}

// Wait implements runner.Runner.
func (p *process) Wait(context.Context) error {
	<-p.exited
	return nil
}

// Kill implements runner.Runner.
func (p *process) Kill(context.Context) error {
	p.kill("go-plugin gave it up")
	return nil
}

// Stdout implements runner.Runner.
func (p *process) Stdout() io.ReadCloser { return p.hello }

// Stderr implements runner.Runner: go-plugin gets nothing to read.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name implements runner.Runner.
func (p *process) Name() string { return p.path }

// ID implements runner.Runner.
func (p *process) ID() string { return strconv.Itoa(p.pid()) }

// Diagnose implements runner.Runner; the errors of launch say more.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.Runner. The socket is in the folder that the plugin was given: secrets go there.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" || filepath.Dir(address) != p.socketDir {
		return "", "", fmt.Errorf("it listens on %s %q and not in its socket folder", network, address)
	}
	return network, address, nil
}

// HostToPlugin implements runner.Runner.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// prepare takes from go-plugin what it adds to the environment, and the folder it made for the socket.
func (p *process) prepare(_ hclog.Logger, spec *exec.Cmd, socketDir string) (runner.Runner, error) {
	p.env = append(p.env, spec.Env...)
	p.socketDir = socketDir
	return p, nil
}
