package main

import (
	"bufio"
	"context"
	"encoding/json"
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

// target says which daemon is asked, and for whom.
type target struct {
	Server string `default:"nats://127.0.0.1:4222" env:"ESIGND_SERVER" help:"The NATS server."`
	Tenant string `default:"default" env:"ESIGND_TENANT" help:"Whose grants."`
	Prefix string `default:"esign" help:"First part of the subjects."`
	Creds  string `placeholder:"FILE" help:"NATS credentials file."`
	JSON   bool   `name:"json" help:"Print JSON, as it goes over NATS."`
}

// ask connects, runs fn, and disconnects.
func (t target) ask(ctx context.Context, fn func(*client.Client) error) error {
	c, closeConn, err := client.Dial(ctx, client.DialConfig{URL: t.Server, Tenant: t.Tenant, Prefix: t.Prefix, Credentials: t.Creds, Name: "esignd-cli"})
	if err != nil {
		return err
	}
	defer closeConn()
	return fn(c)
}

// selector names one grant.
type selector struct {
	Grant   string `placeholder:"ID" help:"The grant's id; or give --client and --account."`
	Client  string `help:"The client's name in the configuration."`
	Account string `help:"The account; none for a client_credentials client."`
}

func (s selector) wire() client.Selector {
	return client.Selector{Grant: s.Grant, Client: s.Client, Account: s.Account}
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

type tokenCommands struct {
	Get     tokenGet     `cmd:"" help:"Print a live access token."`
	Refresh tokenRefresh `cmd:"" help:"Refresh now and print the new access token."`
	Revoke  tokenRevoke  `cmd:"" help:"Revoke a grant."`
}

type tokenGet struct {
	target
	selector
	MinTTL *time.Duration `name:"min-ttl" help:"How long the token must live on; without it, the smaller of a minute and a sixth of its lifetime."`
}

func (c tokenGet) Run(ctx context.Context, s streams) error {
	return c.ask(ctx, func(cl *client.Client) error {
		var opts []client.TokenOption
		if c.MinTTL != nil {
			opts = append(opts, client.MinTTL(*c.MinTTL))
		}
		tok, err := cl.Token(ctx, c.wire(), opts...)
		return c.print(s, tok, err)
	})
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
	Reason string `help:"Why; it goes into the event."`
}

func (c tokenRevoke) Run(ctx context.Context, s streams) error {
	return c.ask(ctx, func(cl *client.Client) error {
		g, err := cl.Revoke(ctx, c.wire(), c.Reason)
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

// until writes a time with how far away it is.
func until(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s (%s)", t.Format(time.RFC3339), time.Until(t).Round(time.Second))
}

type grantsCommands struct {
	List   grantsList   `cmd:"" help:"List grants."`
	Show   grantsShow   `cmd:"" help:"Show one grant."`
	Import grantsImport `cmd:"" help:"Take over a grant; its refresh token is read from standard input."`
	Forget grantsForget `cmd:"" help:"Revoke a grant and remove what is known of it."`
}

type grantsList struct {
	target
	Client string
	Vendor string
	State  string
}

func (c grantsList) Run(ctx context.Context, s streams) error {
	return c.ask(ctx, func(cl *client.Client) error {
		filter := client.GrantFilter{Client: c.Client, Vendor: c.Vendor, State: core.State(c.State)}
		w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		if !c.JSON {
			_, _ = fmt.Fprintln(w, "GRANT\tCLIENT\tACCOUNT\tSTATE\tGENERATION\tEXPIRES")
		}
		for {
			page, cursor, err := cl.Grants(ctx, filter)
			if err != nil {
				return err
			}
			if c.JSON {
				if err := printJSON(s.out, wire.GrantPageOf(page, cursor)); err != nil {
					return err
				}
			}
			for _, g := range page {
				if !c.JSON {
					_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", g.Grant, g.Client, g.Account, g.State, g.Generation, until(g.ExpiresAt))
				}
			}
			if filter.Cursor = cursor; cursor == "" {
				return w.Flush()
			}
		}
	})
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
	Client     string `required:""`
	Account    string `required:""`
	APIBaseURL string `name:"api-base-url" help:"The account's host, where the vendor has one."`
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
		return client.Secret{}, errors.New("give the refresh token on standard input, in one line")
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

type connectCommand struct {
	target
	Client   string   `required:"" help:"The client's name in the configuration."`
	Account  string   `required:"" help:"Our name for the account, such as its owner's e-mail address."`
	Scopes   []string `help:"What to ask for; without it, the client's scopes."`
	ReturnTo string   `help:"Where the browser goes in the end; one of http.return_to."`
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

type eventsCommand struct {
	target
	Since time.Duration `help:"Begin this far back; events are kept seven days."`
	Type  []string      `help:"Only these types."`
}

func (c eventsCommand) Run(ctx context.Context, s streams) error {
	return c.ask(ctx, func(cl *client.Client) error {
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
