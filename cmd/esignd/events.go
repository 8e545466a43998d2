package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
)

type eventsCommand struct {
	target
	Since time.Duration `placeholder:"DURATION" help:"Begin this far back, such as 24h; events are kept seven days."`
	Type  []string      `placeholder:"TYPE" help:"Only these types, such as token.issued,token.revoked."`
}

func (c eventsCommand) Run(ctx context.Context, s streams) error {
	return c.ask(ctx, func(cl *client.Client) error {
		_, _ = fmt.Fprintf(s.err, "events of tenant %s; Ctrl-C stops\n", cl.Tenant())
		cfg := client.WatchConfig{}
		for _, t := range c.Type {
			cfg.Types = append(cfg.Types, client.EventType(t))
		}
		if c.Since > 0 {
			cfg.Since = time.Now().Add(-c.Since)
		}
		err := cl.Watch(ctx, cfg, func(e client.Event) error {
			if c.JSON {
				_, _, body, err := wire.EncodeEvent(c.Prefix, e)
				if err == nil {
					_, err = fmt.Fprintf(s.out, "%s\n", body)
				}
				return err
			}
			return printEvent(s.out, e)
		})
		if ctx.Err() != nil {
			return nil
		}
		return err
	})
}

// printEvent writes an event in a line.
func printEvent(w io.Writer, e client.Event) error {
	reason := e.Reason
	if e.VendorRevoked != nil {
		reason += fmt.Sprintf(" vendor_revoked=%v", *e.VendorRevoked)
	}
	_, err := fmt.Fprintf(w, "%s  %-30s %-12s %-28s generation %-3d %s\n", e.Time.Local().Format(time.TimeOnly), e.Type, e.Vendor, orDash(e.Account), e.Generation, reason)
	return err
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
