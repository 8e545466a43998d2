package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/esignd/esignd"
)

type growCommand struct {
	Config string        `required:"" type:"existingfile" placeholder:"FILE" help:"The configuration of the daemon with the embedded server, which is stopped."`
	To     string        `required:"" type:"existingfile" placeholder:"FILE" help:"The configuration that it gets: with nats.url, and the same keyset."`
	Leaf   string        `required:"" placeholder:"URL" help:"Where the NATS cluster takes leaf nodes, such as nats://host:7422."`
	Within time.Duration `default:"10m" help:"When to give up. Run again, it goes on where it was stopped."`
}

// Run moves the records and says what is to be done next.
func (c growCommand) Run(ctx context.Context, s streams) error {
	from, err := esignd.LoadStoreConfig(c.Config, os.Environ())
	if err != nil {
		return err
	}
	to, err := esignd.LoadStoreConfig(c.To, os.Environ())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Within)
	defer cancel()
	if err := esignd.Grow(ctx, from, to, c.Leaf, quietLog(s), func(step string) { _, _ = fmt.Fprintln(s.out, step) }); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "Start esignd with %s, as many as there are to be.\n", c.To)
	return err
}
