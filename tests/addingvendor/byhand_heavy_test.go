//go:build heavy

package addingvendor

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/esignd/esignd/tests/page"
)

// TestPluginNeedsNoSDK runs the plugin of testdata/byhand, which has nothing of ours but the protocol: the document says
// that this is enough.
func TestPluginNeedsNoSDK(t *testing.T) {
	r := newReader(t)
	source, err := filepath.Abs("testdata/byhand")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(r.home, "byhand"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ script, shows string }{
		{"cd byhand\ncp " + source + "/main.go .\ncp -r ~/esignd/plugins/internal/wire/pluginv1 .\n", ""},
		// The versions of its modules are esignd's, and so in the module cache.
		{"sed 's|^module .*|module example.com/byhand|' ~/esignd/go.mod > go.mod\ncp ~/esignd/go.sum .\nmkdir bin\n", ""},
		{"go build -mod=mod -o bin/esignd-plugin-byhand .\ngo -C ~/esignd build -o $PWD/bin/ ./cmd/plugin-host\nchmod go-w . bin bin/*\n", ""},
		{"bin/plugin-host describe bin/esignd-plugin-byhand\n", "vendor byhand (By hand)\n…\nrefresh tokens rotate yes\n…"},
		{
			"bin/plugin-host call bin/esignd-plugin-byhand token <<< '{\"grant_type\": \"refresh_token\", \"refresh_token\": \"r\"}' || echo status $?\n",
			"{\n\"error\": {\n\"code\": \"network\",\n\"detail\": \"the vendor is nowhere\",\n\"outcome\": \"not_sent\"\n}\n}\nstatus 1",
		},
		{"echo '{\"client_id\": \"c\"}' > sandbox.json\n", ""},
		{
			"bin/plugin-host conformance bin/esignd-plugin-byhand --sandbox @sandbox.json --run '^(handshake|by-hand|metadata|settings|stop)$'\n",
			"…\nPASS bin/esignd-plugin-byhand: 5 ok, 0 failed, 0 skipped",
		},
	} {
		_, err := r.Do(page.Block{Kind: "sh", Text: step.script})
		if err == nil {
			_, err = r.Do(page.Block{Kind: "text", Text: step.shows})
		}
		if err != nil {
			t.Fatalf("%s%v\n%s", step.script, err, r.Output())
		}
	}
}
