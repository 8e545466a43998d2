// Command esignd-plugin-dropboxsign is the plugin for Dropbox Sign. esignd starts it; see `plugin-host describe`.
package main

import (
	"github.com/esignd/esignd/plugins/dropboxsign"
	"github.com/esignd/esignd/plugins/sdk"
)

func main() { sdk.Serve(dropboxsign.New(dropboxsign.Config{})) }
