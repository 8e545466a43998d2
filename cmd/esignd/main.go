// Command esignd keeps OAuth tokens of e-signature vendors alive and hands them out over NATS.
//
// serve runs the daemon, dev the whole system on one machine with sandbox vendors, and the other commands ask a
// daemon that runs. It guarantees nothing of its own: package esignd is the daemon.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/esignd/esignd"
	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
)

// cli is the command line.
type cli struct {
	Serve   serveCommand   `cmd:"" help:"Run the daemon."`
	Check   checkCommand   `cmd:"" help:"Check a configuration, its secrets, plugins and vendor settings, and say what is wrong."`
	Dev     devCommand     `cmd:"" help:"Run the whole system on this machine, with sandbox vendors."`
	Connect connectCommand `cmd:"" help:"Print the URL at which an account's owner connects it."`
	Token   tokenCommands  `cmd:"" help:"Get, refresh or revoke a token."`
	Grants  grantsCommands `cmd:"" help:"List, show, import or forget grants."`
	Events  eventsCommand  `cmd:"" help:"Follow the events of a tenant."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

// streams are what a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr})
	stop()
	os.Exit(code)
}

// run runs one command line and returns the exit status.
func run(ctx context.Context, args []string, s streams) int {
	var c cli
	exit := -1
	parser, err := kong.New(&c, kong.Name("esignd"), kong.Description("Keeps OAuth tokens of e-signature vendors alive."),
		kong.Writers(s.out, s.err), kong.Exit(func(code int) { exit = code }), kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(s))
	if err != nil {
		_, _ = fmt.Fprintln(s.err, "esignd:", err)
		return exitUsage
	}
	parsed, err := parser.Parse(args)
	if exit >= 0 {
		return exit // help was shown
	}
	if err != nil {
		_, _ = fmt.Fprintf(s.err, "esignd: %v; see esignd --help\n", err)
		return exitUsage
	}
	if err := parsed.Run(); err != nil {
		_, _ = fmt.Fprintln(s.err, "esignd:", describe(err))
		return exitFailed
	}
	return 0
}

// describe writes an error with what to do next, where the daemon said so.
func describe(err error) string {
	text := err.Error()
	var e *core.Error
	if !errors.As(err, &e) {
		return text
	}
	if e.Reason == client.ReasonNoResponders {
		return "no esignd answers for this tenant at this NATS server; is it running, with this prefix?"
	}
	if e.Reason != "" {
		text += " (" + e.Reason + ")"
	}
	if e.RetryAfter > 0 {
		text += fmt.Sprintf("\n  ask again in %s", e.RetryAfter)
	}
	if e.ConnectURL != "" {
		text += "\n  connect at " + e.ConnectURL
	}
	return text
}

type versionCommand struct{}

func (versionCommand) Run(s streams) error {
	_, err := fmt.Fprintln(s.out, "esignd", esignd.Version)
	return err
}
