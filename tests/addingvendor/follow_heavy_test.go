//go:build heavy

package addingvendor

import (
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
	"syscall"
	"testing"
	"time"

	"github.com/esignd/esignd/plugins/consent"
)

const document = "docs/adding-a-vendor.md"

// TestTheDocumentLeadsToAVendor does what the document says, from an empty folder to a token of the new vendor.
func TestTheDocumentLeadsToAVendor(t *testing.T) {
	alone(t)
	r := newReader(t)
	f, err := os.Open(filepath.Join(r.checkout, document))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	blocks, err := readBlocks(f)
	if err != nil {
		t.Fatal(err)
	}
	done := map[string]int{}
	for _, b := range blocks {
		does := "reads"
		switch {
		case b.file != "":
			does, err = "writes", r.write(b)
		case b.kind == "sh":
			does = "types"
			r.output, err = r.shell.run(b.text)
		case b.kind == "text":
			does, err = "compares", expect(r.output, b.text)
		}
		if err == nil && b.link {
			err = r.consent(r.output)
		}
		if err != nil {
			t.Fatalf("%s:%d: %v\n%s\nprinted:\n%s\n%s", document, b.line, err, b.text, r.output, r.logs())
		}
		done[does]++
	}
	if done["writes"] < 7 || done["types"] < 12 || done["compares"] < 10 {
		t.Errorf("the document has less in it than it had: %v", done)
	}
}

// alone waits for other runs on this machine: the document names a port.
func alone(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(os.TempDir(), "esignd-adding-a-vendor.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // which unlocks it
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
}

// reader is somebody with a checkout of esignd in the home folder and nothing else.
type reader struct {
	checkout, home string
	shell          *shell
	output         string // of the last block that was typed
}

func newReader(t *testing.T) *reader {
	t.Helper()
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{checkout: checkout, home: t.TempDir()}
	if err := os.Symlink(checkout, filepath.Join(r.home, "esignd")); err != nil {
		t.Fatal(err)
	}
	public, nats := freeAddress(t), freeAddress(t)
	env := append(goEnvironment(t), "HOME="+r.home, "GOWORK=off",
		// Others may be at esignd's usual addresses.
		"ESIGND_NATS_LISTEN="+nats, "ESIGND_SERVER=nats://"+nats,
		"ESIGND_HTTP_LISTEN="+public, "ESIGND_HTTP_PUBLIC_URL=http://"+public, "ESIGND_HTTP_ADMIN="+freeAddress(t))
	r.shell = newShell(t, r.home, env...)
	return r
}

// goEnvironment is where go finds modules and puts what it builds: a new home folder has neither.
func goEnvironment(t *testing.T) []string {
	t.Helper()
	names := []string{"GOPATH", "GOMODCACHE", "GOCACHE", "GOPROXY", "GOFLAGS", "GOPRIVATE", "GONOSUMDB", "GOSUMDB", "GOTOOLCHAIN"}
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"env", "-json"}, names...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]string
	if err := json.Unmarshal(out, &values); err != nil {
		t.Fatal(err)
	}
	var env []string
	for name, value := range values {
		env = append(env, name+"="+value)
	}
	return env
}

// write writes a file into the folder in which the shell stands.
func (r *reader) write(b block) error {
	folder, err := r.shell.run("pwd\n")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(strings.TrimSpace(folder), b.file), []byte(b.text), 0o644)
}

// logs are what the background jobs wrote.
func (r *reader) logs() string {
	var all strings.Builder
	found, _ := filepath.Glob(filepath.Join(r.home, "*", "*.log")) // the pattern is in order
	for _, path := range found {
		content, err := os.ReadFile(path)
		if err != nil {
			content = []byte(err.Error())
		}
		fmt.Fprintf(&all, "%s:\n%s\n", filepath.Base(path), content)
	}
	return all.String()
}

// consent opens the link in a browser and accepts.
func (r *reader) consent(link string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := &http.Client{
		Jar: jar, Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	page, err := follow(browser, strings.TrimSpace(link))
	if err != nil {
		return err
	}
	back, err := consent.Consent(r.shell.ctx, browser, page.String(), true)
	if err != nil {
		return err
	}
	result, err := follow(browser, back.String())
	if err != nil {
		return err
	}
	if status := result.Query().Get("status"); status != "connected" {
		return fmt.Errorf("the consent ended as %q", status)
	}
	return nil
}

// follow opens an address and returns where it redirects.
func follow(browser *http.Client, address string) (*url.URL, error) {
	resp, err := browser.Get(address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.Location()
}

// freeAddress returns an address that nobody listens at. Its port is below those that the kernel gives to outgoing
// connections, so that it stays free until somebody listens.
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
