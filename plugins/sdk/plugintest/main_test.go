package plugintest_test

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/esignd/esignd/plugins/host"
	"github.com/esignd/esignd/plugins/sdk"
)

// defectKey names the environment variable that says which defect the plugin has. Empty: none.
const defectKey = "PLUGINTEST_DEFECT"

// TestMain makes the test binary the plugin "example" where it is started under that name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != host.FileName("example") {
		goleak.VerifyTestMain(m)
		return
	}
	for _, d := range defects() {
		if d.name == os.Getenv(defectKey) {
			d.serve()
			return
		}
	}
	sdk.Serve(newExample())
}
