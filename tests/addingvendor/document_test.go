// Package addingvendor follows docs/adding-a-vendor.md word for word, as somebody who has just cloned esignd.
package addingvendor

import (
	"bytes"
	"os"
	"regexp"
	"testing"
)

// TestTheDocumentHasWhatThePluginByHandReads keeps the page and the program that it links to alike.
func TestTheDocumentHasWhatThePluginByHandReads(t *testing.T) {
	page, err := os.ReadFile("../../docs/adding-a-vendor.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("testdata/byhand/main.go")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`"(ESIGND_[A-Z_]+|PLUGIN_[A-Z_]+|[0-9a-f]+-esignd-plugin-adapter|plugin\.[A-Za-z]+)"`).FindAllSubmatch(program, -1)
	if len(names) < 5 {
		t.Errorf("the program reads %q", names)
	}
	for _, name := range names {
		if !bytes.Contains(page, name[1]) {
			t.Errorf("the page does not have %s", name[1])
		}
	}
}
