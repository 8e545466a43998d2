package adobesign_test

import (
	"testing"

	"github.com/esignd/esignd/plugins/adobesign/sandbox"
	at "github.com/esignd/esignd/plugins/sdk/authserver/authservertest"
	"github.com/esignd/esignd/plugins/sdk/plugintest"
	"github.com/esignd/esignd/tests/scratch"
)

func TestConformance(t *testing.T) {
	scratch.BuildsAsMake(t)
	server := at.Run(sandbox.New(sandbox.Config{}))(t)
	id, secret := server.Client()
	plugintest.Run(t, plugintest.Config{
		Package: "./esignd-plugin-adobesign",
		Sandbox: plugintest.Sandbox{
			ClientID: id, ClientSecret: secret, Settings: server.Settings(),
			Scopes: []string{"user_login:self", "agreement_send:account"}, Probe: "/api/rest/v6/users/me",
		},
	})
}
