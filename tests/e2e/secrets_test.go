package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"google.golang.org/protobuf/proto"

	"github.com/esignd/esignd/bus/client"
	adobe "github.com/esignd/esignd/plugins/adobesign/sandbox"
	"github.com/esignd/esignd/plugins/consent"
	"github.com/esignd/esignd/tests/scratch"
	"github.com/esignd/esignd/tests/system"
	"github.com/esignd/esignd/tests/witness"
)

const (
	// vendorWords is what a vendor says in an error. It is not repeated anywhere either.
	vendorWords = "vendor-words-that-stay-with-the-plugin"
	returnTo    = "http://127.0.0.1:1/back"
)

// belongs are the secrets that are at a place because it is for them.
var belongs = map[string][]string{
	"command token get":     {"access_token"},   // that is what it prints
	"command connect":       {"connect ticket"}, // a link, for the account's owner
	"command token pending": {"connect ticket"}, // the same
	"page connect":          {"state", "cookie"},
	"esignd environ":        {"collector's key"},                 // OpenTelemetry's own variable has it
	"replies":               {"unknown field", "unknown client"}, // the caller, and nobody else, is told which name is wrong
	"folder/data/nats/jetstream/ESIGND/streams/ESIGN_AUDIT/msgs/1.blk": {"unknown client"}, // what was asked for
	"command audit": {"unknown client"},
}

// TestSecretsAreNowhere takes grants through everything that touches a secret, at log level debug and with all
// telemetry on, and then looks for every secret in all that can be seen of it.
func TestSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	w := newSecretWorld(t)
	d := startDaemon(t, w.options)
	events := system.Must(connectPlain(t, d).SubscribeSync("esign.event.>"))(t)
	t.Run("vendors", func(t *testing.T) {
		for _, r := range w.options.Clients {
			t.Run(r.Vendor, func(t *testing.T) {
				t.Parallel()
				w.exercise(t, d, r)
			})
		}
	})
	w.commands(d)
	w.noteKeyset(filepath.Join(d.DataDir, "keyset.json"))
	for name, address := range map[string]string{"console": d.Admin, "metrics": d.Admin + "/metrics", "readyz": d.Admin + "/readyz", "public readyz": d.Public + "/readyz"} {
		w.seen.open("page "+name, "http://"+address)
	}
	w.seen.processes(d)
	crash(t, d, w.options.Clients[0])
	w.seen.processes(d)
	d.Stop()
	for m, err := events.NextMsg(time.Second); err == nil; m, err = events.NextMsg(time.Second) {
		w.seen.message("events", m)
	}
	w.seen.telemetry(w.collector)
	w.seen.keep("output", []byte(d.Output().String()))
	w.seen.files("folder", filepath.Dir(d.Config))
	w.wantNothing()
}

// secretWorld is a daemon's surroundings, with a witness of the secrets in it.
type secretWorld struct {
	t         *testing.T
	secrets   *witness.Witness
	seen      *places
	collector *sink
	options   system.Options
}

func newSecretWorld(t *testing.T) *secretWorld {
	t.Helper()
	w := &secretWorld{t: t, secrets: witness.New(), seen: newPlaces(t), collector: startSink(t)}
	w.secrets.Note("vendor's words", vendorWords)
	w.secrets.Note("wrap key", system.WrapKey)
	w.secrets.Note("wrap key", string(system.Must(base64.StdEncoding.DecodeString(system.WrapKey))(t)))
	world := system.World{Lifetime: 5 * time.Second, Watch: w.secrets.Watch}
	clients := append(world.Mains(t, ""), system.Registration{Name: "generic", Vendor: "generic", Box: world.Open(t, "generic")})
	for i, r := range clients {
		clients[i].RedirectURIs = []string{"http://127.0.0.1:1/service/callback"}
		secret := "canary-client-secret-" + rand.Text()
		r.Box.SetClientSecret(secret)
		w.secrets.Note("client_secret", secret)
		if box, ok := r.Box.(interface{ APIKey() string }); ok {
			w.secrets.Note("api_key", box.APIKey())
		}
	}
	key := "canary-collector-key-" + rand.Text()
	w.secrets.Note("collector's key", key)
	w.options = system.Options{
		Clients: clients, LogLevel: "debug", ReturnTo: returnTo, Secrets: t.TempDir(), Plugins: pluginFolder(t),
		Env: append(w.collector.env(), "OTEL_EXPORTER_OTLP_HEADERS=x-api-key="+key, "ESIGND_AUDIT_ENABLED=true"),
	}
	return w
}

// pluginFolder has the plugins of all vendors.
func pluginFolder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "plugins")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, vendor := range []string{"adobesign", "dropboxsign", "esignglobal"} {
		name := "esignd-plugin-" + vendor
		b := system.Must(os.ReadFile(binaries.Path(name)))(t)
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := scratch.Build("-o", dir+"/", "github.com/esignd/esignd/plugins/generic/esignd-plugin-generic"); err != nil {
		t.Fatal(err)
	}
	return dir
}

// noteKeyset notes the keys in a wrapped keyset.
func (w *secretWorld) noteKeyset(file string) {
	w.t.Helper()
	var wrapped struct {
		EncryptedKeyset []byte `json:"encryptedKeyset"`
	}
	if err := json.Unmarshal(system.Must(os.ReadFile(file))(w.t), &wrapped); err != nil {
		w.t.Fatal(err)
	}
	wrap := system.Must(subtle.NewAESGCM(system.Must(base64.StdEncoding.DecodeString(system.WrapKey))(w.t)))(w.t)
	var keys tinkpb.Keyset
	if err := proto.Unmarshal(system.Must(wrap.Decrypt(wrapped.EncryptedKeyset, []byte("esignd keyset 1")))(w.t), &keys); err != nil {
		w.t.Fatal(err)
	}
	for _, key := range keys.GetKey() {
		w.secrets.Note("keyset", string(key.GetKeyData().GetValue()))
	}
}

// wantNothing searches each place.
func (w *secretWorld) wantNothing() {
	w.t.Helper()
	for _, kind := range []string{
		"access_token", "refresh_token", "code", "state", "code_verifier", "client_secret", "api_key", "connect ticket", "cookie",
		"wrap key", "keyset", "collector's key", "vendor's words",
	} {
		if !slices.Contains(w.secrets.Kinds(), kind) {
			w.t.Errorf("no %s was seen, so the search shows nothing of it", kind)
		}
	}
	w.seen.wantText(
		"output", "events", "replies", "page console", "page metrics", "page connect", "page callback", "page result", "esignd environ", "esignd cmdline",
		"plugin generic environ", "plugin generic cmdline", "telemetry: traces", "telemetry: metrics", "telemetry: logs",
		"folder/data/keyset.json", "folder/esignd.yaml", "folder/backup", "command backup", "command import", "command audit", "command doctor")
	for _, found := range w.seen.found(w.secrets, belongs) {
		w.t.Error(found)
	}
}

// exercise does with one client whatever makes esignd handle secrets.
func (w *secretWorld) exercise(t *testing.T, d *system.Daemon, r system.Registration) {
	t.Helper()
	cl, ctx := d.Dial(), t.Context()
	sel := client.Selector{Client: r.Name, Account: "secret@example.com"}
	w.connect(t, cl, sel)
	tok := system.Must(cl.Token(ctx, sel))(t)
	awaitExpired(t, tok)
	system.Must(cl.Token(ctx, sel))(t)

	// A vendor that talks too much, and then one that refuses.
	r.Box.FailNext(1, adobe.Fault{Status: http.StatusInternalServerError, Body: vendorWords})
	system.Await(t, time.Minute, "a refresh meets the vendor's error", func() bool {
		tok, err := cl.Refresh(ctx, sel)
		return err != nil || slices.Contains(tok.Warnings, "vendor_unavailable") || slices.Contains(tok.Warnings, "outcome_unknown")
	})
	exchanged := w.exchange(t, cl, r)
	system.Must(cl.Revoke(ctx, exchanged, "tested"))(t)
	w.imported(t, cl, r)
	w.mustFail(t, d)
}

// connect connects an account as its owner would, and brings the vendor's answer once more.
func (w *secretWorld) connect(t *testing.T, cl *client.Client, sel client.Selector) {
	t.Helper()
	a := system.Must(cl.Authorize(t.Context(), client.AuthorizeRequest{Client: sel.Client, Account: sel.Account, ReturnTo: returnTo}))(t)
	w.noteTicket(a.ConnectURL)
	b := newBrowser(t)
	p := b.open(a.ConnectURL)
	w.seen.page("page connect", p)
	if p.location == nil {
		t.Fatalf("the connect URL answers %d %s", p.status, p.text)
	}
	back := system.Must(consent.As(t.Context(), b.http, p.location.String(), sel.Account, true))(t)
	for _, cookie := range b.http.Jar.Cookies(back) {
		w.secrets.Note("cookie", cookie.Value)
	}
	p = b.open(back.String())
	w.seen.page("page callback", p)
	if p.status != http.StatusSeeOther {
		t.Fatalf("the callback answers %d", p.status)
	}
	if want := returnTo + "?grant=" + a.Grant + "&status=connected"; p.location.String() != want {
		t.Errorf("the browser is sent to %s, want %s", p.location, want)
	}
	p = b.open(back.String())
	w.seen.page("page callback", p)
	if p.status < 400 {
		t.Errorf("a callback that was taken answers %d", p.status)
	}
}

func (w *secretWorld) noteTicket(connectURL string) {
	w.secrets.Note("connect ticket", connectURL[strings.LastIndexByte(connectURL, '/')+1:])
}

// exchange authorizes through a service's own callback, once right and once with a code that is none.
func (w *secretWorld) exchange(t *testing.T, cl *client.Client, r system.Registration) client.Selector {
	t.Helper()
	sel := client.Selector{Client: r.Name, Account: "own@example.com"}
	for _, code := range []string{"no-such-code-at-the-vendor", ""} {
		a := system.Must(cl.Authorize(t.Context(), client.AuthorizeRequest{Client: r.Name, Account: sel.Account, RedirectURI: r.RedirectURIs[0]}))(t)
		w.secrets.Note("state", a.State)
		back := newBrowser(t).consentAt(a.AuthorizationURL, sel.Account)
		params := back.Query()
		if code != "" {
			params.Set("code", code)
		}
		if _, err := cl.Exchange(t.Context(), params); (err == nil) != (code == "") {
			t.Errorf("%s: the exchange answers %v", r.Name, err)
		} else if err != nil {
			w.seen.keep("replies", []byte(err.Error()))
		}
	}
	return sel
}

// imported brings a refresh token that the vendor does not know, which fails, and one with its access token.
func (w *secretWorld) imported(t *testing.T, cl *client.Client, r system.Registration) {
	t.Helper()
	refresh, access := "canary-refresh-token-"+rand.Text(), "canary-access-token-"+rand.Text()
	w.secrets.Note("refresh_token", refresh)
	w.secrets.Note("access_token", access)
	_, err := cl.Import(t.Context(), client.ImportRequest{Client: r.Name, Account: "moved@example.com", RefreshToken: client.NewSecret(refresh)})
	if err == nil {
		t.Fatalf("%s: a refresh token that the vendor does not know was imported", r.Name)
	}
	w.seen.keep("replies", []byte(err.Error()))
	_, err = cl.Import(t.Context(), client.ImportRequest{
		Client: r.Name, Account: "moved@example.com", RefreshToken: client.NewSecret(refresh), AccessToken: client.NewSecret(access),
		ExpiresAt: time.Now().Add(time.Hour), Replace: true,
	})
	if err != nil {
		t.Errorf("%s: import: %v", r.Name, err)
	}
}

// mustFail sends requests with secrets in the wrong places.
func (w *secretWorld) mustFail(t *testing.T, d *system.Daemon) {
	t.Helper()
	misplaced, field, name := "canary-misplaced-"+rand.Text(), "canary-field-"+rand.Text(), "canary-client-"+rand.Text()
	w.secrets.Note("misplaced secret", misplaced)
	w.secrets.Note("unknown field", field)
	w.secrets.Note("unknown client", name)
	nc := connectPlain(t, d)
	for _, request := range []string{
		`{"client":"adobe","account":"a","refresh_token":["` + misplaced + `"]}`, `{"client":"adobe","` + field + `":1}`,
		`{"client":"adobe","refresh_token":"` + misplaced, `{"client":"` + name + `","account":"a","refresh_token":"x"}`,
		`{"client":"adobe","account":"a","refresh_token":"x","expires_at":"` + misplaced + `"}`, `{"client":"adobe","account":7,"refresh_token":"` + misplaced + `"}`,
		`{"client":"adobe","account":"a","refresh_token":"x","api_base_url":"https://` + misplaced + `.example.com/"}`,
	} {
		m := system.Must(nc.Request("esign.api.default.grant.import", []byte(request), 20*time.Second))(t)
		w.seen.message("replies", m)
		if m.Header.Get("Nats-Service-Error-Code") == "" {
			t.Error("a bad import was taken")
		}
	}
	for name, path := range map[string]string{
		"result": "/connect/" + misplaced, "callback": "/oauth/callback/adobe?code=" + misplaced + "&state=" + misplaced, "none": "/" + misplaced,
	} {
		p := newBrowser(t).open("http://" + d.Public + path)
		w.seen.page("page "+name, p)
		if p.status < 400 {
			t.Errorf("the page %s answers %d", name, p.status)
		}
	}
	resp := system.Must(system.Plain.PostForm("http://"+d.Public+"/events/dropbox", url.Values{"json": {`{"event":"` + misplaced + `"}`}}))(t)
	w.seen.page("page events", readPage(t, resp))
}

// commands runs the commands of esignd that touch a secret.
func (w *secretWorld) commands(d *system.Daemon) {
	w.t.Helper()
	token := "canary-typed-refresh-token-" + rand.Text()
	w.secrets.Note("refresh_token", token)
	selector := []string{"--client", "adobe", "--account", "secret@example.com"}
	config := []string{"--config", d.Config}
	got := system.Must(d.Dial().Token(w.t.Context(), client.Selector{Client: "adobe", Account: "secret@example.com"}))(w.t)
	pending := client.Selector{Client: "adobe", Account: "pending@example.com"}
	w.noteTicket(system.Must(d.Dial().Authorize(w.t.Context(), client.AuthorizeRequest{Client: pending.Client, Account: pending.Account}))(w.t).ConnectURL)
	for _, c := range []struct {
		name  string
		args  []string
		stdin string
		fails bool
	}{
		{name: "token get", args: append([]string{"token", "get"}, selector...)},
		{name: "token pending", args: []string{"token", "get", "--client", pending.Client, "--account", pending.Account}, fails: true},
		{name: "connect", args: []string{"connect", "--client", pending.Client, "--account", pending.Account}},
		{name: "grants", args: []string{"grants", "list", "--json"}},
		{name: "grants", args: append([]string{"grants", "show", "--json"}, selector...)},
		{name: "import", args: []string{"grants", "import", "--client", "adobe", "--account", "typed@example.com"}, stdin: token, fails: true},
		{name: "check", args: append([]string{"check"}, config...)},
		{name: "keys", args: append([]string{"keys", "status", "--json"}, config...)},
		{name: "keys", args: append([]string{"keys", "rotate"}, config...)},
		{name: "backup", args: append([]string{"backup", "--out", filepath.Join(filepath.Dir(d.Config), "backup")}, config...)},
		{name: "audit", args: append([]string{"audit", "list"}, config...)},
		{name: "audit", args: append([]string{"audit", "find"}, config...), stdin: got.AccessToken.Reveal()},
		{name: "doctor", args: append([]string{"doctor"}, config...)},
		{name: "version", args: []string{"version"}},
	} {
		cmd := exec.CommandContext(w.t.Context(), binaries.Path("esignd"), c.args...)
		cmd.Env = append(slices.Clone(d.Env), "ESIGND_SERVER="+d.NATSURL())
		cmd.Stdin = strings.NewReader(c.stdin + "\n")
		if w.seen.run("command "+c.name, cmd) == c.fails {
			w.t.Errorf("esignd %v: %s", c.args, w.seen.text["command "+c.name])
		}
	}
}

// consentAt is consent at a vendor's page that the service itself sends the browser to.
func (b *browser) consentAt(authorizationURL, account string) *url.URL {
	b.t.Helper()
	return system.Must(consent.As(b.t.Context(), b.http, authorizationURL, account, true))(b.t)
}

// crash makes a plugin die with its stack on standard error.
func crash(t *testing.T, d *system.Daemon, r system.Registration) {
	t.Helper()
	pid := d.Plugins()[r.Vendor]
	if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	system.Await(t, time.Minute, "the plugin is back", func() bool { now := d.Plugins()[r.Vendor]; return now != 0 && now != pid })
}
