//go:build heavy

package system_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/creds"
	"github.com/esignd/esignd/tests/system"
)

// guests are the services that a test lists in nats.auth, with the files that esignd creds new made for them.
type guests struct {
	t     testing.TB
	dir   string
	lines map[string]string // of the configuration, by service
}

// add makes a service's key as its operator would.
func (g guests) add(tenant, name, role string) {
	g.t.Helper()
	g.lines[name] = g.esignd("creds", "new", "--tenant", tenant, "--service", name, "--role", role, "-o", g.file(name))
}

func (g guests) file(name string) string { return filepath.Join(g.dir, name) }

// auth is nats.auth with all services that are there.
func (g guests) auth() string {
	var list []string
	for _, line := range g.lines {
		list = append(list, strings.TrimPrefix(strings.TrimSpace(line), "- "))
	}
	return "{services: [" + strings.Join(list, ", ") + "]}"
}

// permissions is what an external server is told.
func (g guests) permissions() string {
	g.t.Helper()
	config := g.file("permissions.yaml")
	text := fmt.Sprintf("data_dir: none\nnats: {credentials: %q, auth: %s}\n", g.file("esignd"), g.auth())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
	return g.esignd("permissions", "--config", config)
}

func (g guests) esignd(args ...string) string {
	g.t.Helper()
	var told strings.Builder
	c := exec.Command(binaries.Path("esignd"), args...)
	c.Stderr = &told
	out, err := c.Output()
	if err != nil {
		g.t.Fatalf("esignd %s: %v\n%s", strings.Join(args, " "), err, told.String())
	}
	return string(out)
}

// connect connects a service with nothing but its file.
func (g guests) connect(url, name string, opts ...nats.Option) *nats.Conn {
	g.t.Helper()
	own := system.Must(creds.Read(g.file(name)))(g.t)
	nc := system.Must(nats.Connect(url, append(own.Options(), opts...)...))(g.t)
	g.t.Cleanup(nc.Close)
	return nc
}

func (g guests) dial(url, name string) *client.Client {
	g.t.Helper()
	cl, closeConn, err := client.Dial(g.t.Context(), client.DialConfig{URL: url, Credentials: g.file(name)})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(closeConn)
	return cl
}

// Services of two tenants and three roles, on the embedded server and on one that esignd permissions configured.
func TestTenantsAreKeptApart(t *testing.T) {
	t.Parallel()
	for _, external := range []bool{false, true} {
		t.Run(fmt.Sprintf("external=%v", external), func(t *testing.T) {
			t.Parallel()
			g := guests{t: t, dir: t.TempDir(), lines: map[string]string{}}
			g.add("default", "billing", "caller")
			g.add("default", "desk", "operator")
			g.add("default", "watch", "auditor")
			g.add("other", "signing", "caller")
			g.esignd("creds", "new", "--daemon", "-o", g.file("esignd"))
			box := system.World{Lifetime: time.Hour}.Open(t, "esignglobal")
			options := system.Options{Binaries: binaries, Auth: g.auth(), Clients: []system.Registration{
				{Name: "robot", Vendor: "esignglobal", Box: box, GrantType: "client_credentials", Tenants: []string{"default", "other", "third"}},
			}}
			var server *system.NATSServer
			if external {
				server = system.StartNATS(t, binaries, g.permissions())
				options.NATS = &system.External{URL: server.URL(), Keyset: g.file("keyset.json"), Credentials: g.file("esignd")}
			}
			d := system.StartDaemon(t, options)
			url := d.NATSURL()
			if nc, err := nats.Connect(url); err == nil {
				nc.Close()
				t.Error("a stranger was let in")
			}
			g.mayAsk(url)
			g.mayNotReach(url)
			g.replyLeadsNowhere(url)
			g.comeAndGo(d, server, options)
		})
	}
}

var robot = client.Selector{Client: "robot"}

// mayAsk has each do what its role is for.
func (g guests) mayAsk(url string) {
	g.t.Helper()
	for name, tenant := range map[string]string{"billing": "default", "desk": "default", "signing": "other"} {
		if tok, err := g.dial(url, name).Token(g.t.Context(), robot); err != nil || tok.Tenant != tenant {
			g.t.Errorf("%s asks: %v", name, err)
		}
	}
	if grants, _, err := g.dial(url, "desk").Grants(g.t.Context(), client.GrantFilter{}); err != nil || len(grants) != 1 {
		g.t.Errorf("the operator lists %d grants: %v", len(grants), err)
	}
	for _, name := range []string{"billing", "watch", "signing"} {
		enough := errors.New("enough")
		err := g.dial(url, name).Watch(g.t.Context(), client.WatchConfig{Durable: name}, func(e client.Event) error {
			if want := strings.TrimPrefix(name, "signing"); (e.Tenant == "other") != (want == "") {
				g.t.Errorf("%s hears of tenant %s", name, e.Tenant)
			}
			return enough
		})
		if !errors.Is(err, enough) {
			g.t.Errorf("%s consumes: %v", name, err)
		}
	}
}

// mayNotReach tries what belongs to others. Nothing answers, and the server says no.
func (g guests) mayNotReach(url string) {
	g.t.Helper()
	for name, subjects := range map[string][]string{
		"billing": {"esign.api.default.grant.list", "esign.api.default.grant.import", "esign.api.default.grant.forget"},
		"signing": {"esign.api.default.token.get", "esign.api.default.grant.get", "esign.event.default.token.issued.v.g", "esign.event.other.token.issued.v.g"},
		"watch":   {"esign.api.default.token.get", "esign.api.default.token.refresh", "esign.api.default.token.report", "esign.api.default.grant.get"},
		"desk":    {"esign.api.other.token.get", "$KV.ESIGN.x", "$JS.API.STREAM.INFO.KV_ESIGN", "$JS.API.STREAM.MSG.GET.ESIGN_EVENTS", "$SYS.REQ.SERVER.PING"},
	} {
		refused := make(chan error, 64)
		nc := g.connect(url, name, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
		wantRefused := func(what string) {
			g.t.Helper()
			select {
			case err := <-refused:
				if !errors.Is(err, nats.ErrPermissionViolation) {
					g.t.Errorf("%s, %s: %v", name, what, err)
				}
			case <-time.After(20 * time.Second):
				g.t.Errorf("%s, %s: not refused", name, what)
			}
		}
		for _, subject := range subjects {
			if m, err := nc.Request(subject, []byte(`{"client":"robot"}`), 200*time.Millisecond); err == nil {
				g.t.Errorf("%s is answered on %s: %s", name, subject, m.Data)
			}
			wantRefused("publish on " + subject)
		}
		for _, subject := range []string{">", "esign.>", "esign.event.>", "_INBOX.>", "$KV.>", "$JS.>"} {
			system.Must(nc.SubscribeSync(subject))(g.t)
			wantRefused("subscribe to " + subject)
		}
		js := system.Must(jetstream.New(nc, jetstream.WithDefaultTimeout(200*time.Millisecond)))(g.t)
		if _, err := js.CreateConsumer(g.t.Context(), "ESIGN_EVENTS", jetstream.ConsumerConfig{Name: "mine"}); err == nil {
			g.t.Errorf("%s made a consumer", name)
		}
		wantRefused("make a consumer")
	}
}

// replyLeadsNowhere asks with reply subjects of others, and looks for what came of it.
func (g guests) replyLeadsNowhere(url string) {
	g.t.Helper()
	watch, signing := g.connect(url, "watch"), g.connect(url, "signing")
	heard := system.Must(watch.SubscribeSync("esign.event.default.>"))(g.t)
	others := []*nats.Subscription{
		system.Must(watch.SubscribeSync("_INBOX_default_watch.>"))(g.t),
		system.Must(signing.SubscribeSync("esign.event.other.>"))(g.t), system.Must(signing.SubscribeSync("_INBOX_other_signing.>"))(g.t),
	}
	for _, nc := range []*nats.Conn{watch, signing} {
		if err := nc.Flush(); err != nil {
			g.t.Fatal(err)
		}
	}
	desk := g.connect(url, "desk")
	for _, reply := range []string{
		"esign.event.default.token.revoked.v.g", "esign.event.other.token.revoked.v.g", "$KV.ESIGN.x", "esign.timer.at.v.g",
		"_INBOX_default_watch.x", "_INBOX_other_signing.x", "esign.api.default.token.revoke", "$JS.API.STREAM.PURGE.ESIGN_EVENTS",
	} {
		for _, subject := range []string{"esign.api.default.token.get", "$JS.API.CONSUMER.INFO.ESIGN_EVENTS.default_desk", "$JS.API.CONSUMER.MSG.NEXT.ESIGN_EVENTS.default_desk"} {
			if err := desk.PublishRequest(subject, reply, []byte(`{"client":"robot"}`)); err != nil {
				g.t.Fatal(err)
			}
		}
	}
	// What is asked after those is answered after those; its event is the first that anybody hears.
	if _, err := g.dial(url, "desk").Refresh(g.t.Context(), robot); err != nil {
		g.t.Fatal(err)
	}
	m := system.Must(heard.NextMsg(20 * time.Second))(g.t)
	if !strings.HasPrefix(m.Subject, "esign.event.default.token.issued.esignglobal.g_") {
		g.t.Errorf("the auditor hears %s first: %s", m.Subject, m.Data)
	}
	for _, sub := range others {
		if n, _, err := sub.Pending(); err != nil || n > 0 {
			g.t.Errorf("%d messages came to %s: %v", n, sub.Subject, err)
		}
	}
}

// comeAndGo lists another service and no more one that was, while a third asks.
func (g guests) comeAndGo(d *system.Daemon, server *system.NATSServer, options system.Options) {
	g.t.Helper()
	url := d.NATSURL()
	stays := g.connect(url, "billing")
	gone := make(chan struct{})
	_ = g.connect(url, "signing", nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(gone) }))
	g.add("third", "late", "caller")
	delete(g.lines, "signing")
	options.Auth = g.auth()
	d.Write(options)
	if server != nil {
		server.Reload(g.permissions())
	}
	d.Signal(syscall.SIGHUP)
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		g.t.Error("the service that was removed is still connected")
	}
	system.Await(g.t, 20*time.Second, "the daemon has read its configuration", func() bool {
		return strings.Contains(d.Output().String(), "the configuration was read again")
	})
	late := g.dial(url, "late")
	if tok, err := late.Token(g.t.Context(), robot); err != nil || tok.Tenant != "third" {
		g.t.Errorf("the new service asks: %v", err)
	}
	enough := errors.New("enough")
	if err := late.Watch(g.t.Context(), client.WatchConfig{Durable: "late"}, func(client.Event) error { return enough }); !errors.Is(err, enough) {
		g.t.Errorf("the new service consumes: %v", err)
	}
	if m, err := stays.Request("esign.api.default.token.get", []byte(`{"client":"robot"}`), 20*time.Second); err != nil || !strings.Contains(string(m.Data), "access_token") {
		g.t.Errorf("one that stays asks: %v", err)
	}
	if n := stays.Stats().Reconnects; n > 0 {
		g.t.Errorf("one that stays was disconnected %d times", n)
	}
}
