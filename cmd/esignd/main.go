// Command esignd keeps OAuth tokens of e-signature vendors alive and hands them out over NATS.
//
// serve runs the daemon, dev the whole system on one machine with sandbox vendors, backup and restore keep its records,
// and the other commands ask a daemon that runs. It guarantees nothing of its own: package esignd is the daemon.
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
	"github.com/esignd/esignd/plugins/host"
)

// cli is the command line.
type cli struct {
	Serve       serveCommand       `cmd:"" help:"Run the daemon."`
	Check       checkCommand       `cmd:"" help:"Check a configuration, its secrets, plugins and vendor settings, and say what is wrong."`
	Doctor      doctorCommand      `cmd:"" help:"Look at configuration, disk, keys, NATS, plugins, vendors and addresses, and say what to do about each finding."`
	Dev         devCommand         `cmd:"" help:"Run the whole system on this machine, with sandbox vendors."`
	Connect     connectCommand     `cmd:"" help:"Print the URL at which an account's owner connects it."`
	Token       tokenCommands      `cmd:"" help:"Get, refresh or revoke a token."`
	Grants      grantsCommands     `cmd:"" help:"List, show, import or forget grants."`
	Events      eventsCommand      `cmd:"" help:"Follow the events of a tenant."`
	Audit       auditCommands      `cmd:"" help:"Print who asked for which grant, or who got a token, where the audit is on."`
	Console     consoleCommand     `cmd:"" help:"Print a link that opens the console; where that wants a session, it begins one."`
	Keys        keysCommands       `cmd:"" help:"Show, rotate or wrap anew the keys that seal what is stored."`
	Backup      backupCommand      `cmd:"" help:"Write all records to one sealed file, of a daemon that runs or is stopped."`
	Restore     restoreCommand     `cmd:"" help:"Put the records of a backup into a stopped daemon, or an external NATS server."`
	Grow        growCommand        `cmd:"" help:"Move the records of a stopped daemon from its embedded NATS server to a cluster."`
	Creds       credsCommands      `cmd:"" help:"Make what a service proves itself to NATS with."`
	Permissions permissionsCommand `cmd:"" help:"Print what an external nats-server's configuration needs, so that the services of nats.auth may connect."`
	Version     versionCommand     `cmd:"" help:"Print the version."`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version."`
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
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := host.HideMemory(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "esignd: go on without it:", err)
	}
	code := run(ctx, os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr})
	stop()
	os.Exit(code)
}

// run runs one command line and returns the exit status.
func run(ctx context.Context, args []string, s streams) int {
	var c cli
	exit := -1
	parser, err := kong.New(&c, kong.Name("esignd"), kong.Description("Keeps OAuth tokens of e-signature vendors alive."),
		kong.Writers(s.out, s.err), kong.Exit(func(code int) { exit = code }), kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(s),
		kong.Vars{"version": "esignd " + esignd.Version}, kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
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
	err = parsed.Run()
	var a answered
	switch {
	case err == nil:
		return 0
	case errors.As(err, &a):
		_ = a.print(s.err) // there is nobody else to tell
	default:
		_, _ = fmt.Fprintln(s.err, "esignd:", err)
	}
	return exitFailed
}

type versionCommand struct{}

func (versionCommand) Run(s streams) error {
	_, err := fmt.Fprintln(s.out, "esignd", esignd.Version)
	return err
}
