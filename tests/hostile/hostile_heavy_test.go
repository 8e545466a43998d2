//go:build heavy && linux

package hostile

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/system"
)

const (
	daemonMemory = 1 << 30 // bytes, of a daemon with the race detector
	stopWithin   = 40 * time.Second

	// What a daemon may log, in bytes: of what it does itself, and of each attacker's output at once and for each second.
	ownLog      = 4 << 20
	attackLog   = 1 << 20
	attackFlood = 32 << 10
)

// attacks are those of plugins/internal/hostile that start, by vendor, and whether a refresh answers a new token. Each list
// is what one daemon meets at a time.
var attacks = map[string]map[string]bool{
	"calls":     {"hangs": false, "leaves": false, "panics": false, "crashes": false, "late": false, "freezes": false},
	"answers":   {"huge": false, "wide": false, "empty": false, "tells": false, "nonsense": true, "shares": true, "logs": true},
	"processes": {"forks": true, "bombs": true, "stays": true, "eats": false, "hangsup": false, "headers": false, "offers": true},
	"floods":    {"floodline": true, "floodlines": true, "floodjson": true, "floodpanic": true, "floodbinary": true, "floodstdout": true},
}

var binaries system.Binaries

func TestMain(m *testing.M) { system.Main(m, &binaries, system.Build{}) }

// nobody is the vendor of a hostile plugin: a registration, and no server.
type nobody struct {
	system.Sandbox
	vendor string
}

func (nobody) Settings() map[string]string { return map[string]string{"any": "thing"} }

func (n nobody) Client() (id, secret string) { return "client-of-" + n.vendor, n.secret() }

func (n nobody) secret() string { return "CANARY-client-secret-of-" + n.vendor + "." }

// pluginFolder returns a folder with eSignGlobal's plugin and the attackers'.
func pluginFolder(t *testing.T, name string, attacks map[string]bool) string {
	t.Helper()
	dir := binaries.Path("hostile-" + name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	attacker := filepath.Join(dir, "attacker")
	out, err := exec.Command("go", "build", "-o", attacker, "github.com/esignd/esignd/plugins/internal/hostile/plugin").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	links := map[string]string{"esignglobal": binaries.Path("esignd-plugin-esignglobal")}
	for vendor := range attacks {
		links[vendor] = attacker
	}
	for vendor, file := range links {
		if err := os.Link(file, filepath.Join(dir, "esignd-plugin-"+vendor)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestHostilePluginsHarmNobodyElse runs several attackers at a time in one daemon, beside a vendor that means well. That one's tokens are
// asked for and refreshed all the time; the attackers' grants stay what they are; and no plugin sees another's secrets.
func TestHostilePluginsHarmNobodyElse(t *testing.T) {
	for name, some := range attacks {
		t.Run(name, func(t *testing.T) { attackDaemon(t, name, some) })
	}
}

func attackDaemon(t *testing.T, name string, attacks map[string]bool) {
	robot := system.Registration{
		Name: "robot", Vendor: "esignglobal", GrantType: "client_credentials", Box: system.World{Lifetime: 2 * time.Minute}.Open(t, "esignglobal"),
	}
	clients := []system.Registration{robot}
	for vendor := range attacks {
		clients = append(clients, system.Registration{Name: vendor, Vendor: vendor, Box: nobody{vendor: vendor}, Policy: "lazy"})
	}
	// Not StartDaemon, which takes the panics of plugins for the daemon's.
	d := system.NewDaemon(t, system.Options{Binaries: binaries, Plugins: pluginFolder(t, name, attacks), Clients: clients, LogLevel: "debug"})
	t.Cleanup(func() {
		if d.Running() {
			d.Kill()
		}
	})
	started := time.Now()
	d.Start()
	good := watchOther(t, d)
	t.Run("attacks", func(t *testing.T) {
		for vendor, answers := range attacks {
			t.Run(vendor, func(t *testing.T) {
				t.Parallel()
				attack(t, d, vendor, answers)
			})
		}
	})
	system.Await(t, time.Minute, "the other vendor's token is refreshed under attack", func() bool {
		return good.generations.Load() >= 3 && good.asked.Load() >= 50
	})
	good.stop()
	t.Logf("meanwhile the other vendor's token was asked for %d times, over %d generations", good.asked.Load(), good.generations.Load())
	if !d.Ready() {
		t.Error("the daemon is not ready")
	}
	if peak := peakMemory(t, d.PID()); peak > daemonMemory {
		t.Errorf("the daemon had %d MiB", peak>>20)
	}
	checkIsolation(t, d, robot, attacks)
	begun := time.Now()
	d.Stop()
	if took := time.Since(begun); took > stopWithin {
		t.Errorf("the daemon stopped after %s", took)
	}
	checkOutput(t, d.Output().String(), ownLog+len(attacks)*(attackLog+int(attackFlood*time.Since(started).Seconds())))
}

// attack brings a grant of an attacker's, has it refreshed, and looks at what it is then.
func attack(t *testing.T, d *system.Daemon, vendor string, answers bool) {
	cl, sel := d.Dial(), client.Selector{Client: vendor, Account: "somebody"}
	imported := "CANARY-access-token-of-" + vendor
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	_, err := cl.Import(ctx, client.ImportRequest{
		Client: sel.Client, Account: sel.Account, RefreshToken: client.NewSecret("CANARY-refresh-token-of-" + vendor),
		AccessToken: client.NewSecret(imported), ExpiresAt: time.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatalf("import: %v", err)
	}
	for range 2 {
		system.Await(t, time.Minute, "a refresh reaches the plugin", func() bool { // within a second of the import it does not
			tok, err := cl.Refresh(ctx, sel) // what came of it, the grant says
			return err != nil || !slices.Contains(tok.Warnings, core.WarnRefreshedRecently)
		})
	}
	system.Await(t, 2*time.Minute, "the token that there should be", func() bool {
		tok, err := cl.Token(ctx, sel)
		if err == nil && answers && tok.Generation == 1 {
			_, _ = cl.Refresh(ctx, sel)
		}
		return err == nil && (tok.Generation > 1) == answers && (tok.AccessToken.Reveal() == imported) != answers
	})
	g, err := cl.Grant(ctx, sel)
	if err != nil || g.State != core.Active {
		t.Errorf("the grant is %+v, %v", g, err)
	}
}

// other asks for the token of the vendor that means well, and now and then has it refreshed.
type other struct {
	stop               func()
	asked, generations atomic.Int32
}

func watchOther(t *testing.T, d *system.Daemon) *other {
	t.Helper()
	o, cl := &other{}, d.Dial()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		for last := uint64(0); ctx.Err() == nil; o.asked.Add(1) {
			ask := cl.Refresh
			if o.asked.Load()%25 > 0 {
				ask = func(ctx context.Context, sel client.Selector) (client.Token, error) { return cl.Token(ctx, sel) }
			}
			tok, err := ask(t.Context(), client.Selector{Client: "robot"})
			if err != nil {
				t.Errorf("another vendor's token: %v", err)
				return
			}
			if tok.Generation != last {
				o.generations.Add(1)
				last = tok.Generation
			}
			<-time.After(20 * time.Millisecond)
		}
	})
	o.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(o.stop)
	return o
}

func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	status := string(system.Must(os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)))(t))
	_, rest, _ := strings.Cut(status, "VmHWM:")
	size, _, _ := strings.Cut(rest, "kB")
	return system.Must(strconv.ParseInt(strings.TrimSpace(size), 10, 64))(t) << 10
}

// checkIsolation searches the memory and the environment of every plugin for what is another's.
func checkIsolation(t *testing.T, d *system.Daemon, robot system.Registration, attacks map[string]bool) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Log("only root can look into processes that close their memory")
		return
	}
	_, robots := robot.Box.Client()
	secrets := map[string]string{"esignglobal": robots}
	for vendor := range attacks {
		secrets[vendor] = nobody{vendor: vendor}.secret()
	}
	own := 0
	for vendor, pid := range d.Plugins() {
		text, err := memoryOf(pid)
		if err != nil {
			continue // it ended meanwhile
		}
		environ, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		text += string(environ)
		for of, secret := range secrets {
			switch has := strings.Contains(text, secret); {
			case has && of == vendor:
				own++
			case has:
				t.Errorf("the plugin of %s holds the client secret of %s", vendor, of)
			}
		}
	}
	if own == 0 { // attackers may just have been started again; the other vendor's plugin was not
		t.Error("no plugin was found to hold its own secret: the search shows nothing")
	}
}

// memoryOf returns what a process can write to of its memory.
func memoryOf(pid int) (string, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return "", err
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return "", err
	}
	defer func() { _ = mem.Close() }()
	var text strings.Builder
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") || to-from > 512<<20 {
			continue
		}
		part := make([]byte, to-from)
		n, _ := mem.ReadAt(part, from)
		text.Write(part[:n])
	}
	return text.String(), nil
}

// checkOutput looks at what the daemon wrote.
func checkOutput(t *testing.T, text string, most int) {
	t.Helper()
	t.Logf("the daemon wrote %d bytes; it may write %d", len(text), most)
	if len(text) > most {
		t.Error("the daemon wrote too much")
	}
	for _, secret := range []string{"DATA RACE", "CANARY", "hostile-access-", "hostile-refresh-", "vendors-words", "nobody is to see", "\x1b"} {
		if at := strings.Index(text, secret); at >= 0 {
			t.Errorf("the daemon's output holds %q: %q", secret, text[max(0, at-300):min(len(text), at+200)])
		}
	}
}
