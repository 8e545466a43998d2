package esignd_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/plugins/consent"
	"github.com/esignd/esignd/tests/system"
	"github.com/esignd/esignd/tests/transcript"
)

// lifetime is how long an access token of the sandbox vendors lives.
const lifetime = 10 * time.Second

// world is what the tests share: a Temporal server, and `esignd dev` with its sandbox vendors.
var world struct {
	dir                  string // of the binaries
	temporal             temporalServer
	nats                 string
	daemonOutput, output transcript.Transcript
}

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if world.dir, err = os.MkdirTemp("", "esignd-temporal-"); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(world.dir)) }()
	if err := build(); err != nil {
		return 1, err
	}
	var stopTemporal func()
	if world.temporal, stopTemporal, err = startTemporal(); err != nil {
		return 1, err
	}
	stopDaemon, err := startDaemon()
	if err == nil {
		code = m.Run()
		stopDaemon()
	}
	stopTemporal()
	if err != nil || code != 0 {
		return max(code, 1), err
	}
	return 0, goleak.Find()
}

// build makes the daemon, its plugins and the example's worker, and finds the Temporal server on the PATH or makes it.
func build() error {
	root := filepath.Join("..", "..")
	builds := [][]string{
		{
			"-C", root, "-o", world.dir + "/", "./cmd/esignd", "./plugins/adobesign/esignd-plugin-adobesign",
			"./plugins/dropboxsign/esignd-plugin-dropboxsign", "./plugins/esignglobal/esignd-plugin-esignglobal",
		},
		{"-o", world.dir + "/", "./example/worker"},
	}
	if path, err := exec.LookPath("temporalserver"); err == nil {
		if err := os.Symlink(path, filepath.Join(world.dir, "temporalserver")); err != nil {
			return err
		}
	} else {
		builds = append(builds, []string{"-C", filepath.Join(root, "tests", "temporalserver"), "-o", world.dir + "/", "."})
	}
	for _, args := range builds {
		if out, err := exec.Command("go", append([]string{"build"}, args...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("go build %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// temporalServer is where one listens.
type temporalServer struct{ address, namespace string }

// startTemporal starts the server of tests/temporalserver, which says where it listens and ends with its input.
func startTemporal(args ...string) (s temporalServer, stop func(), err error) {
	cmd := exec.Command(filepath.Join(world.dir, "temporalserver"), args...)
	cmd.Stderr = &world.output
	in, err := cmd.StdinPipe()
	if err != nil {
		return s, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return s, nil, err
	}
	if err := cmd.Start(); err != nil {
		return s, nil, err
	}
	stop = func() {
		_ = in.Close()
		_ = cmd.Wait()
	}
	line := bufio.NewReader(out)
	text, err := line.ReadString('\n')
	if _, serr := fmt.Sscan(text, &s.address, &s.namespace); err != nil || serr != nil {
		stop()
		return s, nil, fmt.Errorf("the Temporal server does not say where it listens: %q %w\n%s", text, errors.Join(err, serr), &world.output)
	}
	return s, stop, nil
}

func startDaemon() (stop func(), err error) {
	if err := os.Chmod(world.dir, 0o755); err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(world.dir, "esignd"), "dev", "--lifetime", lifetime.String(), "--data-dir", filepath.Join(world.dir, "data"),
		"--nats", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	cmd.Stdout, cmd.Stderr = &world.daemonOutput, &world.daemonOutput
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		<-exited
	}
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if _, rest, ok := strings.Cut(world.daemonOutput.String(), "nats --server "); ok {
			world.nats, _, _ = strings.Cut(rest, " ")
			return stop, nil
		}
	}
	stop()
	return nil, fmt.Errorf("esignd dev does not start:\n%s", &world.daemonOutput)
}

// account is one that the test connects, at the vendor whose sandbox takes signature requests.
type account struct {
	t        testing.TB
	esign    *client.Client
	selector client.Selector
	grant    string
}

func dial(t testing.TB) *client.Client {
	t.Helper()
	nc, err := nats.Connect(world.nats)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return system.Must(client.New(client.Config{Conn: nc, Tenant: "default"}))(t)
}

// connected returns an account of the test's own that is connected.
func connected(t testing.TB) *account {
	t.Helper()
	return connectedAs(t, "owner")
}

func connectedAs(t testing.TB, person string) *account {
	t.Helper()
	a := &account{t: t, esign: dial(t)}
	a.selector = client.Selector{Client: "dropbox-main", Account: person + "@" + strings.ToLower(t.Name()) + ".example.com"}
	a.connect()
	return a
}

// connect connects the account, as its owner would.
func (a *account) connect() {
	a.t.Helper()
	link := system.Must(a.esign.Authorize(a.t.Context(), client.AuthorizeRequest{Client: a.selector.Client, Account: a.selector.Account}))(a.t)
	a.grant = link.Grant
	a.open(link.ConnectURL)
}

// open opens a connect URL, as the account's owner.
func (a *account) open(connectURL string) {
	a.t.Helper()
	jar := system.Must(cookiejar.New(nil))(a.t)
	browser := &http.Client{
		Jar: jar, Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	page := follow(a.t, browser, connectURL)
	back := system.Must(consent.As(a.t.Context(), browser, page.String(), a.selector.Account, true))(a.t)
	if status := follow(a.t, browser, back.String()).Query().Get("status"); status != "connected" {
		a.t.Fatalf("connecting ended as %q", status)
	}
}

// follow opens an address and returns where it redirects.
func follow(t testing.TB, browser *http.Client, address string) *url.URL {
	t.Helper()
	resp := system.Must(browser.Get(address))(t)
	defer func() { _ = resp.Body.Close() }()
	to, err := resp.Location()
	if err != nil {
		text, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s answers %d and no redirect: %s", resp.Request.URL.Path, resp.StatusCode, text)
	}
	return to
}

func (a *account) revoke() {
	a.t.Helper()
	system.Must(a.esign.Revoke(a.t.Context(), a.selector, "test"))(a.t)
}

func (a *account) token() client.Token {
	a.t.Helper()
	return system.Must(a.esign.Token(a.t.Context(), a.selector))(a.t)
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}
