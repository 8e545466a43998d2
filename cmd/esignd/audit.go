package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/esignd/esignd"
	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

type auditCommands struct {
	List   auditList   `cmd:"" help:"Print what is in the audit of the esignd that runs on this machine."`
	Follow auditFollow `cmd:"" help:"Print the audit and go on with what is new: of this machine's esignd, or as an auditor over NATS."`
	Find   auditFind   `cmd:"" help:"Read an access token from standard input, and print who got it and when."`
}

// auditFilter selects entries.
type auditFilter struct {
	Tenant  string   `placeholder:"NAME" help:"Only the acts on this tenant's grants."`
	Grant   string   `placeholder:"ID" help:"Only this grant."`
	Client  string   `placeholder:"NAME" help:"Only this client of the configuration."`
	Account string   `placeholder:"NAME" help:"Only this account."`
	Service string   `placeholder:"NAME" help:"Only what this service asked."`
	Action  []string `placeholder:"ACTION" help:"Only these, such as token.get,refresh,backup."`
	Since   string   `placeholder:"TIME" help:"From here on: how far back, such as 24h, or 2026-01-31T12:00:00Z."`
	Until   string   `placeholder:"TIME" help:"Up to here, likewise."`
	JSON    bool     `name:"json" help:"Print JSON, one entry a line."`
}

func (f auditFilter) query() (bus.AuditQuery, error) {
	q := bus.AuditQuery{
		Tenant: f.Tenant, Grant: f.Grant, Client: f.Client, Account: f.Account, Service: f.Service, Actions: f.Action,
	}
	var err error
	if q.Since, err = pointInTime("--since", f.Since); err != nil {
		return q, err
	}
	q.Until, err = pointInTime("--until", f.Until)
	return q, err
}

// pointInTime reads a time, or how far back it is. Empty is no time.
func pointInTime(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if back, err := time.ParseDuration(text); err == nil && back >= 0 {
		return time.Now().Add(-back), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("%s: %q is neither how far back, such as 24h, nor a time such as 2026-01-31T12:00:00Z", flag, text)
	}
	return at, nil
}

type auditList struct {
	Config string `required:"" type:"existingfile" placeholder:"FILE" help:"The configuration of the esignd that runs on this machine."`
	auditFilter
}

func (c auditList) Run(ctx context.Context, s streams) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	return askAudit(ctx, s, c.Config, q, c.JSON)
}

func askAudit(ctx context.Context, s streams, config string, q bus.AuditQuery, asJSON bool) error {
	dir, err := esignd.LoadDataDir(config, os.Environ())
	if err != nil {
		return err
	}
	return esignd.AskAudit(ctx, dir, q, func(e wire.AuditEntry) error { return printEntry(s.out, e, asJSON) })
}

type auditFollow struct {
	Config string `type:"existingfile" placeholder:"FILE" help:"The configuration of the esignd that runs on this machine."`
	Server string `default:"nats://127.0.0.1:4222" env:"ESIGND_SERVER" help:"URL of the NATS server, with --creds."`
	Creds  string `type:"existingfile" env:"ESIGND_CREDS" placeholder:"FILE" help:"What esignd creds new wrote for a service with the role auditor. It gets each entry of its tenant once."`
	auditFilter
}

// Validate finds what does not go together.
func (c auditFollow) Validate() error {
	if (c.Config == "") == (c.Creds == "") {
		return errors.New("say either --config, on the daemon's machine, or --creds of an auditor")
	}
	if c.Creds != "" && (c.Tenant != "" || c.Since != "" || c.Until != "") {
		return errors.New("--creds: an auditor has a tenant, and gets each entry once: leave --tenant, --since and --until out")
	}
	return nil
}

func (c auditFollow) Run(ctx context.Context, s streams) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	q.Follow = true
	if c.Config != "" {
		err = askAudit(ctx, s, c.Config, q, c.JSON)
	} else {
		err = c.consume(ctx, s, q)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (c auditFollow) consume(ctx context.Context, s streams, q bus.AuditQuery) error {
	server := cmp.Or(c.Server, defaultServer)
	cl, closeConn, err := client.Dial(ctx, client.DialConfig{URL: server, Credentials: c.Creds, Name: "esignd-cli"})
	if err != nil {
		return answered{answer: noServer(server, err), server: server}
	}
	defer closeConn()
	return cl.Audit(ctx, func(e client.AuditEntry) error {
		if !q.Wants(e) {
			return nil
		}
		return printEntry(s.out, e, c.JSON)
	})
}

type auditFind struct {
	Config string `required:"" type:"existingfile" placeholder:"FILE" help:"The configuration of the esignd that runs on this machine."`
	JSON   bool   `name:"json" help:"Print JSON, one entry a line."`
}

// maxToken bounds what is read as a token, in bytes.
const maxToken = 64 << 10

func (c auditFind) Run(ctx context.Context, s streams) error {
	dir, err := esignd.LoadDataDir(c.Config, os.Environ())
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(bufio.NewReader(s.in), maxToken))
	if err != nil {
		return fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return errors.New("give the access token on standard input; a command line can be seen by others")
	}
	found := 0
	err = esignd.AskAuditFind(ctx, dir, core.NewSecret(token), func(e wire.AuditEntry) error {
		found++
		return printEntry(s.out, e, c.JSON)
	})
	if err == nil && found == 0 {
		return errors.New("this token is not in the audit, as far back as it goes: esignd did not hand it out")
	}
	return err
}

// printEntry writes an entry in a line.
func printEntry(w io.Writer, e wire.AuditEntry, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(e)
	}
	_, err := fmt.Fprintf(w, "%s  %-32s %-18s %-10s %-34s %s generation %d %s\n", e.Time.Local().Format(time.RFC3339), who(e.By), e.Action,
		orDash(e.Tenant), orDash(cmp.Or(e.Account, e.Client)), orDash(e.Grant), e.Generation, strings.TrimSpace(e.Outcome+" "+e.Reason))
	return err
}

// who names an actor.
func who(a wire.AuditActor) string {
	name := cmp.Or(a.Service, a.Account, a.User)
	switch {
	case name != "":
		return string(a.Kind) + " " + name
	case a.Tenant != "":
		return string(a.Kind) + " " + a.Tenant
	}
	return string(a.Kind)
}
