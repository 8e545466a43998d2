package docusign_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/esignd/esignd/examples/vendor-docusign/sandbox"
	"github.com/esignd/esignd/plugins/consent"
)

// TestDroppedIntoPluginsDirItIsAVendor starts the daemon of the module that knows nothing of this one, with this plugin
// as the only file in plugins.dir, connects an account as its owner would, and gets and refreshes its token.
func TestDroppedIntoPluginsDirItIsAVendor(t *testing.T) {
	vendor := open(t, sandbox.Config{})
	d := serve(t, vendor)
	status := d.connect(t, d.esignd(t, "connect", "--client", "docs", "--account", "jane@example.com"))
	if status != "connected" {
		t.Fatalf("the connect flow ended as %q", status)
	}
	first := d.token(t, "get")
	if first.APIBaseURL != vendor.URL()+"/restapi" {
		t.Errorf("API at %q", first.APIBaseURL)
	}
	second := d.refreshed(t, first)
	if second.APIBaseURL != first.APIBaseURL {
		t.Errorf("after a refresh: API at %q", second.APIBaseURL)
	}
	if again := strings.TrimSpace(d.esignd(t, "token", "get", "--client", "docs", "--account", "jane@example.com")); again != second.AccessToken {
		t.Error("token get prints another token")
	}
	if stats := vendor.Stats(); stats.Issued["authorization_code"] != 1 || stats.Issued["refresh_token"] != 1 || stats.RefreshTokensReused != 0 {
		t.Errorf("the vendor issued %v, and saw %d spent tokens", stats.Issued, stats.RefreshTokensReused)
	}
}

// answered is the JSON of `esignd token --json`, as far as the test reads it.
type answered struct {
	AccessToken string `json:"access_token"`
	APIBaseURL  string `json:"api_base_url"`
}

// daemon is a running esignd.
type daemon struct {
	binary, nats, folder string
	env                  []string
}

// serve starts esignd and waits until it is ready. The test's end stops it.
func serve(t *testing.T, vendor *sandbox.Server) *daemon {
	t.Helper()
	plugin := build(t, ".", "./esignd-plugin-docusign", "esignd-plugin-docusign")
	d := &daemon{binary: build(t, filepath.Join("..", ".."), "./cmd/esignd", "esignd"), nats: freeAddress(t), folder: t.TempDir()}
	admin, public := freeAddress(t), freeAddress(t)
	id, secret := vendor.Client()
	// Of the test's own environment esignd gets what a service manager gives.
	d.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + d.folder, "TMPDIR=" + os.TempDir(), "DOCUSIGN_SECRET=" + secret}
	config := filepath.Join(d.folder, "esignd.yaml")
	text := fmt.Sprintf(`data_dir: %s
nats: {listen: %q, auth: none}
http: {listen: %q, admin: %q, public_url: "http://%s"}
plugins: {dir: %s}
clients:
  - name: docs
    vendor: docusign
    client_id: %s
    client_secret: {env: DOCUSIGN_SECRET}
    scopes: [signature, extended]
    settings: {account_url: %q}
`, filepath.Join(d.folder, "data"), d.nats, public, admin, public, filepath.Dir(plugin), id, vendor.URL())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d.launch(t, config, admin)
	return d
}

func (d *daemon) launch(t *testing.T, config, admin string) {
	t.Helper()
	var output output
	cmd := exec.Command(d.binary, "serve", "--config", config)
	cmd.Env, cmd.Stdout, cmd.Stderr = d.env, &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() {
		stop(t, cmd, exited)
		if t.Failed() {
			t.Logf("esignd wrote:\n%s", &output)
		}
	})
	d.awaitReady(t, admin, exited)
}

// stop ends the process and checks that it ended in order.
func stop(t *testing.T, cmd *exec.Cmd, exited <-chan error) {
	t.Helper()
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case err := <-exited:
		if err != nil {
			t.Errorf("esignd ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		_ = cmd.Process.Kill()
		<-exited
		t.Error("esignd did not end after SIGTERM")
	}
}

func (d *daemon) awaitReady(t *testing.T, admin string, exited chan error) {
	t.Helper()
	plain := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	deadline := time.After(60 * time.Second)
	for poll := time.NewTicker(20 * time.Millisecond); ; {
		resp, err := plain.Get("http://" + admin + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				poll.Stop()
				return
			}
		}
		select {
		case <-poll.C:
		case err := <-exited:
			exited <- err // for stop
			t.Fatalf("esignd ended: %v", err)
		case <-deadline:
			t.Fatal("esignd is not ready")
		}
	}
}

// esignd runs a command that asks the daemon, and returns what it prints.
func (d *daemon) esignd(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.binary, append(args, "--server", "nats://"+d.nats)...)
	var stderr bytes.Buffer
	cmd.Env, cmd.Stderr = d.env, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("esignd %s: %v: %s", args[0], err, &stderr)
	}
	return string(out)
}

func (d *daemon) token(t *testing.T, command string) (tok answered) {
	t.Helper()
	out := d.esignd(t, "token", command, "--client", "docs", "--account", "jane@example.com", "--json")
	if err := json.Unmarshal([]byte(out), &tok); err != nil || tok.AccessToken == "" {
		t.Fatalf("token %s: no token in what it prints: %v", command, err)
	}
	return tok
}

// refreshed refreshes the token. Within a second of the exchange the answer is the token that is there.
func (d *daemon) refreshed(t *testing.T, first answered) answered {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if tok := d.token(t, "refresh"); tok.AccessToken != first.AccessToken {
			return tok
		}
	}
	t.Fatal("a refresh brings no new token")
	return answered{}
}

// connect opens the connect URL as a person with a browser does, accepts, and returns how the flow ended.
func (d *daemon) connect(t *testing.T, connectURL string) string {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{
		Jar: jar, Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	page := follow(t, browser, strings.TrimSpace(connectURL))
	back, err := consent.As(t.Context(), browser, page.String(), sandbox.Person, true)
	if err != nil {
		t.Fatal(err)
	}
	return follow(t, browser, back.String()).Query().Get("status")
}

// follow opens an address and returns where it redirects.
func follow(t *testing.T, browser *http.Client, address string) *url.URL {
	t.Helper()
	resp, err := browser.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	to, err := resp.Location()
	if err != nil {
		t.Fatalf("%s answers %d and no redirect", resp.Request.URL.Path, resp.StatusCode)
	}
	return to
}

// freeAddress returns an address that nobody listens at. Its port is below those that the kernel gives to outgoing
// connections, so that it stays free until the daemon listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(15_000)))
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return address
	}
	t.Fatal("no free port")
	return ""
}

// output collects what the process writes.
type output struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
