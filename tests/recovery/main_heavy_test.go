//go:build heavy

// Package recovery tests what an operator does with the records of esignd: back them up, restore them, and move them to
// another NATS server. Daemons, plugins, vendors and NATS servers are processes.
package recovery

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/plugins/consent"
	"github.com/esignd/esignd/tests/page"
	"github.com/esignd/esignd/tests/system"
)

var binaries system.Binaries

func TestMain(m *testing.M) { system.Main(m, &binaries, system.Build{NATS: true, Parallel: 4}) }

// esignd runs a command with the configuration and environment of a daemon, and returns what it wrote and whether it
// ended well.
func esignd(t *testing.T, d *system.Daemon, args ...string) (string, bool) {
	t.Helper()
	cmd := exec.Command(binaries.Path("esignd"), args...)
	cmd.Env = d.Env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err == nil
}

// run is esignd of a command that is to end well.
func run(t *testing.T, d *system.Daemon, args ...string) string {
	t.Helper()
	out, ok := esignd(t, d, args...)
	if !ok {
		t.Fatalf("esignd %v:\n%s", args, out)
	}
	return out
}

// backUp writes a backup of a daemon and returns its path.
func backUp(t *testing.T, d *system.Daemon) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "backup")
	run(t, d, "backup", "--config", d.Config, "--out", path)
	return path
}

var (
	scalingPage = filepath.Join("..", "..", "docs", "scaling.md")
	// particular is what a page shows of one day and one machine: times, paths, ids, numbers, and names of files.
	particular = regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:]+Z|/\S+|\w+\.yaml,|\w+_[0-9a-f]+…|\b[0-9a-f]{32}\b|\d+`)
)

// shown holds that a command prints what the documentation shows of it, but for particulars. Of a table whose rows are
// others, it holds that those which stand for the same reason have the same result.
func shown(t *testing.T, command, out string) {
	t.Helper()
	p := system.Must(page.Read(bytes.NewReader(system.Must(os.ReadFile(scalingPage))(t))))(t)
	i := slices.IndexFunc(p.Blocks, func(b page.Block) bool { return strings.HasPrefix(b.Text, "$ esignd "+command+" ") })
	if i < 0 {
		t.Fatalf("%s does not show what esignd %s prints", scalingPage, command)
	}
	_, text, _ := strings.Cut(p.Blocks[i].Text, "\n")
	var want []string
	for line := range strings.Lines(text) {
		columns := regexp.MustCompile(` {2,}`).Split(line, -1)
		switch {
		case len(columns) < 4:
			want = append(want, particular.ReplaceAllString(line, "…"))
		case columns[0] == "RESULT":
			want = append(want, line, "…\n")
		case strings.Contains(out, "  "+columns[2]+"  ") && !regexp.MustCompile(`(?m)^`+columns[0]+` +\d+ +`+columns[2]+` `).MatchString(out):
			t.Errorf("esignd %s: the page shows %q, and this is not in\n%s", command, line, out)
		}
	}
	if err := page.Expect(out, strings.Join(want, "")); err != nil {
		t.Errorf("esignd %s: %v", command, err)
	}
}

// give copies the keyset of a daemon with the embedded server to a path.
func give(t *testing.T, d *system.Daemon, path string) {
	t.Helper()
	b := system.Must(os.ReadFile(filepath.Join(d.DataDir, "keyset.json")))(t)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// connect connects an account as its owner would.
func connect(t *testing.T, cl *client.Client, name, account string) {
	t.Helper()
	a := system.Must(cl.Authorize(t.Context(), client.AuthorizeRequest{Client: name, Account: account}))(t)
	browser := &http.Client{
		Jar: system.Must(cookiejar.New(nil))(t), Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	visit := func(address string) *url.URL {
		resp := system.Must(browser.Get(address))(t)
		defer func() { _ = resp.Body.Close() }()
		_, _ = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != http.StatusSeeOther {
			t.Fatalf("connect %s: a page answers %s", account, resp.Status)
		}
		return system.Must(resp.Location())(t)
	}
	page := visit(a.ConnectURL)
	back := system.Must(consent.As(t.Context(), browser, page.String(), account, true))(t)
	visit(back.String())
}

func sel(name, account string) client.Selector {
	return client.Selector{Client: name, Account: account}
}

// refresh refreshes a grant, which is to have the generation then. One that was made a moment ago is not refreshed yet, and
// a store may be slow to answer.
func refresh(t *testing.T, cl *client.Client, name, account string, generation uint64) client.Token {
	t.Helper()
	var tok client.Token
	system.Await(t, time.Minute, name+" is refreshed", func() bool {
		var err error
		if tok, err = cl.Refresh(t.Context(), sel(name, account)); errors.Is(err, client.TemporarilyUnavailable) {
			return false
		}
		return system.Must(tok, err)(t).Generation == generation
	})
	return tok
}

// reused counts the refresh tokens that a vendor saw again after it had taken another's place.
func reused(clients []system.Registration) int {
	n := 0
	for _, r := range clients {
		n += r.Box.Stats().RefreshTokensReused
	}
	return n
}
