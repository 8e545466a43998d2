// Package robot is what the examples of embedding ask tokens for: a client at eSignGlobal's sandbox, whose tokens live
// three seconds, so that one sees them being refreshed.
package robot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/esignd/esignd"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/esignglobal"
	"github.com/esignd/esignd/plugins/esignglobal/sandbox"
	"github.com/esignd/esignd/plugins/sdk"
)

const plugin = "esignd-plugin-esignglobal"

// Serve makes the program a plugin where it was started as one, and reports that: so a program that embeds esignd is one
// file. It is the first that main calls.
func Serve() bool {
	if filepath.Base(os.Args[0]) != plugin {
		return false
	}
	sdk.Serve(esignglobal.New(esignglobal.Config{}))
	return true
}

// Config returns a daemon's configuration in a folder, with the client "robot" of the tenant "default", and the end of its
// sandbox.
func Config(dir string) (cfg esignd.Config, stop func() error, err error) {
	plugins := filepath.Join(dir, "plugins")
	exe, err := os.Executable()
	if err == nil {
		err = errors.Join(os.MkdirAll(plugins, 0o700), os.Symlink(exe, filepath.Join(plugins, plugin)))
	}
	if err != nil {
		return cfg, nil, fmt.Errorf("put the plugin into its folder: %w", err)
	}
	box, err := sandbox.New(sandbox.Config{AccessLifetime: 3 * time.Second})
	if err != nil {
		return cfg, nil, err
	}
	if err := box.Start(); err != nil {
		return cfg, nil, err
	}
	id, secret := box.Client()
	return esignd.Config{
		DataDir: filepath.Join(dir, "data"),
		NATS:    esignd.NATS{Auth: esignd.AuthNone, Listen: "127.0.0.1:0"},
		HTTP:    esignd.HTTP{Listen: "127.0.0.1:0", Admin: "127.0.0.1:0"},
		Plugins: esignd.Plugins{Dir: plugins},
		Clients: []esignd.Client{{
			Name: "robot", Vendor: "esignglobal", GrantType: core.ClientCredentials,
			ClientID: id, ClientSecret: core.NewSecret(secret), Settings: box.Settings(),
		}},
		Log: esignd.Log{Level: "error"},
	}, box.Close, nil
}
