package tests

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/fx"

	"github.com/esignd/esignd"
	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/dropboxsign"
	"github.com/esignd/esignd/plugins/sdk"
)

// The functions below hold the Go of README.md, so that the compiler reads it. TestReadmesGoStandsHere keeps the two alike.

func readmeAsk(ctx context.Context, nc *nats.Conn, req *http.Request, sendToOwner func(string) error, pause func(account, reason string) error) error {
	esign, err := client.New(client.Config{Conn: nc, Tenant: "default"}) // nc is your *nats.Conn
	if err != nil {
		return err
	}
	bob := client.Selector{Client: "dropbox-main", Account: "bob@example.com"}

	token, err := esign.Token(ctx, bob)
	var answer *client.Error
	switch {
	case errors.Is(err, client.ReauthorizationRequired) && errors.As(err, &answer):
		return sendToOwner(answer.ConnectURL)
	case err != nil:
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token.AccessToken.Reveal())

	vendor := &http.Client{Transport: esign.Transport(bob, nil)} // adds the token; on a 401 reports it and tries once more
	source := esign.TokenSource(ctx, bob)                        // for libraries that take an oauth2.TokenSource
	_, _ = vendor, source

	err = esign.Watch(ctx, client.WatchConfig{
		Types:   []client.EventType{client.TokenRevoked, client.GrantReauthorizationRequired},
		Durable: "billing", // go on where we stopped
	}, func(e client.Event) error {
		return pause(e.Account, e.Reason)
	})
	return err
}

func readmeEngine(id, secret string) (*core.Manager, error) {
	engine, err := core.New(core.Config{
		Adapters: core.AdapterMap{"dropboxsign": dropboxsign.New(dropboxsign.Config{})},
		Clients: []core.Client{{
			Name: "dropbox-main", Vendor: "dropboxsign", Tenants: []string{"default"},
			Credentials: core.Credentials{ClientID: id, ClientSecret: core.NewSecret(secret)},
		}},
	})
	return engine, err
}

func readmeDaemon(ctx context.Context) error {
	cfg, err := esignd.LoadConfig("esignd.yaml", os.Environ())
	if err != nil {
		return err
	}
	daemon, err := esignd.New(cfg)
	if err != nil {
		return err
	}
	if err := daemon.Start(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	return daemon.Close(context.WithoutCancel(ctx))
}

func readmeModule(cfg esignd.Config, use func(*core.Manager)) *fx.App {
	app := fx.New(fx.Supply(cfg), esignd.Module, fx.Invoke(func(m *core.Manager) { use(m) }))
	return app
}

func readmePlugin() {
	main := func() { sdk.Serve(dropboxsign.New(dropboxsign.Config{})) }
	_ = main
}

func TestReadmesGoStandsHere(t *testing.T) {
	_, _, _, _ = readmeAsk, readmeDaemon, readmeModule, readmePlugin
	here := strings.ReplaceAll(squeeze(read(t, "readme_test.go")), "main := func()", "func main()")
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(read(t, "../README.md"), -1)
	if len(blocks) == 0 {
		t.Fatal("README.md has no Go")
	}
	for _, b := range blocks {
		if !strings.Contains(here, squeeze(b[1])) {
			t.Errorf("this is in README.md and is not compiled here:\n%s", b[1])
		}
	}
}

func TestReadmesEngineIsMade(t *testing.T) {
	if _, err := readmeEngine("id", "secret"); err != nil {
		t.Error(err)
	}
}

func TestTheConfigurationsInDocumentsLoad(t *testing.T) {
	for path, begin := range map[string]string{
		"../README.md":                   "",
		"../docs/vendors/adobesign.md":   smallest,
		"../docs/vendors/dropboxsign.md": smallest,
		"../docs/vendors/esignglobal.md": smallest,
		"../docs/vendors/generic.md":     smallest,
	} {
		yaml := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(read(t, path))
		if yaml == nil {
			t.Errorf("%s has no configuration", path)
			continue
		}
		file := filepath.Join(t.TempDir(), "esignd.yaml")
		if err := os.WriteFile(file, []byte(begin+yaml[1]), 0o600); err != nil {
			t.Fatal(err)
		}
		environ := []string{"ADOBE_SECRET=s", "DROPBOX_SECRET=s", "DROPBOX_API_KEY=s", "GLOBAL_SECRET=s", "KEYCLOAK_SECRET=s", "ESIGND_KEY=" + strings.Repeat("A", 43) + "="}
		if _, err := esignd.LoadConfig(file, environ); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// smallest is what a configuration needs beside its clients.
const smallest = "data_dir: /var/lib/esignd\nnats: {auth: none}\n"

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// squeeze makes text comparable whatever its indentation.
func squeeze(text string) string { return strings.Join(strings.Fields(text), " ") }
