// Command esignd-plugin-docusign is the plugin for DocuSign. esignd starts it; see `plugin-host describe`.
package main

import (
	docusign "github.com/esignd/esignd/examples/vendor-docusign"
	"github.com/esignd/esignd/plugins/sdk"
)

func main() { sdk.Serve(docusign.New(docusign.Config{})) }
