package site

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/esignd/esignd"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/adobesign"
	"github.com/esignd/esignd/plugins/dropboxsign"
	"github.com/esignd/esignd/plugins/esignglobal"
	"github.com/esignd/esignd/plugins/generic"
	"github.com/esignd/esignd/tests/page"
	"github.com/esignd/esignd/tests/system"
)

var (
	variables = regexp.MustCompile(`\{env: ([A-Z_]+)\}`)
	files     = regexp.MustCompile(`\{file: [^}]+\}`)
	topLevel  = regexp.MustCompile(`(?m)^([a-z_]+):`)
)

// whole is the configuration of block i: one that begins with a space goes on with the configuration above.
func whole(p page.Page, i int) string {
	text := p.Blocks[i].Text
	for i--; i >= 0 && strings.HasPrefix(text, " "); i-- {
		if p.Blocks[i].Kind == "yaml" {
			text = p.Blocks[i].Text + text
		}
	}
	return text
}

// checkYAML loads a configuration as `esignd check` does, with secrets of its own, and what a whole one needs beside what a page
// shows. It asks the adapters about the settings of the vendors.
func checkYAML(t *testing.T, text string) error {
	t.Helper()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(system.WrapKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var environ []string
	for _, m := range variables.FindAllStringSubmatch(text, -1) {
		environ = append(environ, m[1]+"="+system.WrapKey)
	}
	text = files.ReplaceAllString(text, fmt.Sprintf("{file: %q}", secret))
	has := map[string]bool{}
	for _, m := range topLevel.FindAllStringSubmatch(text, -1) {
		has[m[1]] = true
	}
	if !has["data_dir"] {
		text = "data_dir: /var/lib/esignd\n" + text
	}
	if !has["nats"] {
		text = "nats: {auth: none}\n" + text
	}
	file := filepath.Join(dir, "esignd.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := esignd.LoadConfig(file, environ)
	if err != nil {
		return err
	}
	return cfg.CheckSettings(t.Context(), core.AdapterMap{
		"adobesign": adobesign.New(adobesign.Config{}), "dropboxsign": dropboxsign.New(dropboxsign.Config{}),
		"esignglobal": esignglobal.New(esignglobal.Config{}), "generic": generic.New(generic.Config{}),
	})
}
