package main

import (
	"testing"

	"github.com/alecthomas/kong"

	"github.com/esignd/esignd/tests/page"
)

// TestReferenceOfTheCommandLine keeps docs/cli.md in step with the commands.
func TestReferenceOfTheCommandLine(t *testing.T) {
	text, err := page.CommandReference(&cli{}, kong.Name("plugin-host"))
	if err != nil {
		t.Fatal(err)
	}
	page.Generated(t, "../../docs/cli.md", "plugin-host", text)
}
