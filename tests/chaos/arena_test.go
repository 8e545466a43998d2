//go:build heavy && linux

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/system"
)

const (
	// lifetime is that of access tokens: each grant is refreshed every six seconds or so.
	lifetime = 8 * time.Second
	// thinking is how long a vendor thinks at most, before it acts and after.
	thinking = 60 * time.Millisecond
)

// arena is a daemon with accounts at all vendors, and what is written down of them.
type arena struct {
	t *testing.T
	extent
	daemon   *system.Daemon
	server   *system.NATSServer // nil: the embedded one
	vendors  []*vendor
	accounts []*account
	book     *book
	world    system.World
	api      *http.Client // of the vendors

	mu     sync.Mutex // guards faults
	faults []fault

	// What follows belongs to the scenario.
	kills    int
	gaveUp   int // starts of the daemon that it ended by itself
	recovery []time.Duration
	rest     time.Duration // from the end of the load until each grant's fate was known
}

// vendor is a vendor's sandbox, and the client that is registered there.
type vendor struct {
	system.Registration
	door *door
}

// account is a resource owner at a vendor.
type account struct {
	*vendor
	email, grant string
	connecting   sync.Mutex // held while its owner goes through the connect flow
}

func (a *account) selector() client.Selector {
	return client.Selector{Client: a.Name, Account: a.email}
}

// fault is a span of time in which the answer of a vendor may have been lost.
type fault struct{ from, to time.Time }

// setup changes an arena.
type setup struct {
	external bool // a nats-server of its own
	stateful bool // sandboxes that can be closed and opened again
	dataDir  string
}

// open starts everything and connects all accounts. Every vendor has been seen to rotate then, where it does.
func open(t *testing.T, e extent, s setup) *arena {
	t.Helper()
	a := &arena{t: t, extent: e, book: newBook(), world: system.World{Lifetime: lifetime, Rotate: true}}
	transport := &http.Transport{MaxIdleConnsPerHost: callers}
	t.Cleanup(transport.CloseIdleConnections)
	a.api = &http.Client{Transport: transport, Timeout: 5 * time.Second}
	if s.stateful {
		a.world.StateDir = t.TempDir()
	}
	options := system.Options{Binaries: binaries, DataDir: s.dataDir}
	for _, name := range []string{"adobesign", "dropboxsign", "esignglobal"} {
		v := &vendor{Registration: system.Registration{Name: name + "-main", Vendor: name}, door: newDoor(name != "adobesign", thinking)}
		v.Box = a.reopen(v)
		a.vendors = append(a.vendors, v)
		options.Clients = append(options.Clients, v.Registration)
		for i := range e.accounts {
			email := fmt.Sprintf("person%d@example.com", i)
			a.accounts = append(a.accounts, &account{vendor: v, email: email, grant: core.GrantID("default", v.Name, email)})
		}
	}
	if s.external {
		a.server = system.StartNATS(t, binaries, "")
		options.NATS = &system.External{URL: a.server.URL(), Replicas: 1, Keyset: filepath.Join(t.TempDir(), "keyset.json")}
	}
	a.daemon = system.StartDaemon(t, options)
	a.connectAll()
	return a
}

// reopen opens the sandbox of a vendor, which may have been closed.
func (a *arena) reopen(v *vendor) system.Sandbox {
	world := a.world
	world.Watch = v.door.watch
	return world.Open(a.t, v.Vendor)
}

// connectAll connects every account, and waits until each was refreshed.
func (a *arena) connectAll() {
	a.t.Helper()
	cl := a.client(10 * time.Second)
	var group errgroup.Group
	group.SetLimit(8)
	for _, acc := range a.accounts {
		group.Go(func() error { return a.connectOnce(cl, acc) })
	}
	if err := group.Wait(); err != nil {
		a.t.Fatal(err)
	}
	for _, acc := range a.accounts {
		system.Await(a.t, 60*time.Second, acc.email+" is refreshed at "+acc.Vendor, func() bool {
			tok, err := cl.Token(a.t.Context(), acc.selector())
			if err == nil {
				a.book.got(tok)
			}
			return err == nil && tok.Generation >= 2
		})
	}
}

// connectOnce connects an account. A machine that is busy may take a few tries.
func (a *arena) connectOnce(cl *client.Client, acc *account) error {
	for deadline := time.Now().Add(time.Minute); ; pause(a.t.Context(), 100*time.Millisecond) {
		to, err := cl.Authorize(a.t.Context(), client.AuthorizeRequest{Client: acc.Name, Account: acc.email})
		if err == nil {
			err = connect(a.t.Context(), to.ConnectURL, acc.email)
		}
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// client connects a caller, which finds back soon and sends nothing late.
func (a *arena) client(timeout time.Duration) *client.Client {
	a.t.Helper()
	conn, err := nats.Connect(a.daemon.NATSURL(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond),
		nats.ReconnectJitter(0, 0), nats.ReconnectBufSize(-1), nats.RetryOnFailedConnect(true), nats.PingInterval(2*time.Second),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(conn.Close)
	cl, err := client.New(client.Config{Conn: conn, Tenant: "default", Timeout: timeout})
	if err != nil {
		a.t.Fatal(err)
	}
	return cl
}

// harmed notes that answers of vendors may have been lost from a moment on until now.
func (a *arena) harmed(from time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults = append(a.faults, fault{from, time.Now()})
}

// awaitAnswer waits until a caller gets a token, whosever, and notes how long after a moment that was.
func (a *arena) awaitAnswer(since time.Time) {
	a.t.Helper()
	cl := a.client(500 * time.Millisecond)
	for n, deadline := 0, since.Add(2*time.Minute); ; n++ {
		tok, err := cl.Token(a.t.Context(), a.accounts[n%len(a.accounts)].selector())
		if err == nil {
			a.book.got(tok)
			a.recovery = append(a.recovery, time.Since(since))
			return
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("no token since %s: %v", stamp(since), err)
		}
		a.keepRunning()
		pause(a.t.Context(), 5*time.Millisecond)
	}
}

// awaitReady waits until the daemon says that it is.
func (a *arena) awaitReady() {
	a.t.Helper()
	system.Await(a.t, 2*time.Minute, "esignd is ready", func() bool {
		a.keepRunning()
		return a.daemon.Ready()
	})
}

// keepRunning starts a daemon again that ended by itself, as a service manager does: where the machine is so busy that a
// plugin does not start in its time, esignd does not either.
func (a *arena) keepRunning() {
	a.t.Helper()
	if a.daemon.Running() {
		return
	}
	a.gaveUp++
	a.t.Logf("esignd did not start: %s", a.daemon.Output().Tail(300))
	if a.gaveUp > 20 {
		a.t.Fatal("esignd ended by itself for the 20th time")
	}
	a.daemon.Launch()
}

// pause lets the load go on for a while.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// lastTries are those that esignd says it made.
func (a *arena) lastTries() []lastTry {
	var list []lastTry
	for line := range strings.Lines(a.daemon.Output().String()) {
		var said struct {
			Time       time.Time
			Msg, Grant string
		}
		if strings.Contains(line, "presented once more") && json.Unmarshal([]byte(line), &said) == nil {
			list = append(list, lastTry{grant: said.Grant, at: said.Time})
		}
	}
	return list
}
