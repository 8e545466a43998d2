package esignd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd"
	"github.com/esignd/esignd/core"
)

// canary stands in every secret of these tests.
const canary = "CANARY"

// secrets are the variables that the examples name.
var secrets = [...]string{
	"ADOBE_SECRET=" + canary + "-adobe", "DROPBOX_SECRET=" + canary + "-dropbox", "DROPBOX_API_KEY=" + canary + "-key",
	"GLOBAL_SECRET=" + canary + "-global", "ESIGND_KEY=" + canary + "-wrap", "METRICS_TOKEN=" + canary + "-metrics-0123456789abcdef0123456789",
}

// load loads a configuration from its text.
func load(t *testing.T, text string, environ ...string) (esignd.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "esignd.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := esignd.LoadConfig(path, append(slices.Clone(secrets[:]), environ...))
	if err != nil {
		if strings.Contains(err.Error(), canary) {
			t.Errorf("the error shows a secret: %v", err)
		}
		err = errors.New(strings.TrimPrefix(err.Error(), "configuration "+path+":\n"))
	}
	return cfg, err
}

func loadFull(t *testing.T, environ ...string) esignd.Config {
	t.Helper()
	cfg, err := esignd.LoadConfig("docs/esignd.yaml", append(slices.Clone(secrets[:]), environ...))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// equalSecrets compares what secrets hold.
var equalSecrets = cmp.Comparer(core.Secret.Equal)

func TestLoadConfigReadsEverySetting(t *testing.T) {
	want := esignd.Config{
		DataDir: "/var/lib/esignd",
		NATS:    esignd.NATS{Listen: "127.0.0.1:4222", Auth: esignd.AuthNone, Prefix: "esign", Replicas: 1, Quota: esignd.Quota{PerSecond: 10_000, Concurrent: 2_500}},
		Audit:   esignd.Audit{MaxAge: 365 * 24 * time.Hour},
		HTTP: esignd.HTTP{
			Listen: "127.0.0.1:8080", Admin: "127.0.0.1:8081", PublicURL: "http://127.0.0.1:8080",
			ReturnTo: []string{"https://app.example.com/connected"}, AdminURL: "http://127.0.0.1:8081",
			MetricsToken:   core.NewSecret(canary + "-metrics-0123456789abcdef0123456789"),
			TrustedProxies: []string{"10.1.0.0/16", "127.0.0.1"},
		},
		Plugins: esignd.Plugins{Dir: "./bin", SHA256: map[string]string{
			"adobesign": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		}},
		Clients: []esignd.Client{
			{
				Name: "adobe-main", Vendor: "adobesign", ClientID: "CBJCHBCAABAA", ClientSecret: core.NewSecret(canary + "-adobe"),
				GrantType: core.AuthorizationCode, Scopes: []string{"agreement_send:account", "user_login:self"},
				Tenants: []string{"default"}, RedirectURIs: []string{"https://service.example.com/callback"}, Policy: core.Eager,
				Settings: map[string]string{
					"web_url": "https://secure.na1.adobesign.com", "api_url": "https://api.na1.adobesign.com", "oauth_version": "v2",
				},
				SecretSettings: map[string]core.Secret{},
			},
			{
				Name: "dropbox-main", Vendor: "dropboxsign", ClientID: "12345", ClientSecret: core.NewSecret(canary + "-dropbox"),
				GrantType: core.AuthorizationCode, Tenants: []string{"default"}, Policy: core.Lazy,
				Settings:       map[string]string{"app_url": "https://app.hellosign.com", "api_url": "https://api.hellosign.com"},
				SecretSettings: map[string]core.Secret{"api_key": core.NewSecret(canary + "-key")},
			},
			{
				Name: "global-app", Vendor: "esignglobal", ClientID: "global", ClientSecret: core.NewSecret(canary + "-global"),
				GrantType: core.ClientCredentials, Tenants: []string{"default", "acme"}, Policy: core.Eager,
				Settings: map[string]string{
					"account_url": "https://account.esignglobal.com", "api_url": "https://openapi-as1.esignglobal.com",
				},
				SecretSettings: map[string]core.Secret{},
			},
		},
		Keys: esignd.Keys{Wrap: core.NewSecret(canary + "-wrap")},
		Log:  esignd.Log{Level: "info", Format: "json"},

		Version: esignd.Version,
	}
	got := loadFull(t)
	if diff := cmp.Diff(want, got, equalSecrets); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"adobesign", "dropboxsign", "esignglobal"}, got.Vendors()); diff != "" {
		t.Errorf("vendors, -want +got:\n%s", diff)
	}
	if err := got.Validate(); err != nil {
		t.Errorf("Validate: %v", err)
	}
}

func TestDefaultsFillWhatIsNotSaid(t *testing.T) {
	got, err := load(t, `
data_dir: d
nats: {auth: none}
http: # empty sections are as none
clients: [{name: a, vendor: adobesign, client_id: x, client_secret: {env: ADOBE_SECRET}}]
`)
	if err != nil {
		t.Fatal(err)
	}
	want := esignd.DefaultConfig()
	want.DataDir, want.NATS.Auth = "d", esignd.AuthNone
	want.Clients = []esignd.Client{{
		Name: "a", Vendor: "adobesign", ClientID: "x", ClientSecret: core.NewSecret(canary + "-adobe"),
		GrantType: core.AuthorizationCode, Tenants: []string{"default"}, Policy: core.Eager,
		Settings: map[string]string{}, SecretSettings: map[string]core.Secret{},
	}}
	if diff := cmp.Diff(want, got, equalSecrets); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if got.Plugins.Dir != filepath.Dir(exe) {
		t.Errorf("plugins.dir is %s, want the folder of %s", got.Plugins.Dir, exe)
	}
}

func TestValuesThatLookLikeOthersAreKept(t *testing.T) {
	cfg, err := load(t, clientOf("client_id: 2026-01-02, client_secret: {env: ADOBE_SECRET}, settings: {a: 1.50, b: 2026-01-02, c: true, d: 007, 4: '5'}"))
	if err != nil {
		t.Fatal(err)
	}
	got := cfg.Clients[0]
	want := map[string]string{"a": "1.50", "b": "2026-01-02", "c": "true", "d": "007", "4": "5"}
	if diff := cmp.Diff(want, got.Settings); diff != "" || got.ClientID != "2026-01-02" {
		t.Errorf("client_id %s; settings, -want +got:\n%s", got.ClientID, diff)
	}
}

func FuzzLoadConfigDoesNotPanic(f *testing.F) {
	for _, c := range badConfigs {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if cfg, err := load(t, text); err == nil && cfg.Validate() != nil {
			t.Errorf("taken from a file and not from Go: %v", cfg.Validate())
		}
	})
}

func TestPublicURLFollowsListen(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:9000": "http://127.0.0.1:9000", "0.0.0.0:9000": "http://127.0.0.1:9000", ":9000": "http://127.0.0.1:9000",
		"[::1]:9000": "http://[::1]:9000", "localhost:9000": "http://localhost:9000",
	} {
		cfg, err := load(t, fmt.Sprintf("data_dir: d\nnats: {auth: none}\nhttp: {listen: %q}", listen))
		if err != nil || cfg.HTTP.PublicURL != want {
			t.Errorf("%s: got %s, %v, want %s", listen, cfg.HTTP.PublicURL, err, want)
		}
	}
}

func TestPublicURLIsOfWhatTheListenerSpeaks(t *testing.T) {
	cfg, err := load(t, good+"http: {listen: \"0.0.0.0:443\", tls: {cert: /c, key: /k}}\n")
	if want := "https://127.0.0.1:443"; err != nil || cfg.HTTP.PublicURL != want {
		t.Errorf("got %s, %v, want %s", cfg.HTTP.PublicURL, err, want)
	}
}

func TestEnvironmentOverridesTheFile(t *testing.T) {
	got := loadFull(t,
		"ESIGND_DATA_DIR=/data", "ESIGND_NATS_URL=nats://a:4222,nats://b:4222", "ESIGND_NATS_LISTEN=127.0.0.1:1",
		"ESIGND_NATS_PREFIX=acme.esign", "ESIGND_NATS_REPLICAS=3", "ESIGND_NATS_CREDENTIALS=/creds", "ESIGND_NATS_TLS_CA=/ca",
		"ESIGND_NATS_TLS_CERT=/cert", "ESIGND_NATS_TLS_KEY=/key", "ESIGND_HTTP_LISTEN=0.0.0.0:80", "ESIGND_HTTP_ADMIN=127.0.0.1:2",
		"ESIGND_HTTP_PUBLIC_URL=https://esign.example.com/x", "ESIGND_HTTP_ADMIN_URL=https://admin.example.com", "ESIGND_PLUGINS_DIR=/plugins", "ESIGND_KEYS_KEYSET=/keyset",
		"ESIGND_HTTP_TLS_CA=/http/ca", "ESIGND_HTTP_TLS_CERT=/http/cert", "ESIGND_HTTP_TLS_KEY=/http/key",
		"ESIGND_LOG_LEVEL=debug", "ESIGND_LOG_FORMAT=text", "ESIGND_NATS_AUTH=", "ESIGND_SERVICE_HOST=10.0.0.1",
		"ESIGND_NATS_QUOTA_PER_SECOND=7", "ESIGND_NATS_QUOTA_CONCURRENT=8",
		"ESIGND_AUDIT_ENABLED=true", "ESIGND_AUDIT_MAX_AGE=48h", "ESIGND_AUDIT_MAX_BYTES=1000000",
	)
	want := loadFull(t)
	want.DataDir = "/data"
	want.NATS = esignd.NATS{
		URL: "nats://a:4222,nats://b:4222", Listen: "127.0.0.1:1", Auth: esignd.AuthNone, Prefix: "acme.esign", Replicas: 3,
		Credentials: "/creds", TLS: esignd.TLS{CA: "/ca", Cert: "/cert", Key: "/key"},
		Quota: esignd.Quota{PerSecond: 7, Concurrent: 8},
	}
	want.Audit = esignd.Audit{Enabled: true, MaxAge: 48 * time.Hour, MaxBytes: 1_000_000}
	want.HTTP.Listen, want.HTTP.Admin, want.HTTP.PublicURL = "0.0.0.0:80", "127.0.0.1:2", "https://esign.example.com/x"
	want.HTTP.TLS = esignd.TLS{CA: "/http/ca", Cert: "/http/cert", Key: "/http/key"}
	want.HTTP.AdminURL = "https://admin.example.com"
	want.Plugins.Dir, want.Keys.Keyset = "/plugins", "/keyset"
	want.Log = esignd.Log{Level: "debug", Format: "text"}
	if diff := cmp.Diff(want, got, equalSecrets); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	bare, err := load(t, "", "ESIGND_DATA_DIR=/data", "ESIGND_NATS_AUTH=none")
	if err != nil || bare.DataDir != "/data" || bare.NATS.Auth != esignd.AuthNone {
		t.Errorf("without a file's settings: got %+v, %v", bare, err)
	}
}

func TestServicesAreRead(t *testing.T) {
	cfg, err := load(t, services("name: a, tenant: t, nkeys: ["+nkey+"]"))
	if err != nil {
		t.Fatal(err)
	}
	want := []esignd.Service{{Name: "a", Tenant: "t", Role: "caller", NKeys: []string{nkey}}}
	if diff := cmp.Diff(want, cfg.NATS.Services); diff != "" || cfg.NATS.Auth != esignd.AuthServices {
		t.Errorf("auth %q, services -want +got:\n%s", cfg.NATS.Auth, diff)
	}
	cfg, err = load(t, certified("certificate: \"O=Acme, CN=a\""))
	if err != nil || cfg.NATS.Services[0].Certificate != "O=Acme, CN=a" || cfg.Validate() != nil {
		t.Errorf("by certificate: %+v, %v, %v", cfg.NATS.Services, err, cfg.Validate())
	}
	made := esignd.Config{DataDir: "d", NATS: esignd.NATS{Listen: "0.0.0.0:4222", Services: want}}
	if err := made.Validate(); err != nil {
		t.Errorf("made in Go: %v", err)
	}
}

func TestSecretsComeFromFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good", canary+" file \r\n\n", 0o444) // as containers mount secrets
	for _, c := range []struct{ name, path, want string }{
		{"empty", write("empty", "\n", 0o600), "the file PATH is empty; write the secret into it"},
		{"missing", filepath.Join(dir, "missing"), "there is no file PATH; make it, readable by esignd alone, or name another"},
		{"world-writable", write("open", canary, 0o646), "every user of this machine can write the file PATH (mode 0646); run `chmod o-w PATH`"},
		{"folder", dir, "PATH is not a file; name one that holds the secret and nothing else"},
		{"too long", write("long", strings.Repeat(canary, 20000), 0o600), "the file PATH is longer than a secret can be (64 KiB); is it the right one?"},
		{"unreadable", write("unreadable", canary, 0o000), "the file cannot be read: open PATH: permission denied; give it to the user that runs esignd"},
		{"good", good, ""},
	} {
		if c.name == "unreadable" && os.Geteuid() == 0 {
			continue // root reads everything
		}
		cfg, err := load(t, clientOf("client_id: x, client_secret: {file: "+c.path+"}"))
		if c.want == "" {
			if err != nil || cfg.Clients[0].ClientSecret.Reveal() != canary+" file " {
				t.Errorf("%s: got %q, %v", c.name, cfg.Clients[0].ClientSecret.Reveal(), err)
			}
			continue
		}
		want := "  clients[0].client_secret (line 3): " + strings.ReplaceAll(c.want, "PATH", c.path)
		if err == nil || err.Error() != want {
			t.Errorf("%s: got\n%v\nwant\n%s", c.name, err, want)
		}
	}
}

// clientOf returns a configuration with one client that has these members besides name and vendor.
func clientOf(members string) string {
	return "data_dir: d\nnats: {auth: none}\nclients: [{name: a, vendor: adobesign, " + members + "}]\n"
}

func TestConfigPrintsNoSecret(t *testing.T) {
	cfg := loadFull(t, "ESIGND_NATS_URL=nats://me:"+canary+"@a:4222,tls://"+canary+"@b:4222,"+canary+"@c", "ESIGND_KEYS_KEYSET=/k")
	var logged bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&logged, nil), slog.NewJSONHandler(&logged, nil)} {
		slog.New(h).Info("configured", "config", cfg, "pointer", &cfg, "nats", cfg.NATS, "url", cfg.NATS.URL)
	}
	natsJSON, err := json.Marshal(cfg.NATS)
	if err != nil {
		t.Fatal(err)
	}
	for how, text := range map[string]string{
		"%v": fmt.Sprintf("%v", cfg), "%+v": fmt.Sprintf("%+v", cfg), "%#v": fmt.Sprintf("%#v", cfg),
		"%x": fmt.Sprintf("%x", cfg.NATS.URL), "slog": logged.String(), "JSON of NATS": string(natsJSON),
	} {
		if strings.Contains(text, canary) {
			t.Errorf("%s shows a secret: %s", how, text)
		}
	}
	if _, err := json.Marshal(cfg); !errors.Is(err, core.ErrSecretMarshal) {
		t.Errorf("JSON of a Config: got %v, want %v", err, core.ErrSecretMarshal)
	}
	if got, want := cfg.NATS.URL.String(), "nats://[redacted]@a:4222,tls://[redacted]@b:4222,[redacted]@c"; got != want {
		t.Errorf("the address prints as %s, want %s", got, want)
	}
}

func TestValidateChecksAConfigMadeInGo(t *testing.T) {
	cfg := loadFull(t)
	before := fmt.Sprintf("%#v", cfg)
	for name, c := range map[string]struct {
		spoil func(*esignd.Config)
		want  string
	}{
		"name":     {func(c *esignd.Config) { c.Clients[0].Name = "a b" }, `  clients[0].name: "a b" will not do: it takes letters, digits, _ and -, and at most 64 of them`},
		"no name":  {func(c *esignd.Config) { c.Clients[0].Name = "" }, `  clients[0].name: is missing: a client has a name of its own, which services ask by`},
		"services": {func(c *esignd.Config) { c.NATS.Auth = esignd.AuthServices }, `  nats.auth.services: is an empty list; name one, or leave the setting out for its default`},
		"both": {func(c *esignd.Config) {
			c.NATS.Services = []esignd.Service{{Name: "a", Tenant: "t", NKeys: []string{nkey}}}
		}, `  nats.auth: is none, which lets everybody in, and lists services; say one of them`},
		"auth":    {func(c *esignd.Config) { c.NATS.Auth = "all" }, `  nats.auth: say none, which lets every program on this machine ask for tokens, or list services`},
		"policy":  {func(c *esignd.Config) { c.Clients[1].Policy = "later" }, `  clients[1].policy: "later" is not known; say eager or lazy`},
		"tenants": {func(c *esignd.Config) { c.Clients[1].Tenants = []string{} }, `  clients[1].tenants: is an empty list; name one, or leave the setting out for its default`},
		"version": {func(c *esignd.Config) { c.Version = "dev" }, `  Version: "dev" is not a semantic version such as 1.2.3`},
		"secret":  {func(c *esignd.Config) { c.Clients[2].ClientSecret = core.Secret{} }, `  clients[2].client_secret: is missing: write {env: NAME} or {file: PATH}`},
	} {
		bad := cfg
		bad.Clients = slices.Clone(cfg.Clients)
		c.spoil(&bad)
		if err := bad.Validate(); err == nil || err.Error() != c.want {
			t.Errorf("%s: got\n%v\nwant\n%s", name, err, c.want)
		}
	}
	if after := fmt.Sprintf("%#v", cfg); after != before {
		t.Errorf("Validate changed the configuration:\n%s\n%s", before, after)
	}
	small := esignd.Config{DataDir: "d", NATS: esignd.NATS{Auth: esignd.AuthNone}}
	if err := small.Validate(); err != nil {
		t.Errorf("the smallest configuration: %v", err)
	}
}

func TestCallbackThatVendorsShareIsSeen(t *testing.T) {
	at := func(vendor string, uris ...string) esignd.Client {
		return esignd.Client{Vendor: vendor, RedirectURIs: uris}
	}
	cfg := esignd.Config{Clients: []esignd.Client{at("a", "https://x/1", "https://x/2"), at("a", "https://x/1"), at("b", "https://x/2", "https://x/3")}}
	if got := esignd.SharedCallbacks(cfg); !slices.Equal(got, []string{"https://x/2"}) {
		t.Errorf("got %v", got)
	}
}
