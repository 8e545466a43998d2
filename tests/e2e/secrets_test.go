package e2e

import (
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/client"
	adobe "github.com/esignd/esignd/plugins/adobesign/sandbox"
	"github.com/esignd/esignd/plugins/consent"
	"github.com/esignd/esignd/tests/system"
)

// vendorWords is what a vendor says in an error. It is not repeated anywhere either.
const vendorWords = "vendor-words-that-stay-with-the-plugin"

// TestSecretsAreNowhere takes grants through everything that touches a secret, at log level debug and with all
// telemetry on, and then looks for every secret that went over the wire in all that is left of it.
func TestSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	collector, seen := startSink(t), newWitness()
	seen.note("vendor's words", vendorWords)
	clients := system.World{Lifetime: 5 * time.Second, Watch: seen.watch}.Mains(t, "")
	for i := range clients {
		clients[i].RedirectURIs = []string{"http://127.0.0.1:1/service/callback"}
		_, secret := clients[i].Box.Client()
		seen.note("client_secret", secret)
	}
	d := startDaemon(t, system.Options{Clients: clients, LogLevel: "debug", Env: collector.env(), ReturnTo: "http://127.0.0.1:1/back"})
	events := &system.Output{}
	system.Must(connectPlain(t, d).Subscribe("esign.event.>", func(m *nats.Msg) { _, _ = fmt.Fprintln(events, m.Subject, m.Header, string(m.Data)) }))(t)
	places := map[string][]byte{}
	t.Run("vendors", func(t *testing.T) {
		for _, r := range clients {
			t.Run(r.Vendor, func(t *testing.T) {
				t.Parallel()
				exercise(t, d, r, seen)
			})
		}
	})
	look(t, d, places)
	crash(t, d, clients[0])
	d.Stop()
	places["events"], places["telemetry"], places["output"] = []byte(events.String()), collector.received(), []byte(d.Output().String())
	readFiles(t, d.DataDir, places)

	for _, kind := range []string{"access_token", "refresh_token", "code", "state", "client_secret", "connect ticket", "cookie"} {
		if !slices.Contains(seen.kinds(), kind) {
			t.Errorf("no %s was seen, so the search shows nothing", kind)
		}
	}
	for _, place := range slices.Sorted(maps.Keys(places)) {
		if found := seen.search(places[place]); len(found) > 0 {
			t.Errorf("%s holds %v", place, found)
		}
	}
	wantPlantedFound(t, seen, places)
}

// exercise does with one client whatever makes esignd handle secrets.
func exercise(t *testing.T, d *system.Daemon, r system.Registration, seen *witness) {
	t.Helper()
	cl, ctx := d.Dial(), t.Context()
	sel := client.Selector{Client: r.Name, Account: "secret@example.com"}
	a := system.Must(cl.Authorize(ctx, client.AuthorizeRequest{Client: r.Name, Account: sel.Account, ReturnTo: "http://127.0.0.1:1/back"}))(t)
	seen.note("connect ticket", a.ConnectURL[strings.LastIndexByte(a.ConnectURL, '/')+1:])
	b := newBrowser(t)
	back := b.consent(a.ConnectURL, sel.Account, true)
	for _, cookie := range b.http.Jar.Cookies(back) {
		seen.note("cookie", cookie.Value)
	}
	p := b.open(back.String())
	if p.status != http.StatusSeeOther {
		t.Fatalf("the callback answers %d", p.status)
	}
	if want := "http://127.0.0.1:1/back?grant=" + a.Grant + "&status=connected"; p.location.String() != want {
		t.Errorf("the browser is sent to %s, want %s", p.location, want)
	}
	if p := b.open(back.String()); p.status < 400 { // the same answer once more
		t.Errorf("a callback that was taken answers %d", p.status)
	}
	tok := system.Must(cl.Token(ctx, sel))(t)
	awaitExpired(t, tok, 15*time.Second)
	system.Must(cl.Token(ctx, sel))(t)

	// A vendor that talks too much, and then one that refuses.
	r.Box.FailNext(1, adobe.Fault{Status: http.StatusInternalServerError, Body: vendorWords})
	system.Await(t, 10*time.Second, "a refresh meets the vendor's error", func() bool {
		tok, err := cl.Refresh(ctx, sel)
		return err != nil || slices.Contains(tok.Warnings, "vendor_unavailable") || slices.Contains(tok.Warnings, "outcome_unknown")
	})
	exchanged := exchange(t, cl, r)
	system.Must(cl.Revoke(ctx, exchanged, "tested"))(t)
	imported(t, cl, r, seen)
	mustFail(t, d, seen)
}

// exchange authorizes through a service's own callback, once right and once with a code that is none.
func exchange(t *testing.T, cl *client.Client, r system.Registration) client.Selector {
	t.Helper()
	sel := client.Selector{Client: r.Name, Account: "own@example.com"}
	for _, code := range []string{"no-such-code-at-the-vendor", ""} {
		a := system.Must(cl.Authorize(t.Context(), client.AuthorizeRequest{Client: r.Name, Account: sel.Account, RedirectURI: r.RedirectURIs[0]}))(t)
		back := newBrowser(t).consentAt(a.AuthorizationURL, sel.Account)
		params := back.Query()
		if code != "" {
			params.Set("code", code)
		}
		if _, err := cl.Exchange(t.Context(), params); (err == nil) != (code == "") {
			t.Errorf("%s: the exchange answers %v", r.Name, err)
		}
	}
	return sel
}

// imported brings a refresh token that the vendor does not know, which fails, and one with its access token.
func imported(t *testing.T, cl *client.Client, r system.Registration, seen *witness) {
	t.Helper()
	refresh, access := "imported-refresh-token-of-"+r.Name, "imported-access-token-of-"+r.Name
	seen.note("refresh_token", refresh)
	seen.note("access_token", access)
	_, err := cl.Import(t.Context(), client.ImportRequest{Client: r.Name, Account: "moved@example.com", RefreshToken: client.NewSecret(refresh)})
	if err == nil {
		t.Errorf("%s: a refresh token that the vendor does not know was imported", r.Name)
	}
	_, err = cl.Import(t.Context(), client.ImportRequest{
		Client: r.Name, Account: "moved@example.com", RefreshToken: client.NewSecret(refresh), AccessToken: client.NewSecret(access),
		ExpiresAt: time.Now().Add(time.Hour), Replace: true,
	})
	if err != nil {
		t.Errorf("%s: import: %v", r.Name, err)
	}
}

// mustFail sends requests with secrets in the wrong places.
func mustFail(t *testing.T, d *system.Daemon, seen *witness) {
	t.Helper()
	s := service{t: t, nc: connectPlain(t, d)}
	const misplaced = "a-secret-in-the-wrong-place"
	seen.note("misplaced secret", misplaced)
	for _, request := range []string{
		`{"client":"adobe","account":"a","refresh_token":["` + misplaced + `"]}`, `{"client":"adobe","` + misplaced + `":1}`,
		`{"client":"adobe","refresh_token":"` + misplaced, `{"client":"` + misplaced + `","account":"a","refresh_token":"x"}`,
	} {
		if a := s.ask("esign.api.default.grant.import", request); a.code == "" {
			t.Error("a bad import was taken")
		}
	}
	for _, path := range []string{"/connect/" + misplaced, "/oauth/callback/adobe?code=" + misplaced + "&state=" + misplaced, "/" + misplaced} {
		if p := newBrowser(t).open("http://" + d.Public + path); p.status < 400 || strings.Contains(p.text, misplaced) {
			t.Errorf("%s answers %d", path[:8], p.status)
		}
	}
}

// consentAt is consent at a vendor's page that the service itself sends the browser to.
func (b *browser) consentAt(authorizationURL, account string) *url.URL {
	b.t.Helper()
	return system.Must(consent.As(b.t.Context(), b.http, authorizationURL, account, true))(b.t)
}

// look reads what the machine's other users can see of the processes.
func look(t *testing.T, d *system.Daemon, places map[string][]byte) {
	t.Helper()
	pids := d.Plugins()
	if len(pids) != 3 {
		t.Fatalf("plugins run: %v", pids)
	}
	for vendor, pid := range pids {
		for _, file := range []string{"cmdline", "environ"} {
			places["plugin "+vendor+" "+file] = system.Must(os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file)))(t)
		}
	}
	places["daemon cmdline"] = system.Must(os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", d.PID())))(t)
	for name, address := range map[string]string{"console": d.Admin, "metrics": d.Admin + "/metrics", "admin readyz": d.Admin + "/readyz"} {
		places[name] = []byte(newBrowser(t).open("http://" + address).text)
	}
}

// crash makes a plugin die with its stack on standard error.
func crash(t *testing.T, d *system.Daemon, r system.Registration) {
	t.Helper()
	pid := d.Plugins()[r.Vendor]
	if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	system.Await(t, 10*time.Second, "the plugin is back", func() bool { now := d.Plugins()[r.Vendor]; return now != 0 && now != pid })
}

// readFiles reads all that a daemon left in its data_dir.
func readFiles(t *testing.T, dir string, places map[string][]byte) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		places["file "+strings.TrimPrefix(path, dir)] = content
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// wantPlantedFound puts a secret into each place and checks that the search finds it.
func wantPlantedFound(t *testing.T, seen *witness, places map[string][]byte) {
	t.Helper()
	if len(places["output"]) == 0 || len(places["telemetry"]) == 0 || len(places["events"]) == 0 {
		t.Error("there is nothing to search")
	}
	for place, content := range places {
		for secret, what := range maps.Clone(seen.secrets) {
			for _, form := range forms(secret) {
				planted := slices.Concat(content[:len(content)/2], []byte(form), content[len(content)/2:])
				if !slices.Contains(seen.search(planted), what) {
					t.Fatalf("a planted %s is not found in %s", what, place)
				}
			}
			break // one secret for each place
		}
	}
	if len(seen.search([]byte("nothing"))) > 0 {
		t.Error("the search finds secrets in nothing")
	}
}
