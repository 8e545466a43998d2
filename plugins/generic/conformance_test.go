package generic_test

import (
	"testing"

	"github.com/esignd/esignd/plugins/generic/sandbox"
	at "github.com/esignd/esignd/plugins/sdk/authserver/authservertest"
	"github.com/esignd/esignd/plugins/sdk/plugintest"
	"github.com/esignd/esignd/tests/scratch"
)

// With its endpoints looked up, and with each of them set.
func TestConformance(t *testing.T) {
	scratch.BuildsAsMake(t)
	server := at.Run(sandbox.New(sandbox.Config{}))(t)
	id, secret := server.Client()
	for name, settings := range map[string]map[string]string{"set": server.Settings(), "looked up": server.Discovered()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plugintest.Run(t, plugintest.Config{
				Package: "./esignd-plugin-generic",
				Sandbox: plugintest.Sandbox{ClientID: id, ClientSecret: secret, Settings: settings, Scopes: []string{"sign"}, Probe: "/me"},
			})
		})
	}
}
