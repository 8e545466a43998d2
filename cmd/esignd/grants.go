package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

type grantsCommands struct {
	List   grantsList   `cmd:"" help:"List grants."`
	Show   grantsShow   `cmd:"" help:"Show one grant."`
	Import grantsImport `cmd:"" help:"Take over a grant; its refresh token is read from standard input."`
	Forget grantsForget `cmd:"" help:"Revoke a grant and remove what is known of it."`
}

type grantsList struct {
	target
	Client string `placeholder:"NAME" help:"Only of this client."`
	Vendor string `placeholder:"NAME" help:"Only of this vendor."`
	State  string `placeholder:"STATE" help:"Only in this state: pending, active, awaiting_confirmation, reauthorization_required or revoked."`
}

func (c grantsList) Run(ctx context.Context, s streams) error {
	return c.ask(ctx, func(cl *client.Client) error {
		grants, err := c.all(ctx, cl)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(s.out, wire.GrantPageOf(grants, ""))
		}
		if len(grants) == 0 {
			_, err := fmt.Fprintln(s.err, "there are no such grants; esignd connect, or grants import, makes one")
			return err
		}
		w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(w, "GRANT\tCLIENT\tACCOUNT\tSTATE\tGENERATION\tEXPIRES")
		for _, g := range grants {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", g.Grant, g.Client, orDash(g.Account), g.State, g.Generation, until(g.ExpiresAt))
		}
		return w.Flush()
	})
}

// all asks for one page after the other.
func (c grantsList) all(ctx context.Context, cl *client.Client) ([]client.Grant, error) {
	var all []client.Grant
	filter := client.GrantFilter{Client: c.Client, Vendor: c.Vendor, State: core.State(c.State), Limit: 1000}
	for {
		page, cursor, err := cl.Grants(ctx, filter)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if filter.Cursor = cursor; cursor == "" {
			return all, nil
		}
	}
}

type grantsShow struct {
	target
	selector
}

func (c grantsShow) Run(ctx context.Context, s streams) error {
	return c.ask(ctx, func(cl *client.Client) error {
		g, err := cl.Grant(ctx, c.wire())
		return c.printGrant(s, g, err)
	})
}

type grantsImport struct {
	target
	Client     string `required:"" placeholder:"NAME" help:"The client's name in the configuration."`
	Account    string `required:"" placeholder:"NAME" help:"Our name for the account, such as its owner's e-mail address."`
	APIBaseURL string `name:"api-base-url" placeholder:"URL" help:"The account's host, where the vendor has one."`
	Replace    bool   `help:"Replace an active grant."`
}

func (c grantsImport) Run(ctx context.Context, s streams) error {
	secret, err := readSecret(s.in)
	if err != nil {
		return err
	}
	return c.ask(ctx, func(cl *client.Client) error {
		g, err := cl.Import(ctx, client.ImportRequest{
			Client: c.Client, Account: c.Account, RefreshToken: secret, APIBaseURL: c.APIBaseURL, Replace: c.Replace,
		})
		return c.printGrant(s, g, err)
	})
}

// readSecret reads a token from standard input: the command line is seen by every user of the machine.
func readSecret(in io.Reader) (client.Secret, error) {
	line, err := bufio.NewReader(io.LimitReader(in, 64<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return client.Secret{}, fmt.Errorf("read the refresh token from standard input: %w", err)
	}
	token := strings.TrimSpace(line)
	if token == "" {
		return client.Secret{}, errors.New("standard input is empty; give the refresh token there, in one line: esignd grants import … < file")
	}
	return client.NewSecret(token), nil
}

type grantsForget struct {
	target
	selector
}

func (c grantsForget) Run(ctx context.Context, s streams) error {
	return c.ask(ctx, func(cl *client.Client) error {
		g, err := cl.Forget(ctx, c.wire())
		return c.printGrant(s, g, err)
	})
}

// printGrant writes one grant.
func (t target) printGrant(s streams, g client.Grant, err error) error {
	if err != nil {
		return err
	}
	if t.JSON {
		return printJSON(s.out, wire.GrantOf(g))
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			_, _ = fmt.Fprintf(w, "%s\t%s\n", name, value)
		}
	}
	row("grant", g.Grant)
	row("client", g.Client)
	row("vendor", g.Vendor)
	row("account", g.Account)
	row("state", string(g.State))
	row("reason", g.Reason)
	row("scope", strings.Join(g.Scope, " "))
	row("generation", fmt.Sprint(g.Generation))
	row("expires", until(g.ExpiresAt))
	row("consent ends", until(g.ConsentExpiresAt))
	if g.Attempts > 0 {
		row("failed attempts", fmt.Sprintf("%d, the last %s", g.Attempts, g.LastError))
		row("next attempt", until(g.NextAttempt))
	}
	if g.VendorRevoked != nil {
		row("revoked at vendor", fmt.Sprint(*g.VendorRevoked))
	}
	for _, warning := range g.Warnings {
		row("warning", string(warning))
	}
	return w.Flush()
}

// until writes a time, and how far away it is.
func until(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	if left := time.Until(t).Round(time.Second); left >= 0 {
		return fmt.Sprintf("%s (in %s)", t.Format(time.RFC3339), left)
	}
	return fmt.Sprintf("%s (%s ago)", t.Format(time.RFC3339), time.Since(t).Round(time.Second))
}
