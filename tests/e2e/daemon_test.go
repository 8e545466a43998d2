package e2e

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
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
)

// daemon is an esignd process with a configuration, a data_dir and ports that stay the same over restarts.
type daemon struct {
	t       testing.TB
	config  string // path
	dataDir string
	env     []string
	output  *output // of every process that it was

	nats, public, admin string // addresses

	cmd    *exec.Cmd
	exited chan struct{} // closed when the process of cmd was waited for
}

// output collects what processes write.
type output struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// options change how a daemon is set up.
type options struct {
	clients  []registration
	logLevel string // empty: info
	env      []string
	plugins  string // folder; empty: the binaries under test
	returnTo string
}

// newDaemon writes a configuration and starts nothing.
func newDaemon(t testing.TB, o options) *daemon {
	t.Helper()
	dir := t.TempDir()
	d := &daemon{
		t: t, config: filepath.Join(dir, "esignd.yaml"), dataDir: filepath.Join(dir, "data"), output: &output{},
		nats: freeAddress(t), public: freeAddress(t), admin: freeAddress(t),
	}
	// Of the tests' own environment esignd gets what a service manager gives.
	d.env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + os.TempDir(), "GORACE=halt_on_error=0"}, o.env...)
	for _, r := range o.clients {
		_, secret := r.box.Client()
		d.env = append(d.env, r.secretVariable()+"="+secret)
		if box, ok := r.box.(keyed); ok {
			d.env = append(d.env, r.secretVariable()+"_KEY="+box.APIKey())
		}
	}
	d.write(o)
	return d
}

// write writes the configuration file.
func (d *daemon) write(o options) {
	d.t.Helper()
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "data_dir: %s\nnats: {listen: %q, auth: none}\n", d.dataDir, d.nats)
	_, _ = fmt.Fprintf(&b, "http:\n  listen: %q\n  admin: %q\n  public_url: http://%s\n", d.public, d.admin, d.public)
	if o.returnTo != "" {
		_, _ = fmt.Fprintf(&b, "  return_to: [%q]\n", o.returnTo)
	}
	_, _ = fmt.Fprintf(&b, "plugins: {dir: %s}\nlog: {level: %s}\nclients:\n", cmp.Or(o.plugins, binaries), cmp.Or(o.logLevel, "info"))
	for _, r := range o.clients {
		r.yaml(&b)
	}
	if err := os.WriteFile(d.config, []byte(b.String()), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// startDaemon starts a daemon and waits until it is ready. The test's end stops it.
func startDaemon(t testing.TB, o options) *daemon {
	t.Helper()
	d := newDaemon(t, o)
	t.Cleanup(func() {
		if d.running() {
			d.stop()
		}
		text := d.output.String()
		if strings.Contains(text, "DATA RACE") || strings.Contains(text, "panic:") {
			t.Error("the daemon raced or panicked")
		}
		if t.Failed() {
			t.Logf("the daemon wrote:\n%s", tail(text, 8000))
		}
	})
	d.start()
	return d
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// launch starts the process.
func (d *daemon) launch() {
	d.t.Helper()
	cmd := exec.Command(binary("esignd"), "serve", "--config", d.config)
	cmd.Env, cmd.Stdout, cmd.Stderr = d.env, d.output, d.output
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.cmd, d.exited = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait() // the state tells how it ended
		close(d.exited)
	}()
}

// start starts the process and waits until it is ready.
func (d *daemon) start() {
	d.t.Helper()
	d.launch()
	await(d.t, 45*time.Second, "esignd is ready", func() bool {
		if !d.running() {
			d.t.Fatalf("esignd ended: %s\n%s", d.cmd.ProcessState, d.output)
		}
		resp, err := plain.Get("http://" + d.admin + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// plain is an HTTP client without cookies that leaves no connection behind.
var plain = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func (d *daemon) running() bool {
	select {
	case <-d.exited:
		return false
	default:
		return d.cmd != nil
	}
}

// stop asks the process to end, waits for it, and checks that it ended in order.
func (d *daemon) stop() {
	d.t.Helper()
	d.signal(syscall.SIGTERM)
	if code := d.wait(); code != 0 {
		d.t.Errorf("esignd ended with status %d after SIGTERM\n%s", code, tail(d.output.String(), 4000))
	}
}

// kill ends the process at once.
func (d *daemon) kill() {
	d.t.Helper()
	d.signal(syscall.SIGKILL)
	d.wait()
}

func (d *daemon) signal(s syscall.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		d.t.Fatal(err)
	}
}

// wait returns the exit status, -1 after a signal.
func (d *daemon) wait() int {
	d.t.Helper()
	select {
	case <-d.exited:
	case <-time.After(40 * time.Second):
		_ = d.cmd.Process.Kill()
		d.t.Fatalf("esignd did not end\n%s", tail(d.output.String(), 4000))
	}
	return d.cmd.ProcessState.ExitCode()
}

// plugins returns the processes of the daemon's plugins by vendor.
func (d *daemon) plugins() map[string]int {
	d.t.Helper()
	found := map[string]int{}
	for _, p := range must(processes())(d.t) {
		if vendor, ok := strings.CutPrefix(filepath.Base(p.exe), "esignd-plugin-"); ok && p.parent == d.cmd.Process.Pid {
			found[vendor] = p.pid
		}
	}
	return found
}

// process is what /proc tells of one.
type process struct {
	pid, parent int
	exe         string
}

// processes lists those that run. Zombies are listed with an empty exe.
func processes() ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var list []process
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
		exe, _ := os.Readlink("/proc/" + e.Name() + "/exe")
		list = append(list, process{pid: pid, parent: parent, exe: exe})
	}
	return list, nil
}

// alive lists those of the processes that are there, zombies too.
func alive(pids map[string]int) []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(pids)) {
		if err := syscall.Kill(pids[name], 0); !errors.Is(err, syscall.ESRCH) {
			list = append(list, name)
		}
	}
	return list
}

var nextPort atomic.Int32

// freeAddress returns an address that is free and was given to no other test. Its port is below those that the kernel
// gives to outgoing connections, so that it stays free until the daemon listens.
func freeAddress(t testing.TB) string {
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
		return address
	}
	t.Fatal("no free port")
	return ""
}
