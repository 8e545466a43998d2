package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	adobe "github.com/esignd/esignd/plugins/adobesign/sandbox"
	dropbox "github.com/esignd/esignd/plugins/dropboxsign/sandbox"
	global "github.com/esignd/esignd/plugins/esignglobal/sandbox"
)

// sandbox is what the three vendors' have in common.
type sandbox interface {
	Start() error
	Close() error
	URL() string
	Settings() map[string]string
	Client() (id, secret string)
	Stats() adobe.Stats
	FailNext(n int, f adobe.Fault)
	SetClientSecret(secret string)
	RevokeByUser(account string) (int, error)
}

// world is how sandboxes behave.
type world struct {
	lifetime time.Duration // of access tokens; whole seconds
	watch    func(http.Handler) http.Handler
}

// open starts the sandbox of a vendor. eSignGlobal's rotates refresh tokens, and so the vendors are of both kinds.
func (w world) open(t testing.TB, vendor string) sandbox {
	t.Helper()
	var box sandbox
	var err error
	switch vendor {
	case "adobesign":
		box, err = adobe.New(adobe.Config{AccessLifetime: w.lifetime, Middleware: w.watch})
	case "dropboxsign":
		box, err = dropbox.New(dropbox.Config{AccessLifetime: w.lifetime, Middleware: w.watch})
	case "esignglobal":
		box, err = global.New(global.Config{AccessLifetime: w.lifetime, Middleware: w.watch, Rotate: true})
	default:
		t.Fatalf("no sandbox of %s", vendor)
	}
	if err == nil {
		err = box.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	})
	return box
}

// registration is a client in the configuration, and the sandbox at which it is registered.
type registration struct {
	name, vendor string
	box          sandbox
	grantType    string // empty: authorization_code
	policy       string // empty: eager
	tenants      []string
	redirectURIs []string
}

func (r registration) secretVariable() string {
	return "SECRET_" + strings.ToUpper(strings.ReplaceAll(r.name, "-", "_"))
}

var scopes = map[string][]string{
	"adobesign":   {"agreement_send:account", "user_login:self", "user_read:self"},
	"esignglobal": {"signature"},
}

func (r registration) yaml(b *strings.Builder) {
	id, _ := r.box.Client()
	_, _ = fmt.Fprintf(b, "  - name: %s\n    vendor: %s\n    client_id: %s\n    client_secret: {env: %s}\n", r.name, r.vendor, id, r.secretVariable())
	for key, value := range map[string]string{"grant_type": r.grantType, "policy": r.policy} {
		if value != "" {
			_, _ = fmt.Fprintf(b, "    %s: %s\n", key, value)
		}
	}
	for key, list := range map[string][]string{"scopes": scopes[r.vendor], "tenants": r.tenants, "redirect_uris": r.redirectURIs} {
		if len(list) > 0 && (key != "scopes" || r.grantType == "") {
			_, _ = fmt.Fprintf(b, "    %s: [\"%s\"]\n", key, strings.Join(list, `", "`))
		}
	}
	settings := r.box.Settings()
	b.WriteString("    settings:\n")
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		_, _ = fmt.Fprintf(b, "      %s: %q\n", name, settings[name])
	}
	if _, ok := r.box.(keyed); ok {
		_, _ = fmt.Fprintf(b, "      api_key: {env: %s_KEY}\n", r.secretVariable())
	}
}

// keyed is a sandbox that gives its app's owner an API key.
type keyed interface{ APIKey() string }

// mains are one client for each vendor: adobe, dropbox and global.
func (w world) mains(t testing.TB, policy string) []registration {
	t.Helper()
	return []registration{
		{name: "adobe", vendor: "adobesign", box: w.open(t, "adobesign"), policy: policy},
		{name: "dropbox", vendor: "dropboxsign", box: w.open(t, "dropboxsign"), policy: policy},
		{name: "global", vendor: "esignglobal", box: w.open(t, "esignglobal"), policy: policy},
	}
}

// apis are paths at which the vendors answer 200 to a live access token and 401 to any other.
var apis = map[string]string{
	"adobesign":   "/api/rest/v6/users/me",
	"dropboxsign": "/v3/account",
	"esignglobal": "/esignglobal/v1/envelope/envelopeDetail?envelopeId=1",
}
