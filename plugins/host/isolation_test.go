package host_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/esignd/esignd/plugins/host"
)

func TestSocketAnswersItsHostOnly(t *testing.T) {
	sockets, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(sockets) }()
	p := newPlugin(t, host.Config{Env: raceEnv, Path: binary(t, "good"), Vendor: "good", SocketDir: sockets})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close(t.Context()) }()
	found, err := filepath.Glob(filepath.Join(sockets, "good", "plugin-dir*", "plugin*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("sockets: %v, %v", found, err)
	}
	conn, err := grpc.NewClient("unix:"+found[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	request := &grpc_health_v1.HealthCheckRequest{Service: goplugin.GRPCServiceName}
	if _, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, request); err == nil {
		t.Error("the socket answers somebody without the host's key")
	}
	if _, err := token(t.Context(), p.Adapter(), ""); err != nil {
		t.Errorf("its host: %v", err)
	}
}

// TestPluginOutlivesTheThreadThatAskedForIt guards against the kernel's rule that a child with a death signal gets it
// when the thread that started it ends, and not only when the process does.
func TestPluginOutlivesTheThreadThatAskedForIt(t *testing.T) {
	p := newPlugin(t, host.Config{Env: raceEnv, Path: binary(t, "good"), Vendor: "good"})
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // without Unlock: the thread ends with the goroutine
		started <- p.Start(t.Context())
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close(t.Context()) }()
	pid := p.Status().PID
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		if _, err := token(t.Context(), p.Adapter(), ""); err != nil {
			t.Fatal(err)
		}
	}
	if p.Status().PID != pid {
		t.Error("the process was lost")
	}
}

func TestPluginHasNoStandardInputAndNoOtherFile(t *testing.T) {
	if !haveProc() {
		t.Skip("there is no /proc to look at")
	}
	held, err := os.Create(filepath.Join(t.TempDir(), "held")) // a file that this process has open
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()
	p, _ := start(t, "good", host.Limits{})
	dir := fmt.Sprintf("/proc/%d/fd", p.Status().PID)
	if os.Geteuid() != 0 {
		t.Skip("only root can look into a plugin")
	}
	if stdin, err := os.Readlink(filepath.Join(dir, "0")); err != nil || stdin != os.DevNull {
		t.Errorf("standard input is %s, %v", stdin, err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if target, _ := os.Readlink(filepath.Join(dir, f.Name())); target == held.Name() {
			t.Errorf("the plugin has this process's file %s", target)
		}
	}
}

// TestPluginsMemoryIsClosed looks at a plugin from outside, as others of its user could.
func TestPluginsMemoryIsClosed(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux closes a process's memory")
	}
	p, _ := start(t, "good", host.Limits{})
	proc := fmt.Sprintf("/proc/%d/", p.Status().PID)
	limits, err := os.ReadFile(proc + "limits")
	if err != nil || !regexp.MustCompile(`Max core file size +0 +0 `).Match(limits) {
		t.Errorf("it may write core files: %v\n%s", err, limits)
	}
	info, err := os.Stat(proc + "mem") // of a process that can be dumped it is the process's own user's
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("its memory is not root's alone: %+v, %v", info, err)
	}
	if _, err := os.ReadFile(proc + "environ"); err == nil && os.Geteuid() != 0 {
		t.Error("others can read its environment")
	}
	if score, err := os.ReadFile(proc + "oom_score_adj"); err != nil || strings.TrimSpace(string(score)) != "1000" {
		t.Errorf("the kernel does not end it first where memory runs out: %q, %v", score, err)
	}
}
