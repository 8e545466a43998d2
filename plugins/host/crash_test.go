package host_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/host"
)

func digest(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func kill9(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// inFlight begins n calls that wait in the adapter, and returns once they are there with a channel of their errors.
func inFlight(ctx context.Context, t *testing.T, p *host.Plugin, logs *logBuffer, n int) <-chan error {
	t.Helper()
	errs := make(chan error, n)
	before := strings.Count(logs.String(), "hanging")
	for range n {
		go func() {
			_, err := token(ctx, p.Adapter(), "hang")
			errs <- err
		}()
	}
	eventually(t, "all calls in the adapter", func() bool {
		select {
		case err := <-errs:
			t.Fatalf("a call ended before all were in the adapter: %v", err)
		default:
		}
		return strings.Count(logs.String(), "hanging") == before+n
	})
	return errs
}

// On a machine at rest the calls in flight fail within a second, and the process is replaced within two. On a busy one that is
// stretched by how long a process takes to start there.
func TestKilledPluginIsReplacedWithin2Seconds(t *testing.T) {
	begun := time.Now()
	p, logs := start(t, "good", host.Limits{Call: time.Hour}) // so that no call's end makes another fail
	starts := time.Since(begun)
	a := p.Adapter()
	errs := inFlight(context.Background(), t, p, logs, 50)
	killed := time.Now()
	kill9(t, p.Status().PID)
	for range 50 {
		wantVendorError(t, <-errs, core.Unknown, core.CodePlugin)
	}
	if took := time.Since(killed); took > max(time.Second, 5*starts) {
		t.Errorf("the calls in flight failed after %v, where a start takes %v", took, starts)
	}
	eventually(t, "a new process", func() bool {
		_, err := token(t.Context(), a, "")
		if err != nil && core.AsVendorError(err).Code != core.CodePlugin {
			t.Errorf("meanwhile: %v", err)
		}
		return err == nil
	})
	if took := time.Since(killed); took > max(2*time.Second, 10*starts) {
		t.Errorf("it was replaced after %v, where a start takes %v", took, starts)
	}
	if s := p.Status(); s.Restarts != 1 || !strings.Contains(s.LastError, "signal: killed") {
		t.Errorf("status: %+v", s)
	}
}

func TestCallsWhileDownAreNotSent(t *testing.T) {
	p, _ := start(t, "good", host.Limits{MinBackoff: time.Hour, MaxBackoff: time.Hour})
	answered := fastest(func() {
		if _, err := token(t.Context(), p.Adapter(), ""); err != nil {
			t.Fatal(err)
		}
	})
	kill9(t, p.Status().PID)
	eventually(t, "the end noticed", func() bool { return p.Status().State == host.Restarting })
	failed := fastest(func() {
		_, err := token(t.Context(), p.Adapter(), "") // which does not wait for the next process: that comes in an hour
		wantVendorError(t, err, core.NotSent, core.CodePlugin)
	})
	if failed > max(100*time.Millisecond, 5*answered) {
		t.Errorf("a call failed after %v, where an answer takes %v, want at once", failed, answered)
	}
	if m, err := p.Adapter().Metadata(t.Context()); err != nil || m.Vendor != "good" {
		t.Errorf("metadata while down: %+v, %v", m, err)
	}
}

func TestPluginThatExitsInACallIsReplaced(t *testing.T) {
	p, _ := start(t, "good", host.Limits{})
	_, err := token(t.Context(), p.Adapter(), "exit")
	wantVendorError(t, err, core.Unknown, core.CodePlugin)
	eventually(t, "a new process", func() bool { return p.Status().Restarts == 1 })
	if s := p.Status(); s.State != host.Ready {
		t.Errorf("status: %+v", s)
	}
}

func TestCallThatIsLeftUnansweredEndsTheProcessFirst(t *testing.T) {
	p, _ := start(t, "good", host.Limits{})
	pid := p.Status().PID
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := token(ctx, p.Adapter(), "hang")
	wantVendorError(t, err, core.Unknown, core.CodeTimeout)
	if alive(pid) {
		t.Error("the call has returned and its process still runs")
	}
}

func TestCancelledTokenCallEndsTheProcessFirst(t *testing.T) {
	p, logs := start(t, "good", host.Limits{})
	pid := p.Status().PID
	others := inFlight(context.Background(), t, p, logs, 3)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := inFlight(ctx, t, p, logs, 1)
	cancel()
	wantVendorError(t, <-result, core.Unknown, core.CodeTimeout)
	if alive(pid) {
		t.Error("the call has returned and its process still runs")
	}
	for range 3 {
		wantVendorError(t, <-others, core.Unknown, core.CodePlugin)
	}
}

func TestWalkingAwayFromACallbackCostsNothing(t *testing.T) {
	p, logs := start(t, "good", host.Limits{})
	pid := p.Status().PID
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan error, 1)
	go func() {
		_, err := p.Adapter().Callback(ctx, core.CallbackRequest{Client: core.Credentials{ClientID: "hang"}})
		result <- err
	}()
	eventually(t, "the call in the adapter", func() bool { return strings.Contains(logs.String(), "hanging") })
	cancel()
	wantVendorError(t, <-result, core.Unknown, core.CodeTimeout)
	if _, err := token(t.Context(), p.Adapter(), ""); err != nil || p.Status().PID != pid {
		t.Errorf("the process was lost: %v", err)
	}
}

func TestCallWithoutTimeLeftIsNotSent(t *testing.T) {
	p, _ := start(t, "good", host.Limits{})
	pid := p.Status().PID
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := token(ctx, p.Adapter(), "")
	wantVendorError(t, err, core.NotSent, core.CodeTimeout)
	if p.Status().PID != pid || !alive(pid) {
		t.Error("a call that was not sent cost the process")
	}
}

func TestPanicIsTheFailureOfOneCall(t *testing.T) {
	p, logs := start(t, "good", host.Limits{})
	pid := p.Status().PID
	_, err := token(t.Context(), p.Adapter(), "panic")
	wantVendorError(t, err, core.Unknown, core.CodeInternal)
	if _, err := token(t.Context(), p.Adapter(), ""); err != nil || p.Status().PID != pid {
		t.Errorf("the process was lost: %v", err)
	}
	eventually(t, "the stack in the log", func() bool {
		return strings.Contains(logs.String(), "the adapter panicked") && strings.Contains(logs.String(), "scripted.act")
	})
	if strings.Contains(logs.String()+err.Error(), "CANARY") || strings.Contains(logs.String(), "s3cret") {
		t.Error("what was panicked with is in the log")
	}
}

func TestCrashIsLoggedWithoutThePanicsValue(t *testing.T) {
	p, logs := start(t, "good", host.Limits{})
	_, err := token(t.Context(), p.Adapter(), "crash")
	wantVendorError(t, err, core.Unknown, core.CodePlugin)
	eventually(t, "the stack in the log", func() bool {
		return strings.Contains(logs.String(), "value withheld") && strings.Contains(logs.String(), "goroutine ")
	})
	if strings.Contains(logs.String(), "CANARY") || strings.Contains(logs.String(), "s3cret") {
		t.Error("what was panicked with is in the log")
	}
}

func TestHugeAnswerIsRefused(t *testing.T) {
	p, _ := start(t, "good", host.Limits{})
	_, err := token(t.Context(), p.Adapter(), "huge")
	wantVendorError(t, err, core.Unknown, core.CodeInternal)
	if _, err := token(t.Context(), p.Adapter(), ""); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestHungProcessIsReplaced(t *testing.T) {
	p, _ := start(t, "good", quick)
	pid := p.Status().PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a new process", func() bool { return p.Status().Restarts > 0 })
	if s := p.Status(); s.PID == pid || !strings.Contains(s.LastError, "missed 3 health checks") {
		t.Errorf("status: %+v", s)
	}
	if alive(pid) {
		t.Error("the hung process still runs")
	}
	if _, err := token(t.Context(), p.Adapter(), ""); err != nil {
		t.Error(err)
	}
}

func TestCloseIsBounded(t *testing.T) {
	t.Run("of a hung process with calls in flight", func(t *testing.T) {
		limits := quick
		limits.HealthPeriod = time.Hour
		begun := time.Now()
		p, logs := start(t, "good", limits)
		within := bounded(time.Since(begun))
		errs := inFlight(context.Background(), t, p, logs, 3)
		pid := p.Status().PID
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		begun = time.Now()
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > within {
			t.Errorf("it took %v, and may take %v", took, within)
		}
		if alive(pid) {
			t.Error("the process still runs")
		}
		for range 3 {
			wantVendorError(t, <-errs, core.Unknown, core.CodePlugin)
		}
	})
	t.Run("by its context", func(t *testing.T) {
		begun := time.Now()
		p, logs := start(t, "good", host.Limits{Drain: time.Minute})
		within := bounded(time.Since(begun))
		errs := inFlight(context.Background(), t, p, logs, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		begun = time.Now()
		if err := p.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > within {
			t.Errorf("it took %v, and may take %v", took, within)
		}
		wantVendorError(t, <-errs, core.Unknown, core.CodePlugin)
	})
}

func TestCloseLetsCallsEnd(t *testing.T) {
	p, _ := start(t, "good", host.Limits{Call: 3 * time.Second})
	result := make(chan error, 1)
	go func() {
		_, err := token(context.Background(), p.Adapter(), "slow") // answers shortly before 3 s
		result <- err
	}()
	eventually(t, "the call in flight", func() bool { return host.InFlight(p) == 1 })
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantVendorError(t, <-result, core.Unknown, core.CodeTimeout)
}

func TestGrandchildrenDoNotHoldUpTheHost(t *testing.T) {
	begun := time.Now()
	p, _ := start(t, "forks", host.Limits{})
	within := bounded(time.Since(begun))
	pid := p.Status().PID
	kill9(t, pid)
	eventually(t, "a new process", func() bool { return p.Status().Restarts == 1 })
	begun = time.Now()
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > within {
		t.Errorf("closing took %v, and may take %v", took, within)
	}
	if err := syscall.Kill(-pid, 0); err == nil {
		eventually(t, "the end of the process group", func() bool { return syscall.Kill(-pid, 0) != nil })
	}
}

func TestPluginEndsWithItsHost(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(sockets) }()
	other := exec.Command(self, "be-host", binary(t, "good"), sockets)
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || !alive(pid) {
		t.Fatalf("the plugin of the other host: %q, %v", line, err)
	}
	starts := time.Since(begun)
	kill9(t, other.Process.Pid)
	_ = other.Wait()
	killed := time.Now()
	eventually(t, "the end of the plugin", func() bool { return !alive(pid) })
	if took := time.Since(killed); took > max(3*time.Second, 5*starts) {
		t.Errorf("it ended %v after its host, where both start in %v", took, starts)
	}
}

func TestPluginOutlivesASignalToTheService(t *testing.T) {
	p, _ := start(t, "good", host.Limits{})
	pid := p.Status().PID
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		if err := syscall.Kill(pid, s); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		if _, err := token(t.Context(), p.Adapter(), ""); err != nil {
			t.Fatal(err)
		}
	}
	if p.Status().PID != pid {
		t.Error("the process was lost")
	}
}

// TestPluginDiesManyTimesUnderLoad kills the process again and again while calls go on: each call ends, with a token or
// with an outcome that is true.
func TestPluginDiesManyTimesUnderLoad(t *testing.T) {
	p, _ := start(t, "good", host.Limits{MaxBackoff: 20 * time.Millisecond, MinBackoff: 10 * time.Millisecond})
	a := p.Adapter()
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for ctx.Err() == nil {
				if _, err := token(context.Background(), a, ""); err != nil {
					if code := core.AsVendorError(err).Code; code != core.CodePlugin {
						t.Errorf("got %v", err)
					}
				}
				<-time.After(time.Millisecond) // a load that leaves the machine to the next process
			}
		})
	}
	for n := range 10 {
		var s host.Status
		eventually(t, "a ready process", func() bool { s = p.Status(); return s.State == host.Ready && s.Restarts == n })
		kill9(t, s.PID)
		eventually(t, "the end noticed", func() bool { return p.Status().Restarts > n })
	}
	cancel()
	callers.Wait()
}
