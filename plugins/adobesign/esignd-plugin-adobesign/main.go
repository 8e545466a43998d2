// Command esignd-plugin-adobesign is the plugin for Adobe Acrobat Sign. esignd starts it; see `plugin-host describe`.
package main

import (
	"github.com/esignd/esignd/plugins/adobesign"
	"github.com/esignd/esignd/plugins/sdk"
)

func main() { sdk.Serve(adobesign.New(adobesign.Config{})) }
