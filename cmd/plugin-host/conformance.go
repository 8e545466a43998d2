package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"time"

	"github.com/esignd/esignd/plugins/sdk/plugintest"
)

// conformanceCommand is `plugin-host conformance`.
type conformanceCommand struct {
	pluginFlags
	Sandbox  string        `required:"" help:"The vendor's authorization server: adobesign, dropboxsign or esignglobal; a program to start; or a .json file, or @FILE, about one that runs."`
	Only     string        `name:"run" placeholder:"REGEXP" help:"Only the checks whose names match."`
	Deadline time.Duration `default:"1500ms" help:"How long a call may take whose answer hangs."`
	JSON     bool          `name:"json" help:"Print the report as JSON."`
}

// Help implements kong.HelpProvider.
func (conformanceCommand) Help() string {
	return `It runs the plugin against a sandbox and says, check by check, what esignd could not rely on, and what to fix. The
exit status is 1 where a check fails.

A sandbox of your own is a program that prints one JSON document as "plugin-host sandbox --json" does and then serves,
on the loopback, until it is interrupted. The same document in a .json file, or in any other given as @FILE, is about one
that runs already:

    {"url": "http://127.0.0.1:9000", "client_id": "…", "client_secret": "…",
     "settings": {"url": "http://127.0.0.1:9000"}, "secret_settings": {},
     "redirect_uri": "http://127.0.0.1:9/callback", "scopes": ["…"], "probe": "/api/me"}

The settings are those of a client of this plugin. "probe" is what an API call with a live access token answers with a
2xx. A consent page has a form with one button whose value is accept, and one whose value is deny.

From a Go test, plugins/sdk/plugintest runs the same checks.`
}

// Run prints a line for each check as it ends, or the report as JSON.
func (c conformanceCommand) Run(ctx context.Context, s streams) error {
	cfg := plugintest.Config{Binary: c.Binary, Vendor: c.Vendor, Deadline: c.Deadline, Timeout: c.Timeout}
	if s.logger.Enabled(ctx, slog.LevelDebug) {
		cfg.Logger = s.logger // else a report of failures would stand between the plugin's own
	}
	if c.Only != "" {
		var err error
		if cfg.Only, err = regexp.Compile(c.Only); err != nil {
			return fmt.Errorf("read --run: %w", err)
		}
	}
	sandbox, err := openSandbox(ctx, c.Sandbox, s.stderr)
	if err != nil {
		return err
	}
	cfg.Sandbox = sandbox.description
	report, err := c.examine(ctx, cfg, s.stdout)
	if closeErr := sandbox.close(); err == nil {
		err = closeErr
	}
	if err == nil && report.Failed() {
		err = errReported
	}
	return err
}

func (c conformanceCommand) examine(ctx context.Context, cfg plugintest.Config, w io.Writer) (plugintest.Report, error) {
	if c.JSON {
		report, err := plugintest.Examine(ctx, cfg, nil)
		if err == nil {
			err = printJSON(w, report)
		}
		return report, err
	}
	report, err := plugintest.Examine(ctx, cfg, func(r plugintest.Result) {
		_, _ = r.WriteTo(w) // the summary tells of a writer that fails
	})
	if err != nil {
		return report, err
	}
	_, err = fmt.Fprintln(w, report.Summary())
	return report, err
}
