package host_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/host"
	"github.com/esignd/esignd/plugins/internal/hostile"
	"github.com/esignd/esignd/plugins/internal/wire"
	"github.com/esignd/esignd/plugins/sdk"
	"github.com/esignd/esignd/tests/transcript"
)

// TestMain makes the test binary a plugin where it is started under a plugin's name: what kind, the vendor says.
func TestMain(m *testing.M) {
	if vendor, ok := strings.CutPrefix(filepath.Base(os.Args[0]), wire.FilePrefix); ok {
		bePlugin(vendor)
		return
	}
	if len(os.Args) > 3 && os.Args[1] == "be-host" {
		beHost(os.Args[2], os.Args[3])
		return
	}
	// Most of what tests of processes do is wait.
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// bePlugin is what the plugin's process does.
func bePlugin(vendor string) {
	if hostile.Serve(vendor) {
		return
	}
	adapter := core.Adapter(checking{scripted{vendor: vendor}})
	switch vendor {
	case "plain":
		adapter = scripted{vendor: vendor}
	case "exits":
		fmt.Fprintln(os.Stderr, "the config is missing")
		os.Exit(3)
	case "prints":
		fmt.Println("hello, I am a library that prints")
	case "silent":
		select {}
	case "dies":
		fmt.Println("1|1|unix|" + filepath.Join(os.Getenv(goplugin.EnvUnixSocketDir), "plugin1") + "|grpc|")
		fmt.Fprintln(os.Stderr, "the socket is not there")
		os.Exit(4)
	case "remote":
		fmt.Println("1|1|tcp|127.0.0.1:1|grpc|")
		select {}
	case "endless":
		fmt.Print(strings.Repeat("x", 1<<20))
		select {}
	case "future":
		serveVersion(7)
		return
	case "liar":
		adapter = scripted{vendor: "somebodyelse"}
	case "evillogs":
		for _, line := range []string{`{"@message":1}`, `{"@level":{},"@timestamp":[]}`, `{"level":7,"msg":null}`, `{"@message":"x","@timestamp":"yesterday"}`, "{", "\x00\xff"} {
			fmt.Fprintln(os.Stderr, line)
		}
	}
	sdk.Serve(adapter)
}

// beHost starts the plugin at path, prints its process number and waits to be killed.
func beHost(path, sockets string) {
	p, err := host.New(host.Config{Path: path, Vendor: "good", SocketDir: sockets})
	if err == nil {
		err = p.Start(context.Background())
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(p.Status().PID)
	select {}
}

// serveVersion serves nothing, under another version of the protocol.
func serveVersion(version int) {
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  goplugin.HandshakeConfig{MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue},
		VersionedPlugins: map[int]goplugin.PluginSet{version: {wire.PluginName: nothing{}}},
		GRPCServer:       goplugin.DefaultGRPCServer,
	})
}

type nothing struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (nothing) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error { return nil }

func (nothing) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

// scripted is an adapter that does what the client's id says.
type scripted struct{ vendor string }

func (s scripted) Metadata(context.Context) (core.Metadata, error) {
	return core.Metadata{
		Vendor: s.vendor, Title: "Test", Version: "1.2.3",
		GrantTypes:     []core.GrantType{core.AuthorizationCode, core.RefreshToken},
		AccessLifetime: time.Hour, RotatesRefreshTokens: true,
		SettingsSchema: json.RawMessage(`{"type":"object"}`),
	}, nil
}

func (s scripted) AuthorizationURL(ctx context.Context, r core.AuthorizationRequest) (string, error) {
	if r.Client.ClientID == "plain http" {
		return "http://vendor.example/authorize", nil
	}
	return "https://vendor.example/authorize?state=" + r.State, s.act(ctx, r.Client)
}

func (s scripted) Callback(ctx context.Context, r core.CallbackRequest) (core.CallbackResult, error) {
	return core.CallbackResult{Code: core.NewSecret(r.Params.Get("code")), Denied: r.Params.Get("error")}, s.act(ctx, r.Client)
}

func (s scripted) Token(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
	if err := s.act(ctx, r.Client); err != nil {
		return core.TokenResponse{}, err
	}
	access := "access-" + r.RefreshToken.Reveal()
	switch r.Client.ClientID {
	case "huge":
		access = strings.Repeat("x", 2<<20)
	case "empty":
		access = ""
	case "environment":
		access = strings.Join(os.Environ(), "\n")
	}
	return core.TokenResponse{
		AccessToken: core.NewSecret(access), TokenType: "Bearer", RefreshToken: core.NewSecret("rotated"),
		ExpiresIn: time.Hour, Scope: []string{},
	}, nil
}

func (s scripted) Revoke(ctx context.Context, r core.RevocationRequest) error {
	if r.Client.ClientID == "none" {
		return errors.ErrUnsupported
	}
	return s.act(ctx, r.Client)
}

func (s scripted) act(ctx context.Context, client core.Credentials) error {
	switch client.ClientID {
	case "hang":
		fmt.Fprintln(os.Stderr, "hanging")
		select {}
	case "slow":
		<-ctx.Done()
		return &core.VendorError{Outcome: core.Unknown, Code: core.CodeTimeout, Detail: "the vendor was slow"}
	case "panic":
		panic("CANARY-" + client.ClientSecret.Reveal())
	case "crash":
		go panic("CANARY-" + client.ClientSecret.Reveal())
		select {}
	case "exit":
		os.Exit(5)
	case "fail":
		return errors.New("CANARY: the vendor said it")
	case "refused":
		return &core.VendorError{Outcome: core.Refused, Code: core.CodeInvalidGrant, Status: 400, Detail: "the vendor refused"}
	case "flood":
		block := bytes.Repeat([]byte("y"), 1<<20)
		for range 20 {
			if _, err := rawStderr.Write(block); err != nil {
				return err
			}
		}
	case "print":
		fmt.Println(strings.Repeat("printed ", 100000))
	case "log":
		slog.InfoContext(ctx, "from the adapter", "answer", 42)
	}
	return nil
}

// rawStderr is the process's own standard error: go-plugin puts a pipe in its place.
var rawStderr = os.Stderr

// checking is scripted that has every ability. What it does the client's id says, and the e-mail address or body what it answers.
type checking struct{ scripted }

func (checking) CheckAPIBaseURL(_ context.Context, _ core.Credentials, rawURL string) (string, error) {
	if !strings.Contains(rawURL, "vendor.example") {
		return "", &core.VendorError{Outcome: core.NotSent, Code: core.CodeHostRefused, Detail: "only vendor.example is the vendor's"}
	}
	return "https://vendor.example", nil
}

// binary returns the path of a plugin's file of that vendor, in a folder of its own.
func binary(t *testing.T, vendor string) string {
	t.Helper()
	return binaryIn(t, closedDir(t), vendor)
}

func binaryIn(t *testing.T, dir, vendor string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, host.FileName(vendor))
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// closedDir returns a folder that others cannot write, whatever the umask.
func closedDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// raceEnv keeps the race detector from waiting a second at the end of each plugin.
var raceEnv = []string{"GORACE=atexit_sleep_ms=0"}

// quick are limits for tests that wait for them.
var quick = host.Limits{
	Start: time.Minute, HealthPeriod: 200 * time.Millisecond, HealthTimeout: time.Second,
	Drain: 500 * time.Millisecond, Kill: 500 * time.Millisecond,
}

// start starts a plugin of that vendor, which is closed with the test, and returns it with what it logs.
func start(t *testing.T, vendor string, limits host.Limits) (*host.Plugin, *logBuffer) {
	t.Helper()
	logs := &logBuffer{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log:\n%s", logs)
		}
	})
	p, err := host.New(host.Config{Path: binary(t, vendor), Vendor: vendor, Logger: logs.logger(), Limits: limits, Env: raceEnv})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p, logs
}

// token asks for a token as the client that makes the adapter do what its name says.
func token(ctx context.Context, a core.Adapter, client string) (core.TokenResponse, error) {
	return a.Token(ctx, core.TokenRequest{
		Client:       core.Credentials{ClientID: client, ClientSecret: core.NewSecret("s3cret")},
		GrantType:    core.RefreshToken,
		RefreshToken: core.NewSecret("r1"),
	})
}

// wantVendorError checks what is known of a failed call.
func wantVendorError(t *testing.T, err error, outcome core.Outcome, code string) {
	t.Helper()
	var e *core.VendorError
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a VendorError", err)
	}
	if e.Outcome != outcome || e.Code != code {
		t.Errorf("got %v, want %s [%s]", e, code, outcome)
	}
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// alive reports whether the process runs; a zombie does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return os.IsNotExist(err) && !haveProc()
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func haveProc() bool {
	_, err := os.Stat("/proc/self/stat")
	return err == nil
}

// logBuffer keeps what is logged.
type logBuffer struct {
	transcript.Transcript
	begun time.Time
}

func (b *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// bounded is how long takes at most what the limits end after a second or so. On a busy machine that is stretched by how long a
// process takes to start there.
func bounded(starts time.Duration) time.Duration { return max(4*time.Second, 5*starts) }

// fastest returns how long the fastest of five calls takes: a machine that is busy holds up one, and hardly all.
func fastest(call func()) time.Duration {
	least := time.Hour
	for range 5 {
		begun := time.Now()
		call()
		least = min(least, time.Since(begun))
	}
	return least
}
