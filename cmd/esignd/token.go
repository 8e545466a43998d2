package main

import (
	"context"
	"fmt"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
)

type tokenCommands struct {
	Get     tokenGet     `cmd:"" help:"Print a live access token."`
	Refresh tokenRefresh `cmd:"" help:"Refresh now and print the new access token."`
	Revoke  tokenRevoke  `cmd:"" help:"Revoke a grant."`
}

type tokenGet struct {
	target
	selector
	MinTTL *time.Duration `name:"min-ttl" placeholder:"DURATION" help:"How long the token must live on, such as 30s; without it, the smaller of a minute and a sixth of its lifetime."`
}

func (c tokenGet) Run(ctx context.Context, s streams) error {
	return c.connectHint(c.ask(ctx, func(cl *client.Client) error {
		var opts []client.TokenOption
		if c.MinTTL != nil {
			opts = append(opts, client.MinTTL(*c.MinTTL))
		}
		tok, err := cl.Token(ctx, c.wire(), opts...)
		return c.print(s, tok, err)
	}))
}

// print writes the token, and what should be known of it on standard error.
func (t target) print(s streams, tok client.Token, err error) error {
	if err != nil {
		return err
	}
	if t.JSON {
		return printJSON(s.out, wire.TokenOf(tok))
	}
	for _, w := range tok.Warnings {
		if _, err := fmt.Fprintln(s.err, "warning:", w); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(s.out, tok.AccessToken.Reveal())
	return err
}

type tokenRefresh struct {
	target
	selector
}

func (c tokenRefresh) Run(ctx context.Context, s streams) error {
	return c.ask(ctx, func(cl *client.Client) error {
		tok, err := cl.Refresh(ctx, c.wire())
		return c.print(s, tok, err)
	})
}

type tokenRevoke struct {
	target
	selector
	Reason string `placeholder:"TEXT" help:"Why; it goes into the event."`
}

func (c tokenRevoke) Run(ctx context.Context, s streams) error {
	return c.ask(ctx, func(cl *client.Client) error {
		g, err := cl.Revoke(ctx, c.wire(), c.Reason)
		return c.printGrant(s, g, err)
	})
}

type connectCommand struct {
	target
	Client   string   `required:"" placeholder:"NAME" help:"The client's name in the configuration."`
	Account  string   `required:"" placeholder:"NAME" help:"Our name for the account, such as its owner's e-mail address."`
	Scopes   []string `placeholder:"SCOPE" help:"What to ask for; without it, the client's scopes."`
	ReturnTo string   `placeholder:"URL" help:"Where the browser goes in the end; one of http.return_to."`
}

func (c connectCommand) Run(ctx context.Context, s streams) error {
	return c.ask(ctx, func(cl *client.Client) error {
		a, err := cl.Authorize(ctx, client.AuthorizeRequest{Client: c.Client, Account: c.Account, Scopes: c.Scopes, ReturnTo: c.ReturnTo})
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(s.out, wire.AuthorizationOf(a))
		}
		_, err = fmt.Fprintln(s.out, a.ConnectURL)
		return err
	})
}
