package esignd_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.uber.org/fx"
	"go.uber.org/fx/fxtest"
	"go.uber.org/goleak"

	"github.com/esignd/esignd"
	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/esignglobal"
	"github.com/esignd/esignd/plugins/esignglobal/sandbox"
	"github.com/esignd/esignd/plugins/sdk"
)

// TestMain makes the test binary a plugin where it is started under a plugin's name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "esignd-plugin-esignglobal" {
		sdk.Serve(esignglobal.New(esignglobal.Config{}))
		return
	}
	goleak.VerifyTestMain(m, unfinished()...)
}

// pluginDir returns a folder with the plugin of eSignGlobal.
func pluginDir(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	dir := emptyDir(t)
	if err := os.WriteFile(filepath.Join(dir, "esignd-plugin-esignglobal"), binary, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// emptyDir returns a folder that others cannot write to.
func emptyDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// daemonConfig is a configuration on free ports, without clients.
func daemonConfig(t *testing.T) esignd.Config {
	t.Helper()
	return esignd.Config{
		DataDir: filepath.Join(t.TempDir(), "data"),
		NATS:    esignd.NATS{Auth: esignd.AuthNone, Listen: "127.0.0.1:0"},
		HTTP:    esignd.HTTP{Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"},
		Plugins: esignd.Plugins{Dir: emptyDir(t)},
		Log:     esignd.Log{Level: "error"},
	}
}

// robot is a client at a sandbox of eSignGlobal.
func robot(t *testing.T) esignd.Client {
	t.Helper()
	box, err := sandbox.New(sandbox.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := box.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	})
	id, secret := box.Client()
	return esignd.Client{
		Name: "robot", Vendor: "esignglobal", ClientID: id, ClientSecret: core.NewSecret(secret),
		GrantType: core.ClientCredentials, Settings: box.Settings(),
	}
}

func TestNewReportsEveryMistakeAndStartsNothing(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	_, err := esignd.New(esignd.Config{HTTP: esignd.HTTP{Admin: "0.0.0.0:1"}})
	want := "configuration:\n  data_dir: is missing: name a folder that belongs to this esignd alone"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	cfg := daemonConfig(t)
	cfg.NATS.Auth, cfg.HTTP.Admin = "", "0.0.0.0:1"
	_, err = esignd.New(cfg)
	want = `configuration:
  http.admin: "0.0.0.0:1" can be reached from the network, so operators need an address by which a session does not go in the clear: set http.admin_url to it, https, or http to a port that is forwarded to this machine; or listen on a loopback address such as 127.0.0.1:8081
  nats.auth: is missing: say none, which lets every program on this machine ask for tokens, or list services; esignd does not start on a guess`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	// A mistake that only a part of the daemon sees, once telemetry is there.
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	cfg = daemonConfig(t)
	cfg.NATS.URL, cfg.Keys = "nats://a b", esignd.Keys{Keyset: "/k", Wrap: core.NewSecret(strings.Repeat("ab", 32))}
	if _, err = esignd.New(cfg); err == nil || err.Error() != "nats.url is not a URL such as nats://host:4222" {
		t.Errorf("got %v", err)
	}
	if err := goleak.Find(ignore); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(cfg.DataDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data_dir was made: %v", err)
	}
}

func TestDaemonThatWasNotStartedCloses(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	d, err := esignd.New(daemonConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	if d.NATSURL() != "" || d.PublicURL() != "" || d.AdminURL() != "" {
		t.Errorf("before Start: got %q, %q, %q", d.NATSURL(), d.PublicURL(), d.AdminURL())
	}
	if err := d.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := goleak.Find(ignore); err != nil {
		t.Error(err)
	}
}

func TestDaemonStartsAnswersAndCloses(t *testing.T) {
	cfg := daemonConfig(t)
	cfg.Clients, cfg.Plugins.Dir = []esignd.Client{robot(t)}, pluginDir(t)
	ignore := goleak.IgnoreCurrent()
	for range 2 { // on the same data_dir
		d, err := esignd.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := d.Start(ctx); err != nil {
			t.Fatal(err)
		}
		askToken(t, d)
		if err := d.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		if d.NATSURL() != "" {
			t.Errorf("after Close: got %q", d.NATSURL())
		}
	}
	if err := goleak.Find(ignore); err != nil {
		t.Error(err)
	}
}

// ownWrapper is a program's own way to wrap the keyset.
type ownWrapper struct{ asked atomic.Int32 }

func (w *ownWrapper) EncryptWithContext(_ context.Context, plain, _ []byte) ([]byte, error) {
	w.asked.Add(1)
	return mirrored(plain), nil
}

func (w *ownWrapper) DecryptWithContext(_ context.Context, wrapped, _ []byte) ([]byte, error) {
	w.asked.Add(1)
	return mirrored(wrapped), nil
}

func mirrored(b []byte) []byte {
	b = slices.Clone(b)
	slices.Reverse(b)
	return b
}

func TestEmbedderWrapsTheKeysetItself(t *testing.T) {
	cfg, own := daemonConfig(t), &ownWrapper{}
	cfg.Keys.Wrapper = own
	for range 2 { // on the same data_dir
		before := own.asked.Load()
		d, err := esignd.New(cfg)
		if err == nil {
			err = d.Start(t.Context())
		}
		if err == nil {
			err = d.Close(t.Context())
		}
		if err != nil || own.asked.Load() == before {
			t.Fatalf("it was asked %d times, %d of them before: %v", own.asked.Load(), before, err)
		}
	}
	text, err := os.ReadFile(filepath.Join(cfg.DataDir, "keyset.json"))
	if err != nil || !strings.Contains(string(text), "encryptedKeyset") {
		t.Errorf("the keyset is %s: %v", text, err)
	}
}

func askToken(t *testing.T, d *esignd.Daemon) {
	t.Helper()
	cl, closeConn, err := client.Dial(t.Context(), client.DialConfig{URL: d.NATSURL(), Tenant: "default"})
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn()
	tok, err := cl.Token(t.Context(), client.Selector{Client: "robot"})
	if err != nil || tok.AccessToken.IsZero() {
		t.Fatalf("token: %v", err)
	}
}

func TestStartThatFailsLeavesNothingAndSaysWhy(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	client := robot(t)
	for name, c := range map[string]struct {
		spoil func(*esignd.Config)
		want  string
	}{
		"busy NATS port":   {func(c *esignd.Config) { c.NATS.Listen = taken.Addr().String() }, "nats.listen"},
		"busy admin port":  {func(c *esignd.Config) { c.HTTP.Admin = taken.Addr().String() }, "http.admin: cannot listen on "},
		"no plugin":        {func(c *esignd.Config) { c.Clients = []esignd.Client{client} }, `there is no plugin for vendor "esignglobal": expected the file `},
		"no plugin folder": {func(c *esignd.Config) { c.Plugins.Dir = "/nonexistent" }, `look for plugins (plugins.dir): `},
		"wrong setting": {func(c *esignd.Config) {
			c.Plugins.Dir, c.Clients = pluginDir(t), []esignd.Client{client}
			c.Clients[0].Settings = map[string]string{"api_ur": "x"}
		}, "configuration:\n  clients[0].settings.api_ur: there is no such setting; did you mean api_url?"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := daemonConfig(t)
			c.spoil(&cfg)
			ignore := goleak.IgnoreCurrent()
			d, err := esignd.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			err = d.Start(t.Context())
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "fx") {
				t.Errorf("got\n%v\nwant\n%s…", err, c.want)
			}
			if err := goleak.Find(ignore); err != nil {
				t.Error(err)
			}
			if err := d.Close(t.Context()); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

func TestModuleGivesItsEngineToAnFxProgram(t *testing.T) {
	cfg := daemonConfig(t)
	cfg.Clients, cfg.Plugins.Dir = []esignd.Client{robot(t)}, pluginDir(t)
	ignore := goleak.IgnoreCurrent()
	var engine *core.Manager
	own := slog.New(slog.DiscardHandler)
	app := fxtest.New(t, fx.NopLogger, fx.Supply(cfg), esignd.Module, fx.Populate(&engine),
		fx.Provide(func() *slog.Logger { return own }), // the program has a logger too
		fx.Invoke(func(log *slog.Logger) {
			if log != own {
				t.Error("the program gets another logger than its own")
			}
		}))
	app.RequireStart()
	tok, err := engine.Token(t.Context(), core.Selector{Tenant: "default", Client: "robot"}, core.DefaultMinTTL)
	if err != nil || tok.AccessToken.IsZero() {
		t.Errorf("token: %v", err)
	}
	app.RequireStop()
	if err := goleak.Find(ignore); err != nil {
		t.Error(err)
	}
}

func TestTwoDaemonsInOneProcess(t *testing.T) {
	clients, dir := []esignd.Client{robot(t), robot(t)}, pluginDir(t)
	ignore := goleak.IgnoreCurrent()
	tracers, meters, words := otel.GetTracerProvider(), otel.GetMeterProvider(), otel.GetTextMapPropagator()
	var told [2]atomic.Int32
	var daemons [2]*esignd.Daemon
	for i := range daemons {
		cfg := daemonConfig(t)
		cfg.Clients, cfg.Plugins.Dir = clients[i:i+1], dir
		cfg.Hooks.Transition = func(context.Context, core.Transition) { told[i].Add(1) }
		d, err := esignd.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		daemons[i] = d
	}
	askToken(t, daemons[0])
	if err := daemons[0].Close(t.Context()); err != nil {
		t.Error(err)
	}
	askToken(t, daemons[1])
	local, err := client.NewLocal(daemons[1].Manager(), "default")
	if err != nil {
		t.Fatal(err)
	}
	if tok, err := local.Token(t.Context(), client.Selector{Client: "robot"}); err != nil || tok.Generation != 1 {
		t.Errorf("in process: generation %d, %v", tok.Generation, err)
	}
	metrics, err := http.Get(daemons[1].AdminURL() + "/metrics")
	if err != nil || metrics.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", metrics, err)
	}
	if text, err := io.ReadAll(metrics.Body); err != nil || strings.Count(string(text), "# TYPE esignd_grant_count") != 1 {
		t.Errorf("the metrics of the second daemon, %v:\n%s", err, text)
	}
	_ = metrics.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	for range 2 { // Close may come again
		if err := daemons[1].Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if a, b := told[0].Load(), told[1].Load(); a != 2 || b != 2 { // pending, active
		t.Errorf("the hooks were told of %d and %d transitions, want 2 each", a, b)
	}
	if otel.GetTracerProvider() != tracers || otel.GetMeterProvider() != meters || !reflect.DeepEqual(otel.GetTextMapPropagator(), words) {
		t.Error("the program's OpenTelemetry globals were changed")
	}
	if err := goleak.Find(ignore); err != nil {
		t.Error(err)
	}
}

// unfinished are what the NATS server leaves behind of a stream that was being made as it was ended.
func unfinished() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"),
	}
}

func TestStartWhoseTimeIsOverLeavesNothing(t *testing.T) {
	cfg := daemonConfig(t)
	cfg.Clients, cfg.Plugins.Dir = []esignd.Client{robot(t)}, pluginDir(t)
	ignore := goleak.IgnoreCurrent()
	// The start is ended while one part after the other starts.
	for within := time.Duration(0); ; within = within*3/2 + 5*time.Millisecond {
		d, err := esignd.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), within)
		err = d.Start(ctx)
		cancel()
		if err == nil {
			if err := d.Close(t.Context()); err != nil {
				t.Error(err)
			}
			break
		}
		if !errors.Is(err, context.DeadlineExceeded) && core.AsVendorError(err).Code != core.CodeTimeout { // of a call to a plugin
			t.Errorf("after %s: %v", within, err)
		}
		if err := goleak.Find(append(unfinished(), ignore)...); err != nil {
			t.Fatalf("after %s: %v", within, err)
		}
		if err := d.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "make another") {
			t.Errorf("a second start: %v", err)
		}
	}
}
