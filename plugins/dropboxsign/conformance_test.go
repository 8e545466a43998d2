package dropboxsign_test

import (
	"testing"

	"github.com/esignd/esignd/plugins/dropboxsign/sandbox"
	"github.com/esignd/esignd/plugins/sdk/plugintest"
)

func TestConformance(t *testing.T) {
	server, err := sandbox.New(sandbox.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	id, secret := server.Client()
	plugintest.Run(t, plugintest.Config{
		Package: "./esignd-plugin-dropboxsign",
		Sandbox: plugintest.Sandbox{
			ClientID: id, ClientSecret: secret, Settings: server.Settings(),
			SecretSettings: map[string]string{"api_key": server.APIKey()}, Probe: "/v3/account",
		},
	})
}
