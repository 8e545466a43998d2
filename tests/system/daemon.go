package system

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/tests/transcript"
)

// Daemon is an esignd process with a configuration, a data_dir and ports that stay the same over restarts. It is for the
// test's own goroutine.
type Daemon struct {
	program
	Binaries Binaries
	Program  string // which of them it is at its next start
	Config   string // path
	DataDir  string
	Env      []string

	NATS, Public, Admin string // addresses; NATS is "" with an external server
	natsURL             string
}

// Options change how a daemon is set up.
type Options struct {
	Binaries Binaries
	Clients  []Registration
	LogLevel string // empty: info
	Env      []string
	Plugins  string // folder; empty: the binaries under test
	ReturnTo string
	NATS     *External // nil: the embedded server
	DataDir  string    // empty: a new folder
	Auth     string    // nats.auth, in YAML; empty: none, and nothing with an external server
	// Secrets is a folder for the secrets, in a file for each by the name of its variable, and for the key that then wraps
	// the keyset in any case. Empty: they are in the environment.
	Secrets string
}

// External is a NATS server, or cluster, that is not the daemon's.
type External struct {
	URL      string
	Replicas int
	// Keyset is a file that replicas share; the first to start makes it.
	Keyset      string
	Credentials string
}

// WrapKey wraps the keysets of tests.
const WrapKey = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

const wrapVariable = "WRAP_KEY"

// NewDaemon writes a configuration and starts nothing.
func NewDaemon(t testing.TB, o Options) *Daemon {
	t.Helper()
	dir := t.TempDir()
	d := &Daemon{
		program: program{t: t, name: "esignd", output: &transcript.Transcript{}}, Binaries: o.Binaries, Program: "esignd",
		Config: filepath.Join(dir, "esignd.yaml"), DataDir: filepath.Join(dir, "data"), Public: FreeAddress(t), Admin: FreeAddress(t),
	}
	if o.DataDir != "" {
		d.DataDir = o.DataDir
	}
	if o.NATS == nil {
		d.NATS = FreeAddress(t)
		d.natsURL = "nats://" + d.NATS
	} else {
		d.natsURL = o.NATS.URL
	}
	// Of the tests' own environment esignd gets what a service manager gives.
	d.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + os.TempDir(), "GORACE=halt_on_error=0"}, o.Env...)
	d.placeSecrets(o)
	d.Write(o)
	return d
}

// placeSecrets puts the secrets where the configuration says that they are.
func (d *Daemon) placeSecrets(o Options) {
	d.t.Helper()
	all := map[string]string{wrapVariable: WrapKey}
	for _, r := range o.Clients {
		maps.Copy(all, r.secrets())
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if o.Secrets == "" {
			d.Env = append(d.Env, name+"="+all[name])
		} else if err := os.WriteFile(filepath.Join(o.Secrets, name), []byte(all[name]+"\n"), 0o600); err != nil {
			d.t.Fatal(err)
		}
	}
}

// secret is how the configuration names a secret.
func (o Options) secret(variable string) string {
	if o.Secrets == "" {
		return "{env: " + variable + "}"
	}
	return fmt.Sprintf("{file: %q}", filepath.Join(o.Secrets, variable))
}

// Write writes the configuration file.
func (d *Daemon) Write(o Options) {
	d.t.Helper()
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "data_dir: %s\n", d.DataDir)
	if e := o.NATS; e == nil {
		_, _ = fmt.Fprintf(&b, "nats: {listen: %q, auth: %s}\n", d.NATS, cmp.Or(o.Auth, "none"))
		if o.Secrets != "" {
			_, _ = fmt.Fprintf(&b, "keys: {wrap: %s}\n", o.secret(wrapVariable))
		}
	} else {
		_, _ = fmt.Fprintf(&b, "nats: {url: %q, replicas: %d, credentials: %q, auth: %s}\nkeys: {keyset: %q, wrap: %s}\n",
			e.URL, max(e.Replicas, 1), e.Credentials, cmp.Or(o.Auth, "null"), e.Keyset, o.secret(wrapVariable))
	}
	_, _ = fmt.Fprintf(&b, "http:\n  listen: %q\n  admin: %q\n  public_url: http://%s\n", d.Public, d.Admin, d.Public)
	if o.ReturnTo != "" {
		_, _ = fmt.Fprintf(&b, "  return_to: [%q]\n", o.ReturnTo)
	}
	_, _ = fmt.Fprintf(&b, "plugins: {dir: %s}\nlog: {level: %s}\nclients:\n", cmp.Or(o.Plugins, string(o.Binaries)), cmp.Or(o.LogLevel, "info"))
	for _, r := range o.Clients {
		r.yaml(&b, o.secret)
	}
	if err := os.WriteFile(d.Config, []byte(b.String()), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// StartDaemon starts a daemon and waits until it is ready. The test's end stops it.
func StartDaemon(t testing.TB, o Options) *Daemon {
	t.Helper()
	d := NewDaemon(t, o)
	t.Cleanup(d.end)
	d.Start()
	return d
}

// end stops the daemon and fails the test where it raced or panicked.
func (d *Daemon) end() {
	if d.Running() {
		d.Stop()
	}
	text := d.output.String()
	if strings.Contains(text, "DATA RACE") || strings.Contains(text, "panic:") {
		d.t.Error("the daemon raced or panicked")
	}
	if d.t.Failed() {
		d.t.Logf("the daemon wrote:\n%s", d.output.Tail(8000))
	}
}

// Launch starts the process and does not wait for it.
func (d *Daemon) Launch() {
	d.t.Helper()
	d.launch(d.Env, d.Binaries.Path(d.Program), "serve", "--config", d.Config)
}

// Start starts the process and waits until it is ready.
func (d *Daemon) Start() {
	d.t.Helper()
	d.Launch()
	d.AwaitReady()
}

// AwaitReady waits until a process that was launched is ready.
func (d *Daemon) AwaitReady() {
	d.t.Helper()
	d.awaitStart(d.Ready)
}

// Ready reports whether the daemon says that it is.
func (d *Daemon) Ready() bool {
	resp, err := Plain.Get("http://" + d.Admin + "/readyz")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Plain is an HTTP client without cookies that leaves no connection behind.
var Plain = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// Output returns what the daemon's processes wrote.
func (d *Daemon) Output() *transcript.Transcript { return d.output }

// Plugins returns the processes of the daemon's plugins by vendor.
func (d *Daemon) Plugins() map[string]int {
	d.t.Helper()
	found := map[string]int{}
	for _, p := range Must(Processes())(d.t) {
		if vendor, ok := strings.CutPrefix(filepath.Base(p.Exe), "esignd-plugin-"); ok && p.Parent == d.PID() {
			found[vendor] = p.PID
		}
	}
	return found
}

// NATSURL is where callers reach the daemon.
func (d *Daemon) NATSURL() string { return d.natsURL }

// Dial connects a service to the daemon, as tenant default.
func (d *Daemon) Dial() *client.Client {
	d.t.Helper()
	cl, closeConn, err := client.Dial(d.t.Context(), client.DialConfig{URL: d.natsURL, Tenant: "default"})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(closeConn)
	return cl
}
