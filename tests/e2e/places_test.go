package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/tests/system"
	"github.com/esignd/esignd/tests/witness"
)

// places keeps what a test has seen of esignd, by where it was.
type places struct {
	t    testing.TB
	mu   sync.Mutex // guards text
	text map[string][]byte
}

func newPlaces(t testing.TB) *places { return &places{t: t, text: map[string][]byte{}} }

// keep adds to what was seen at a place.
func (p *places) keep(place string, text []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text[place] = slices.Concat(p.text[place], text, []byte("\n"))
}

// process reads what /proc tells of a process to root, and to its user what it lets that one see.
func (p *places) process(name string, pid int) {
	p.t.Helper()
	for _, file := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if errors.Is(err, fs.ErrPermission) {
			text, err = []byte("closed"), nil
		}
		p.keep(name+" "+file, system.Must(text, err)(p.t))
	}
}

// processes reads those of a daemon, its own and its plugins', and checks that none of them leaves a core file.
func (p *places) processes(d *system.Daemon) {
	p.t.Helper()
	all := map[string]int{"esignd": d.PID()}
	for vendor, pid := range d.Plugins() {
		all["plugin "+vendor] = pid
	}
	for name, pid := range all {
		p.process(name, pid)
		limits := system.Must(os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid)))(p.t)
		if !noCore.Match(limits) {
			p.t.Errorf("%s may leave a core file:\n%s", name, limits)
		}
	}
}

var noCore = regexp.MustCompile(`(?m)^Max core file size +0 +0 `)

// files reads each file below a folder.
func (p *places) files(name, dir string) {
	p.t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		p.keep(name+" names", []byte(path))
		var content []byte
		if err == nil && e.Type().IsRegular() {
			content, err = os.ReadFile(path)
			p.keep(name+strings.TrimPrefix(path, dir), content)
		}
		if errors.Is(err, fs.ErrNotExist) { // a file that a server writes beside another, and renames
			return nil
		}
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// page keeps all of an answer over HTTP.
func (p *places) page(name string, got page) {
	var b bytes.Buffer
	_, _ = fmt.Fprintln(&b, got.status)
	_ = got.header.Write(&b) // a buffer takes everything
	b.WriteString(got.text)
	p.keep(name, b.Bytes())
}

// open opens an address in a browser of its own and keeps the answer.
func (p *places) open(name, address string) {
	p.t.Helper()
	p.page(name, newBrowser(p.t).open(address))
}

// message keeps all of a message.
func (p *places) message(name string, m *nats.Msg) {
	p.keep(name, fmt.Appendf(nil, "%s %s %v %s", m.Subject, m.Reply, m.Header, m.Data))
}

// run runs a command and keeps what it writes. It returns whether the command succeeded.
func (p *places) run(name string, c *exec.Cmd) bool {
	p.t.Helper()
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	p.keep(name, out.Bytes())
	return err == nil
}

// telemetry keeps what a collector was sent.
func (p *places) telemetry(s *sink) {
	for kind, text := range s.received() {
		p.keep("telemetry: "+kind, text)
	}
}

// found says which secrets are in which place. belongs are those that must be there.
func (p *places) found(seen *witness.Witness, belongs map[string][]string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for _, place := range slices.Sorted(maps.Keys(p.text)) {
		found := slices.DeleteFunc(seen.Search(p.text[place]), func(what string) bool { return slices.Contains(belongs[place], what) })
		if len(found) > 0 {
			all = append(all, fmt.Sprintf("%s: %s", place, strings.Join(found, ", ")))
		}
	}
	return all
}

// wantText checks that there was something to search at each of the places.
func (p *places) wantText(names ...string) {
	p.t.Helper()
	for _, name := range names {
		if len(bytes.TrimSpace(p.text[name])) == 0 {
			p.t.Errorf("%s: there was nothing to search", name)
		}
	}
}

// readPage reads an answer over HTTP.
func readPage(t testing.TB, resp *http.Response) page {
	t.Helper()
	defer func() { _ = resp.Body.Close() }()
	text := system.Must(io.ReadAll(resp.Body))(t)
	p := page{status: resp.StatusCode, header: resp.Header, text: string(text)}
	if resp.Header.Get("Location") != "" {
		p.location = system.Must(resp.Location())(t)
	}
	return p
}
