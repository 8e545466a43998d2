package esignglobal_test

import (
	"testing"

	"github.com/esignd/esignd/plugins/esignglobal/sandbox"
	at "github.com/esignd/esignd/plugins/sdk/authserver/authservertest"
	"github.com/esignd/esignd/plugins/sdk/plugintest"
	"github.com/esignd/esignd/tests/scratch"
)

// The vendor does not say whether it rotates refresh tokens, so the adapter has to bear both.
func TestConformance(t *testing.T) {
	scratch.BuildsAsMake(t)
	t.Run("rotating", func(t *testing.T) {
		t.Parallel()
		conform(t, sandbox.Config{Rotate: true})
	})
	t.Run("not rotating", func(t *testing.T) {
		t.Parallel()
		conform(t, sandbox.Config{})
	})
}

func conform(t *testing.T, cfg sandbox.Config) {
	t.Helper()
	server := at.Run(sandbox.New(cfg))(t)
	id, secret := server.Client()
	plugintest.Run(t, plugintest.Config{
		Package: "./esignd-plugin-esignglobal",
		Sandbox: plugintest.Sandbox{
			ClientID: id, ClientSecret: secret, Settings: server.Settings(),
			Scopes: []string{"signature", "stamp"}, Probe: "/esignglobal/v1/envelope/envelopeDetail?envelopeId=1",
		},
	})
}
