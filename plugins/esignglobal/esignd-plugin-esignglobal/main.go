// Command esignd-plugin-esignglobal is the plugin for eSignGlobal. esignd starts it; see `plugin-host describe`.
package main

import (
	"github.com/esignd/esignd/plugins/esignglobal"
	"github.com/esignd/esignd/plugins/sdk"
)

func main() { sdk.Serve(esignglobal.New(esignglobal.Config{})) }
