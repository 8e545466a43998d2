package system

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/bus/client"
	adobe "github.com/esignd/esignd/plugins/adobesign/sandbox"
	dropbox "github.com/esignd/esignd/plugins/dropboxsign/sandbox"
	global "github.com/esignd/esignd/plugins/esignglobal/sandbox"
	generic "github.com/esignd/esignd/plugins/generic/sandbox"
)

// Sandbox is what the three vendors' have in common.
type Sandbox interface {
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

// World is how sandboxes behave.
type World struct {
	Lifetime time.Duration // of access tokens; whole seconds
	Watch    func(http.Handler) http.Handler
	// Rotate makes Dropbox Sign's sandbox rotate refresh tokens too. Adobe's never does.
	Rotate bool
	// StateDir is a folder for what sandboxes know, so that one that was closed can be opened again, at its old address.
	// Empty: it is gone with them.
	StateDir string
}

// Open starts the sandbox of a vendor. eSignGlobal's rotates refresh tokens, and so the vendors are of both kinds.
func (w World) Open(t testing.TB, vendor string) Sandbox {
	t.Helper()
	var box Sandbox
	var err error
	state := ""
	if w.StateDir != "" {
		state = filepath.Join(w.StateDir, vendor+".json")
	}
	switch vendor {
	case "adobesign":
		box, err = adobe.New(adobe.Config{AccessLifetime: w.Lifetime, Middleware: w.Watch, StateFile: state})
	case "dropboxsign":
		box, err = dropbox.New(dropbox.Config{AccessLifetime: w.Lifetime, Middleware: w.Watch, StateFile: state, Rotate: w.Rotate})
	case "esignglobal":
		box, err = global.New(global.Config{AccessLifetime: w.Lifetime, Middleware: w.Watch, StateFile: state, Rotate: true})
	case "generic":
		box, err = generic.New(generic.Config{AccessLifetime: w.Lifetime, Middleware: w.Watch})
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

// Registration is a client in the configuration, and the sandbox at which it is registered.
type Registration struct {
	Name, Vendor string
	Box          Sandbox
	GrantType    string // empty: authorization_code
	Policy       string // empty: eager
	Tenants      []string
	RedirectURIs []string
}

// SecretVariable names the environment variable that holds the client secret.
func (r Registration) SecretVariable() string {
	return "SECRET_" + strings.ToUpper(strings.ReplaceAll(r.Name, "-", "_"))
}

// Scopes are what a client of each vendor asks for.
func Scopes(vendor string) []string {
	switch vendor {
	case "adobesign":
		return []string{"agreement_send:account", "user_login:self", "user_read:self"}
	case "esignglobal":
		return []string{"signature"}
	default:
		return nil
	}
}

// secrets are those of the registration by the variables that hold them.
func (r Registration) secrets() map[string]string {
	_, secret := r.Box.Client()
	all := map[string]string{r.SecretVariable(): secret}
	if box, ok := r.Box.(keyed); ok {
		all[r.SecretVariable()+"_KEY"] = box.APIKey()
	}
	return all
}

// yaml writes the client of the configuration. ref says where a secret is, by its variable.
func (r Registration) yaml(b *strings.Builder, ref func(variable string) string) {
	id, _ := r.Box.Client()
	_, _ = fmt.Fprintf(b, "  - name: %s\n    vendor: %s\n    client_id: %s\n    client_secret: %s\n", r.Name, r.Vendor, id, ref(r.SecretVariable()))
	for key, value := range map[string]string{"grant_type": r.GrantType, "policy": r.Policy} {
		if value != "" {
			_, _ = fmt.Fprintf(b, "    %s: %s\n", key, value)
		}
	}
	for key, list := range map[string][]string{"scopes": Scopes(r.Vendor), "tenants": r.Tenants, "redirect_uris": r.RedirectURIs} {
		if len(list) > 0 && (key != "scopes" || r.GrantType == "") {
			_, _ = fmt.Fprintf(b, "    %s: [\"%s\"]\n", key, strings.Join(list, `", "`))
		}
	}
	settings := r.Box.Settings()
	b.WriteString("    settings:\n")
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		_, _ = fmt.Fprintf(b, "      %s: %q\n", name, settings[name])
	}
	if _, ok := r.Box.(keyed); ok {
		_, _ = fmt.Fprintf(b, "      api_key: %s\n", ref(r.SecretVariable()+"_KEY"))
	}
}

// keyed is a sandbox that gives its app's owner an API key.
type keyed interface{ APIKey() string }

// Mains are one client for each vendor: adobe, dropbox and global.
func (w World) Mains(t testing.TB, policy string) []Registration {
	t.Helper()
	return []Registration{
		{Name: "adobe", Vendor: "adobesign", Box: w.Open(t, "adobesign"), Policy: policy},
		{Name: "dropbox", Vendor: "dropboxsign", Box: w.Open(t, "dropboxsign"), Policy: policy},
		{Name: "global", Vendor: "esignglobal", Box: w.Open(t, "esignglobal"), Policy: policy},
	}
}

// CallAPI calls the vendor's API with a token and returns the status: 200 where the token is live, 401 where not.
func CallAPI(t testing.TB, tok client.Token) int {
	t.Helper()
	resp, err := Plain.Do(Must(APIRequest(t.Context(), tok))(t))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// APIRequest is a request to the vendor's API, which is answered with 200 where the token is live, and with 401 where not.
func APIRequest(ctx context.Context, tok client.Token) (*http.Request, error) {
	path := map[string]string{
		"adobesign":   "/api/rest/v6/users/me",
		"dropboxsign": "/v3/account",
		"esignglobal": "/esignglobal/v1/envelope/envelopeDetail?envelopeId=1",
		"generic":     "/me",
	}[tok.Vendor]
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, tok.APIBaseURL+path, nil)
	if err == nil {
		req.Header.Set("Authorization", "Bearer "+tok.AccessToken.Reveal())
	}
	return req, err
}
