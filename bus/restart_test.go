package bus

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
)

const childRecords = 20

// runChild is the child process: it writes records and timers, says so, and lives until it is killed.
func runChild(dir string) error {
	ctx := context.Background()
	b, err := Open(ctx, embeddedConfig(dir))
	if err != nil {
		return err
	}
	if err := fill(ctx, b); err != nil {
		return err
	}
	fmt.Println("written by", b.Owner())
	select {}
}

// fill writes records, an event and timers: due.late in an hour, due.soon in two seconds, due.never disarmed.
func fill(ctx context.Context, b *Bus) error {
	for i := range childRecords {
		r := core.Record{Key: fmt.Sprintf("grant.g_%d", i), Public: []byte(`{"n":1}`), Secret: []byte("token")}
		revision, err := b.Store().Put(ctx, r)
		if err != nil {
			return err
		}
		r.Revision, r.Public = revision, []byte(`{"n":2}`)
		if _, err := b.Store().Put(ctx, r); err != nil {
			return err
		}
	}
	if err := b.Publisher().Publish(ctx, testEvent("e1")); err != nil {
		return err
	}
	for _, timer := range []struct {
		grant string
		in    time.Duration
	}{{"late", time.Hour}, {"soon", 2 * time.Second}, {"never", 2 * time.Second}} {
		if err := b.Timers().Arm(ctx, "vendor", timer.grant, time.Now().Add(timer.in)); err != nil {
			return err
		}
	}
	return b.Timers().Disarm(ctx, "vendor", "never")
}

func TestKilledServerKeepsRecordsEventsAndTimers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the child did not write: %v", err)
	}
	if _, err := Open(testContext(t), embeddedConfig(dir)); err == nil ||
		!strings.Contains(err.Error(), fmt.Sprintf("process %d", cmd.Process.Pid)) {
		t.Errorf("a second esignd on the data_dir: %v, want an error that names process %d", err, cmd.Process.Pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	b := openBus(t, embeddedConfig(dir))
	if owner := strings.TrimSpace(strings.TrimPrefix(line, "written by ")); owner != b.Owner() {
		t.Errorf("owner %s, before it was %s", b.Owner(), owner)
	}
	checkFilled(t, b)
}

func TestStoppedServerKeepsRecordsEventsAndTimers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := openBus(t, embeddedConfig(dir))
	if err := fill(testContext(t), b); err != nil {
		t.Fatal(err)
	}
	owner := b.Owner()
	closeBus(t, b)
	b = openBus(t, embeddedConfig(dir))
	if b.Owner() != owner {
		t.Errorf("owner %s, before it was %s", b.Owner(), owner)
	}
	checkFilled(t, b)
}

func checkFilled(t *testing.T, b *Bus) {
	t.Helper()
	ctx := testContext(t)
	for i := range childRecords {
		r, err := b.Store().Get(ctx, fmt.Sprintf("grant.g_%d", i))
		if err != nil {
			t.Fatal(err)
		}
		if string(r.Public) != `{"n":2}` || string(r.Secret) != "token" || r.Revision != uint64(2*i+2) {
			t.Errorf("record %d: %s, revision %d", i, r.Public, r.Revision)
		}
	}
	if last, err := b.Publisher().Last(ctx, testEvent("")); err != nil || last.ID != "e1" {
		t.Errorf("last event %q, %v; want e1", last.ID, err)
	}
	armed, err := b.Timers().Armed(ctx)
	if err != nil {
		t.Fatal(err)
	}
	delete(armed, "soon") // which may have come due by now
	if len(armed) != 1 || !armed["late"] {
		t.Errorf("armed besides soon is %v, want late", armed)
	}
	due := work(t, b.Timers(), "vendor", 1, nil)
	if d := <-due; d.Grant != "soon" {
		t.Errorf("due: %s, want soon", d.Grant)
	}
}

func TestStoreOfAClusterIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	closeBus(t, openBus(t, embeddedConfig(dir)))
	mark := filepath.Join(dir, serverFolder, standaloneFile)
	if err := os.Remove(mark); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(testContext(t), embeddedConfig(dir)); err == nil || !strings.Contains(err.Error(), "cluster") {
		t.Errorf("streams without a mark: %v, want an error about a cluster", err)
	}
	if err := os.WriteFile(mark, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(testContext(t), embeddedConfig(dir)); err == nil || !strings.Contains(err.Error(), mark) {
		t.Errorf("another mark: %v, want an error that names it", err)
	}
}

func TestStoreLeftBehindForAnExternalServerIsTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := openBus(t, embeddedConfig(dir))
	put(t, b.Store(), core.Record{Key: "grant.a", Public: []byte(`{}`), Secret: []byte("token")})
	closeBus(t, b)
	var log bytes.Buffer
	cfg := externalConfig(t, startExternal(t, nil).ClientURL())
	cfg.DataDir, cfg.Logger = dir, slog.New(slog.NewTextHandler(&log, nil))
	closeBus(t, openBus(t, cfg))
	if folder := filepath.Join(dir, serverFolder); !strings.Contains(log.String(), "docs/scaling.md") || !strings.Contains(log.String(), folder) {
		t.Errorf("the log does not say where the grants are, and what to do:\n%s", &log)
	}
	again := openBus(t, embeddedConfig(dir))
	if _, err := again.Store().Get(testContext(t), "grant.a"); err != nil {
		t.Errorf("the store that was left behind: %v", err)
	}
}

func TestDataDirIsFreeAfterCloseAndAfterAFailedStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := openBus(t, embeddedConfig(dir))
	busy := embeddedConfig(t.TempDir())
	busy.Listen = strings.TrimPrefix(b.ClientURL(), "nats://")
	if _, err := Open(testContext(t), busy); err == nil || !strings.Contains(err.Error(), busy.Listen) ||
		!strings.Contains(err.Error(), "in use") {
		t.Errorf("a busy port: %v, want an error that names %s", err, busy.Listen)
	}
	busy.Listen = "127.0.0.1:0"
	closeBus(t, openBus(t, busy))
	if _, err := Open(testContext(t), embeddedConfig(dir)); err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("a busy data_dir: %v, want an error that says who has it", err)
	}
	closeBus(t, b)
	openBus(t, embeddedConfig(dir))
}

// A process that is being started has all files of its parent open until it runs its own program.
func TestDataDirIsFreeThoughItsLockIsOpenElsewhere(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	dir, err := openDataDir(path)
	if err != nil {
		t.Fatal(err)
	}
	inherited, err := syscall.Dup(int(dir.lock.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(inherited) }()
	if err := dir.close(); err != nil {
		t.Fatal(err)
	}
	if dir, err = openDataDir(path); err != nil {
		t.Fatal(err)
	}
	if err := dir.close(); err != nil {
		t.Error(err)
	}
}

func TestCloseEndsWhatStillWatchesAndWorks(t *testing.T) {
	t.Parallel()
	b := openBus(t, embeddedConfig(t.TempDir()))
	ended := make(chan error, 2)
	synced := make(chan struct{}, 1)
	go func() {
		ended <- b.Store().Watch(context.Background(), func(u core.Update) {
			if u.Synced {
				synced <- struct{}{}
			}
		})
	}()
	<-synced
	worked := make(chan struct{}, 1)
	go func() {
		ended <- b.Timers().Work(context.Background(), "vendor", 2, func(context.Context, core.Due) error {
			select {
			case worked <- struct{}{}:
			default: // it came again
			}
			return nil
		})
	}()
	arm(t, b.Timers(), "vendor", "g_1", time.Now())
	<-worked
	closeBus(t, b)
	for range 2 {
		select {
		case err := <-ended:
			if !errors.Is(err, ErrNotRunning) {
				t.Errorf("ended with %v, want ErrNotRunning", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("it goes on after Close")
		}
	}
}
