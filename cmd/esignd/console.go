package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/esignd/esignd"
)

type consoleCommand struct {
	Config string `required:"" type:"existingfile" placeholder:"FILE" help:"The configuration of the esignd that runs on this machine."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// Run prints the link, alone on standard output, so that it can be handed to a browser; what to know of it is told on
// standard error.
func (c consoleCommand) Run(ctx context.Context, s streams) error {
	dir, err := esignd.LoadDataDir(c.Config, os.Environ())
	if err != nil {
		return err
	}
	link, err := esignd.AskConsoleLink(ctx, dir)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.out, link)
	}
	if _, err := fmt.Fprintln(s.out, link.URL); err != nil || link.ExpiresAt.IsZero() {
		return err
	}
	_, err = fmt.Fprintf(s.err, "This link opens the console once, until %s. Give it to nobody.\n", link.ExpiresAt.Format(time.RFC3339))
	return err
}
