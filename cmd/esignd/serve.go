package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/esignd/esignd"
	"github.com/esignd/esignd/plugins/host"
)

// How long a start and an orderly stop may take.
const (
	startWithin = 60 * time.Second
	stopWithin  = 30 * time.Second
)

type serveCommand struct {
	Config string `required:"" type:"existingfile" placeholder:"FILE" help:"The configuration."`
}

func (c serveCommand) Run(ctx context.Context) error {
	cfg, err := esignd.LoadConfig(c.Config, os.Environ())
	if err != nil {
		return err
	}
	// Before the start, since the signal ends a process that does not take it.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	return runDaemon(ctx, cfg, func(ctx context.Context, d *esignd.Daemon) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-hup:
				c.reload(ctx, d)
			}
		}
	})
}

// reload reads the configuration again. What is wrong with it is told, and the daemon goes on with what it has.
func (c serveCommand) reload(ctx context.Context, d *esignd.Daemon) {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	log := d.Logger().With("config", c.Config)
	cfg, err := esignd.LoadConfig(c.Config, os.Environ())
	if err != nil {
		log.ErrorContext(ctx, "the configuration was not read again; esignd goes on with the one that it has", "error", err)
		return
	}
	restart, err := d.Reload(ctx, cfg)
	if err != nil {
		log.ErrorContext(ctx, "the configuration was not taken; esignd goes on with the one that it has", "error", err)
		return
	}
	if len(restart) > 0 {
		log.WarnContext(ctx, "other settings than nats.auth.services changed as well; restart esignd for them", "settings", restart)
	}
	log.InfoContext(ctx, "the configuration was read again", "services", len(cfg.NATS.Services))
}

// runDaemon runs a daemon until ready returns, which is called once tokens can be asked for.
func runDaemon(ctx context.Context, cfg esignd.Config, ready func(context.Context, *esignd.Daemon) error) error {
	cfg.OwnsProcess = true
	if p := newProcessors(); p != nil && cfg.NATS.URL == "" {
		cfg.Hooks.Transition = p.changed
		defer p.end()
	}
	d, err := esignd.New(cfg)
	if err != nil {
		return err
	}
	if err := boundMemory(); err != nil {
		d.Logger().WarnContext(ctx, "how much memory esignd may take could not be read; it goes on as if all were its own, unless GOMEMLIMIT is set", "error", err)
	}
	held, heldForStart := holdReserve(reserve), holdReserve(startReserve)
	defer runtime.KeepAlive(held)
	starting, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	if err := d.Start(starting); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	runtime.KeepAlive(heldForStart)
	d.Logger().InfoContext(ctx, "esignd is ready", "nats", d.NATSURL(), "public", d.PublicURL(), "admin", d.AdminURL(), "version", esignd.Version)
	debug.FreeOSMemory() // heldForStart is garbage now, and nothing else would collect what the start left for a long time
	err = ready(ctx, d)
	// The signal has ended ctx; stopping has a time of its own.
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	return errors.Join(err, d.Close(stopping))
}

type checkCommand struct {
	Config string `required:"" type:"existingfile" placeholder:"FILE" help:"The configuration."`
}

// Run starts the plugins, asks them what they are, and stops them. It touches neither data_dir nor NATS nor a vendor.
func (c checkCommand) Run(ctx context.Context, s streams) (err error) {
	cfg, err := esignd.LoadConfig(c.Config, os.Environ())
	if err != nil {
		return err
	}
	warnings, err := cfg.CheckTLS()
	if err != nil {
		return fmt.Errorf("configuration %s:\n%w", c.Config, err)
	}
	for _, w := range warnings {
		_, _ = fmt.Fprintln(s.err, "warning:", w)
	}
	// The parts check what is theirs when they are made.
	d, err := esignd.New(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close(context.WithoutCancel(ctx))) }()
	set, err := host.NewSet(host.SetConfig{
		Dir: cfg.Plugins.Dir, SHA256: cfg.Plugins.SHA256, Vendors: cfg.Vendors(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	if err := set.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close(ctx)) }()
	if err := cfg.CheckSettings(ctx, set); err != nil {
		return fmt.Errorf("configuration %s:\n%w", c.Config, err)
	}
	_, err = fmt.Fprintf(s.out, "%s is in order\n", c.Config)
	for _, cl := range cfg.Clients {
		_, _ = fmt.Fprintf(s.out, "  client %s: vendor %s, %s, tenants %s\n", cl.Name, cl.Vendor, cl.GrantType, strings.Join(cl.Tenants, ", "))
	}
	return err
}
