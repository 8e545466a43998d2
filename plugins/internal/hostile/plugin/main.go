// Command plugin is the plugin that attacks as the vendor's name in its own file's name says.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/esignd/esignd/plugins/internal/hostile"
	"github.com/esignd/esignd/plugins/internal/wire"
)

func main() {
	vendor, _ := strings.CutPrefix(filepath.Base(os.Args[0]), wire.FilePrefix)
	if !hostile.Serve(vendor) {
		fmt.Fprintf(os.Stderr, "there is no attack %q\n", vendor)
		os.Exit(1)
	}
}
