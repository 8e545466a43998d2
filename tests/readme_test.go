package tests

import (
	"context"
	"errors"
	"net/http"
	"os"
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/fx"

	"github.com/esignd/esignd"
	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/dropboxsign"
)

// The functions below hold the Go of README.md, so that the compiler reads it. A test in tests/site keeps the two alike.

var _ = []any{readmeAsk, readmeDaemon, readmeModule}

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

func TestReadmesEngineIsMade(t *testing.T) {
	if _, err := readmeEngine("id", "secret"); err != nil {
		t.Error(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
