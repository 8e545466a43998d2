// Command esignd-plugin-generic is the plugin for OAuth servers that settings alone describe. esignd starts it; see
// `plugin-host describe`.
package main

import (
	"github.com/esignd/esignd/plugins/generic"
	"github.com/esignd/esignd/plugins/sdk"
)

func main() { sdk.Serve(generic.New(generic.Config{})) }
