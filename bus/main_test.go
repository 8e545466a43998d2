package bus

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/scratch"
)

// childEnv makes the test binary a daemon that writes to the data_dir it names and waits to be killed.
const childEnv = "ESIGND_BUS_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := runChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	remove, err := scratch.InMemory()
	// Most of what these tests do is wait.
	if err := errors.Join(err, flag.Set("test.parallel", "4")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// A server that was stopped, or whose mirror was promoted, waits for a while for the one that it mirrored.
	mirrored := []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).tryDeleteSourcingConsumer.func1"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).setupMirrorConsumer.func3"),
	}
	goleak.VerifyTestMain(m, append(mirrored, goleak.Cleanup(func(code int) {
		if err := remove(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
		os.Exit(code)
	}))...)
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func embeddedConfig(dir string) Config {
	return Config{DataDir: dir, Listen: "127.0.0.1:0", Auth: Auth{None: true}, Logger: quiet()}
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// openBus opens a Bus that is closed at the end of the test at the latest.
func openBus(t testing.TB, cfg Config) *Bus {
	t.Helper()
	b, err := Open(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBus(t, b) })
	return b
}

func closeBus(t testing.TB, b *Bus) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// externalServer is a NATS server that is not ours.
type externalServer struct {
	*server.Server
	opts *server.Options
}

func startExternal(t *testing.T, change func(*server.Options)) *externalServer {
	t.Helper()
	opts := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true,
		StoreDir: t.TempDir()}
	if change != nil {
		change(opts)
	}
	e := &externalServer{opts: opts}
	e.start(t)
	t.Cleanup(e.stop)
	return e
}

func (e *externalServer) start(t *testing.T) {
	t.Helper()
	s, err := server.NewServer(e.opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the external server does not get ready")
	}
	e.Server = s
}

func (e *externalServer) stop() {
	e.Shutdown()
	e.WaitForShutdown()
}

// awaitAway waits until both connections to a server that was stopped have ended. What is sent on one that has yet to find out
// is lost, and whoever waits for an answer waits for as long as he may.
func awaitAway(t *testing.T, b *Bus) {
	t.Helper()
	ses, err := b.opened()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Bus finds NATS away", func() bool { return !ses.state.IsConnected() && !ses.public.IsConnected() })
}

// restart starts a server on the same port and store.
func (e *externalServer) restart(t *testing.T) {
	t.Helper()
	e.opts.Port = portOf(t, e.ClientURL())
	e.start(t)
}

func portOf(t *testing.T, url string) int {
	t.Helper()
	var port int
	_, address, _ := strings.Cut(url, "://")
	if _, err := fmt.Sscanf(address, "127.0.0.1:%d", &port); err != nil {
		t.Fatalf("port of %s: %v", url, err)
	}
	return port
}

const testWrap = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=" // 32 bytes

func externalConfig(t *testing.T, url string) Config {
	t.Helper()
	dir := t.TempDir()
	return Config{DataDir: dir, URL: url, Logger: quiet(),
		Keys: Keys{Keyset: filepath.Join(dir, "shared.json"), Wrap: core.NewSecret(testWrap)}}
}

// dialOutside connects as a program that was given nothing.
func dialOutside(t testing.TB, b *Bus, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(b.ClientURL(), append([]nats.Option{nats.Timeout(time.Minute), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func put(t *testing.T, s core.Store, r core.Record) uint64 {
	t.Helper()
	revision, err := s.Put(testContext(t), r)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

// eventually polls a condition until it holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
