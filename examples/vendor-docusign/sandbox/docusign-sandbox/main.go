// Command docusign-sandbox serves DocuSign's sandbox on the loopback until it is interrupted. The first thing that it
// prints is one JSON document of where it is and how a client gets there, as `plugin-host sandbox --json` prints it, so
// that `plugin-host conformance` can start it. The secrets in it are worth nothing anywhere else.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/esignd/esignd/examples/vendor-docusign/sandbox"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "docusign-sandbox:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var cfg sandbox.Config
	flags := flag.NewFlagSet("docusign-sandbox", flag.ExitOnError)
	flags.StringVar(&cfg.Listen, "listen", "127.0.0.1:0", "where it listens, on the loopback")
	flags.DurationVar(&cfg.AccessLifetime, "access-lifetime", 0, "how long access tokens live; 0 is the vendor's 8 hours")
	flags.StringVar(&cfg.StateFile, "state", "", "keep grants and tokens in this file from one start to the next")
	if err := flags.Parse(args); err != nil {
		return err
	}
	server, err := sandbox.New(cfg)
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	if err := describe(out, server); err != nil {
		_ = server.Close() // what it says is nothing beside the error
		return err
	}
	<-ctx.Done()
	return server.Close()
}

func describe(out io.Writer, server *sandbox.Server) error {
	id, secret := server.Client()
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(map[string]any{
		"vendor": "docusign", "url": server.URL(), "client_id": id, "client_secret": secret,
		"settings": server.Settings(), "scopes": []string{"signature", "extended"},
		"probe": "/v2.1/accounts/" + sandbox.AccountID(sandbox.Person),
	})
}
