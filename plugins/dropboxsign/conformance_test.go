package dropboxsign_test

import (
	"testing"

	"github.com/esignd/esignd/plugins/dropboxsign/sandbox"
	at "github.com/esignd/esignd/plugins/sdk/authserver/authservertest"
	"github.com/esignd/esignd/plugins/sdk/plugintest"
	"github.com/esignd/esignd/tests/scratch"
)

func TestConformance(t *testing.T) {
	scratch.BuildsAsMake(t)
	server := at.Run(sandbox.New(sandbox.Config{}))(t)
	id, secret := server.Client()
	plugintest.Run(t, plugintest.Config{
		Package: "./esignd-plugin-dropboxsign",
		Sandbox: plugintest.Sandbox{
			ClientID: id, ClientSecret: secret, Settings: server.Settings(),
			SecretSettings: map[string]string{"api_key": server.APIKey()}, Probe: "/v3/account",
		},
	})
}
