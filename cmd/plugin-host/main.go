// Command plugin-host runs one plugin without esignd: it shows what the plugin declares, calls its methods by hand, and
// runs the sandbox of a vendor. It is for people who write a plugin or look into one.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/esignd/esignd/plugins/host"
)

// cli is the command line.
type cli struct {
	Describe    describeCommand    `cmd:"" help:"Start a plugin and show what it declares."`
	Call        callCommand        `cmd:"" help:"Call one method of a plugin: request as JSON on standard input, answer as JSON on standard output."`
	Conformance conformanceCommand `cmd:"" help:"Check a plugin against its vendor's sandbox, and say what to fix."`
	Sandbox     sandboxCommand     `cmd:"" help:"Run a vendor's sandbox, an authorization server on this machine, until interrupted."`

	Verbose bool `short:"v" help:"Show the plugin's log at debug level on standard error."`
}

// streams are what a command reads and writes.
type streams struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	logger *slog.Logger
}

// errReported ends the program with status 1 when the command itself has said why.
var errReported = errors.New("reported")

const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], streams{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr})
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, s streams) int {
	var c cli
	exit := -1
	parser, err := kong.New(&c,
		kong.Name("plugin-host"),
		kong.Description("Runs one esignd plugin without esignd."),
		kong.Writers(s.stdout, s.stderr),
		kong.Exit(func(code int) { exit = code }),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		_, _ = fmt.Fprintln(s.stderr, "plugin-host:", err)
		return exitFailed
	}
	parsed, err := parser.Parse(args)
	if exit >= 0 { // --help
		return exit
	}
	if err != nil {
		_, _ = fmt.Fprintf(s.stderr, "plugin-host: %v; `plugin-host --help` shows the commands\n", err)
		return exitUsage
	}
	s.logger = newLogger(s.stderr, c.Verbose)
	switch err := parsed.Run(s); {
	case errors.Is(err, errReported):
		return exitFailed
	case err != nil:
		_, _ = fmt.Fprintln(s.stderr, "plugin-host:", err)
		return exitFailed
	}
	return 0
}

func newLogger(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelError
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// pluginFlags choose a plugin.
type pluginFlags struct {
	Binary  string        `arg:"" help:"The plugin's file."`
	Vendor  string        `help:"The vendor, where the file is not called esignd-plugin-<vendor>."`
	Timeout time.Duration `default:"10s" help:"For the start, and for the call."`
}

// start starts the plugin. The caller closes it.
func (f pluginFlags) start(ctx context.Context, s streams) (*host.Plugin, error) {
	vendor := f.Vendor
	if vendor == "" {
		name, ok := strings.CutPrefix(filepath.Base(f.Binary), host.FileName(""))
		if !ok {
			return nil, fmt.Errorf("%s is not called %s<vendor>: say whose plugin it is with --vendor", f.Binary, host.FileName(""))
		}
		vendor = name
	}
	p, err := host.New(host.Config{
		Path: f.Binary, Vendor: vendor, LooseParents: true, Logger: s.logger, Limits: host.Limits{Start: f.Timeout, Call: f.Timeout},
	})
	if err != nil {
		return nil, err
	}
	return p, p.Start(ctx)
}
