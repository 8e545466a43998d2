package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// natsServer is a server in this process with JetStream on.
type natsServer struct {
	*server.Server
	opts *server.Options
}

func startNATS(t testing.TB, change ...func(*server.Options)) *natsServer {
	t.Helper()
	n := &natsServer{opts: &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: t.TempDir()}}
	for _, fn := range change {
		fn(n.opts)
	}
	n.start(t)
	t.Cleanup(n.stop)
	return n
}

func (n *natsServer) start(t testing.TB) {
	t.Helper()
	s, err := server.NewServer(n.opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the NATS server does not get ready")
	}
	n.Server = s
	addr, ok := s.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatalf("the NATS server listens on %v", s.Addr())
	}
	n.opts.Port = addr.Port // the same after a restart
}

func (n *natsServer) stop() {
	n.Shutdown()
	n.WaitForShutdown()
}

func dial(t testing.TB, n *natsServer, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(n.ClientURL(), append(opts, nats.Timeout(time.Minute), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func newClient(t testing.TB, nc *nats.Conn) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Conn: nc, Tenant: "default", Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// daemon answers in the place of esignd.
type daemon struct {
	conn *nats.Conn

	mu       sync.Mutex
	requests []*nats.Msg
}

// errSilent is no answer.
var errSilent = errors.New("silent")

// startDaemon answers each request with what fn returns for it: a message, or a *core.Error, or errSilent.
func startDaemon(t testing.TB, n *natsServer, fn func(e wire.Endpoint, m *nats.Msg) (any, error)) *daemon {
	t.Helper()
	d := &daemon{conn: dial(t, n)}
	for _, e := range wire.Endpoints() {
		_, err := d.conn.Subscribe(wire.APISubject("esign", "default", e), func(m *nats.Msg) {
			d.mu.Lock()
			d.requests = append(d.requests, m)
			d.mu.Unlock()
			answer, err := fn(e, m)
			if errors.Is(err, errSilent) {
				return
			}
			if err := respond(m, answer, err); err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := d.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	return d
}

func respond(m *nats.Msg, answer any, err error) error {
	out := &nats.Msg{Subject: m.Reply, Header: nats.Header{}}
	if err != nil {
		header, body := wire.EncodeError(core.AsError(err))
		for name, value := range header {
			out.Header.Set(name, value)
		}
		out.Data = body
		return m.RespondMsg(out)
	}
	if out.Data, err = json.Marshal(answer); err != nil {
		return err
	}
	return m.RespondMsg(out)
}

// last returns the last request.
func (d *daemon) last() *nats.Msg {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.requests[len(d.requests)-1]
}

func (d *daemon) count(e wire.Endpoint) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, m := range d.requests {
		if m.Subject == wire.APISubject("esign", "default", e) {
			n++
		}
	}
	return n
}
