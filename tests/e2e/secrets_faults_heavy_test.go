//go:build heavy

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/client"
	adobe "github.com/esignd/esignd/plugins/adobesign/sandbox"
	"github.com/esignd/esignd/plugins/sdk/plugintest/faultproxy"
	"github.com/esignd/esignd/tests/system"
)

// TestSecretsAreNowhereWhateverGoesWrong lets every fault of the matrix befall a refresh and an exchange of each vendor,
// on an external NATS server that is asked for all that it tells; takes the server away while an outcome is to be
// written; and ends the daemon with its stacks. Then it looks for every secret in all that is left.
func TestSecretsAreNowhereWhateverGoesWrong(t *testing.T) {
	w := newSecretWorld(t)
	w.secrets.Note("vendor's words", faultproxy.Canary)
	keys := newSeeds(w)
	build := exec.Command("go", "build", "-o", binaries.Path("nats-server"), "github.com/nats-io/nats-server/v2")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build nats-server: %v\n%s", err, out)
	}
	server := system.StartNATS(t, binaries, keys.conf())
	faulty := w.addFaulty()
	// Nobody else asks this vendor for tokens, so that what it issues is for the grant under test.
	spooled := system.Registration{
		Name: "spooled", Vendor: "adobesign", Policy: "lazy", Box: system.World{Watch: w.secrets.Watch}.Open(t, "adobesign"),
	}
	w.options.Clients = append(w.options.Clients, spooled)
	w.options.NATS = &system.External{URL: server.URL(), Keyset: filepath.Join(t.TempDir(), "keyset.json"), Credentials: keys.file("esignd")}
	d := startDaemon(t, w.options)
	cl := keys.dial(server.URL())
	nc := system.Must(nats.Connect(server.URL(), nats.UserInfo("sys", systemPassword)))(t)
	t.Cleanup(nc.Close)

	w.goWrong(cl, faulty)
	w.spool(d, cl, spooled, server)
	w.noteKeyset(w.options.NATS.Keyset)
	backup := exec.CommandContext(t.Context(), binaries.Path("esignd"), "backup", "--config", d.Config, "--out", filepath.Join(filepath.Dir(d.Config), "backup"))
	backup.Env = d.Env
	if !w.seen.run("command backup", backup) {
		t.Errorf("backup: %s", w.seen.text["command backup"])
	}
	for _, page := range []string{"varz", "connz?subs=detail&auth=1", "jsz?accounts=1&streams=1&consumers=1&config=1", "subsz?subs=1", "accountz", "accstatz"} {
		w.seen.open("nats-server /"+page, "http://"+server.Monitor+"/"+page)
	}
	for _, what := range []string{"VARZ", "CONNZ", "JSZ", "SUBSZ", "STATSZ"} {
		w.seen.message("nats-server $SYS", system.Must(nc.Request("$SYS.REQ.SERVER.PING."+what, nil, 20*time.Second))(t))
	}
	w.seen.processes(d)
	w.seen.process("nats-server", server.PID())
	d.Signal(syscall.SIGQUIT)
	d.Wait()
	if !strings.Contains(d.Output().String(), "goroutine ") {
		t.Error("the daemon ended without its stacks")
	}
	w.seen.telemetry(w.collector)
	w.seen.keep("output", []byte(d.Output().String()))
	w.seen.files("folder", filepath.Dir(d.Config))
	w.seen.files("nats-server", server.StoreDir)
	w.seen.keep("nats-server output", system.Must(os.ReadFile(keys.file("nats.log")))(t))
	w.seen.wantText("output", "folder uncommitted", "folder/backup", "nats-server /varz", "nats-server $SYS", "nats-server output",
		"telemetry: traces", "telemetry: metrics", "telemetry: logs", "errors")
	for _, kind := range []string{"access_token", "refresh_token", "code", "state", "code_verifier", "client_secret", "keyset", "NKey seed"} {
		if !slices.Contains(w.secrets.Kinds(), kind) {
			t.Errorf("no %s was seen, so the search shows nothing of it", kind)
		}
	}
	for _, found := range w.seen.found(w.secrets, belongs) {
		t.Error(found)
	}
}

const systemPassword = "password-of-the-operator"

// seeds are NKeys of esignd and of a service.
type seeds struct {
	w      *secretWorld
	dir    string
	public map[string]string
}

func newSeeds(w *secretWorld) seeds {
	w.t.Helper()
	s := seeds{w: w, dir: w.t.TempDir(), public: map[string]string{}}
	w.secrets.Note("password", systemPassword)
	for name, args := range map[string][]string{
		"esignd": {"creds", "new", "--daemon"}, "desk": {"creds", "new", "--tenant", "default", "--service", "desk", "--role", "operator"},
	} {
		c := exec.CommandContext(w.t.Context(), binaries.Path("esignd"), append(args, "-o", s.file(name))...)
		if !w.seen.run("command creds", c) {
			w.t.Fatalf("%s", w.seen.text["command creds"])
		}
		for line := range strings.Lines(string(system.Must(os.ReadFile(s.file(name)))(w.t))) {
			if key, ok := strings.CutPrefix(line, "# nkey: "); ok {
				s.public[name] = strings.TrimSpace(key)
			}
			if strings.HasPrefix(line, "SU") {
				w.secrets.Note("NKey seed", strings.TrimSpace(line))
			}
		}
	}
	return s
}

func (s seeds) file(name string) string { return filepath.Join(s.dir, name) }

// conf lets both in, and an operator to what the server tells of itself.
func (s seeds) conf() string {
	return fmt.Sprintf("debug: true\nlog_file: %q\nsystem_account: SYS\naccounts {\n"+
		"  SYS {users: [{user: sys, password: %q}]}\n  APP {jetstream: enabled, users: [{nkey: %s}, {nkey: %s}]}\n}\n",
		s.file("nats.log"), systemPassword, s.public["esignd"], s.public["desk"])
}

func (s seeds) dial(url string) *client.Client {
	s.w.t.Helper()
	cl, closeConn, err := client.Dial(s.w.t.Context(), client.DialConfig{URL: url, Credentials: s.file("desk")})
	if err != nil {
		s.w.t.Fatal(err)
	}
	s.w.t.Cleanup(closeConn)
	return cl
}

// faultyClient is a client whose vendor goes wrong in one way.
type faultyClient struct {
	system.Registration
	fault faultproxy.Fault
	proxy *faultproxy.Proxy
}

// behind is a sandbox that is reached by way of a proxy.
type behind struct {
	system.Sandbox
	url string
}

func (b behind) Settings() map[string]string {
	settings := map[string]string{}
	for name, value := range b.Sandbox.Settings() {
		settings[name] = strings.ReplaceAll(value, b.URL(), b.url)
	}
	return settings
}

// addFaulty adds a client for each vendor and each fault to the configuration.
func (w *secretWorld) addFaulty() []faultyClient {
	w.t.Helper()
	var all []faultyClient
	for _, r := range slices.Clone(w.options.Clients) {
		for i, f := range faultproxy.Faults() {
			proxy := system.Must(faultproxy.Start(faultproxy.Config{Target: r.Box.URL()}))(w.t)
			w.t.Cleanup(func() {
				if err := proxy.Close(); err != nil {
					w.t.Error(err)
				}
			})
			c := faultyClient{Registration: r, fault: f, proxy: proxy}
			c.Name, c.Policy, c.Box = fmt.Sprintf("%s-%d", r.Name, i), "lazy", behind{r.Box, proxy.URLFor(f)}
			all = append(all, c)
			w.options.Clients = append(w.options.Clients, c.Registration)
		}
	}
	return all
}

// goWrong connects an account of each client, and lets a refresh and an exchange go wrong.
func (w *secretWorld) goWrong(cl *client.Client, clients []faultyClient) {
	w.t.Helper()
	each := func(work func(faultyClient)) {
		var working sync.WaitGroup
		slots := make(chan struct{}, 24)
		for _, c := range clients {
			working.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				work(c)
			})
		}
		working.Wait()
	}
	var mu sync.Mutex // guards met
	met := map[string]int{}
	each(func(c faultyClient) {
		if err := w.exchangeAt(cl, c); err != nil && c.proxy.URLFor(c.fault) == c.proxy.URL() {
			w.t.Errorf("%s: connect: %v", c.Name, err)
		}
	})
	each(func(c faultyClient) {
		sel := client.Selector{Client: c.Name, Account: account}
		c.proxy.Next(c.fault)
		tok, err := cl.Refresh(w.t.Context(), sel)
		w.seen.keep("errors", fmt.Append(nil, c.Name, err, tok.Warnings))
		mu.Lock()
		if err != nil || len(tok.Warnings) > 0 {
			met[c.Vendor]++
		}
		mu.Unlock()
		if err := c.proxy.Restore(); err != nil {
			w.t.Error(err)
		}
		c.proxy.Next(c.fault)
		w.seen.keep("errors", fmt.Append(nil, c.Name, w.exchangeAt(cl, c)))
		if err := c.proxy.Restore(); err != nil {
			w.t.Error(err)
		}
	})
	for _, c := range clients {
		if met[c.Vendor] < len(faultproxy.Faults())/2 {
			w.t.Fatalf("only %d refreshes of %s went wrong", met[c.Vendor], c.Vendor)
		}
	}
}

const account = "faulty@example.com"

// exchangeAt connects the account by way of the service's own callback.
func (w *secretWorld) exchangeAt(cl *client.Client, c faultyClient) error {
	w.t.Helper()
	a, err := cl.Authorize(w.t.Context(), client.AuthorizeRequest{Client: c.Name, Account: account, RedirectURI: c.RedirectURIs[0]})
	if err != nil {
		return err
	}
	w.noteTicket(a.ConnectURL)
	// A person's browser does not meet the fault.
	page := strings.Replace(a.AuthorizationURL, c.proxy.URLFor(c.fault), c.Box.URL(), 1)
	_, err = cl.Exchange(w.t.Context(), newBrowser(w.t).consentAt(page, account).Query())
	return err
}

// spool has an outcome wait in the spool, and looks at it there.
func (w *secretWorld) spool(d *system.Daemon, cl *client.Client, r system.Registration, server *system.NATSServer) {
	w.t.Helper()
	sel := client.Selector{Client: r.Name, Account: "spooled@example.com"}
	w.connect(w.t, cl, sel)
	time.Sleep(1100 * time.Millisecond) // a refresh within a second of the last answers that one
	held, before := make(chan struct{}), r.Box.Stats().Issued["refresh_token"]
	r.Box.FailNext(1, adobe.Fault{Act: true, Wait: held})
	var asking sync.WaitGroup
	asking.Go(func() { _, _ = cl.Refresh(w.t.Context(), sel) })
	system.Await(w.t, time.Minute, "the vendor has issued a token set", func() bool { return r.Box.Stats().Issued["refresh_token"] > before })
	server.Signal(syscall.SIGSTOP)
	close(held)
	folder := filepath.Join(d.DataDir, "uncommitted")
	waiting := func() []string { return system.Must(filepath.Glob(filepath.Join(folder, "*.record")))(w.t) }
	system.Await(w.t, time.Minute, "the outcome is in the spool", func() bool { return len(waiting()) > 0 })
	for _, file := range waiting() {
		w.seen.keep("folder uncommitted", system.Must(os.ReadFile(file))(w.t))
	}
	server.Signal(syscall.SIGCONT)
	asking.Wait()
	system.Await(w.t, time.Minute, "the outcome is in the store", func() bool { return len(waiting()) == 0 && d.Ready() })
}
