package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/esignd/esignd"
	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/creds"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// target says which daemon is asked, and for whom.
type target struct {
	Server  string `default:"nats://127.0.0.1:4222" env:"ESIGND_SERVER" help:"URL of the NATS server."`
	Tenant  string `env:"ESIGND_TENANT" placeholder:"NAME" help:"Whose grants. Default: the tenant of --creds, else default."`
	Prefix  string `default:"esign" help:"First part of the subjects; nats.prefix of the daemon."`
	Creds   string `type:"existingfile" env:"ESIGND_CREDS" placeholder:"FILE" help:"What esignd creds new wrote, or a NATS credentials file."`
	TLSCA   string `name:"tls-ca" env:"ESIGND_TLS_CA" placeholder:"FILE" help:"PEM file of the authority of the NATS server's certificate. Default: those of the system."`
	TLSCert string `name:"tls-cert" env:"ESIGND_TLS_CERT" placeholder:"FILE" help:"PEM file of a certificate to show to the NATS server."`
	TLSKey  string `name:"tls-key" env:"ESIGND_TLS_KEY" placeholder:"FILE" help:"Its key."`
	Service string `env:"ESIGND_SERVICE" placeholder:"NAME" help:"With --tls-cert: which service of nats.auth the certificate is of."`
	JSON    bool   `name:"json" help:"Print JSON, as it goes over NATS; an error too, on standard error."`
}

// Validate finds what would be a wrong command line with any daemon.
func (t target) Validate() error {
	switch {
	case t.Tenant != "" && !wire.ValidToken(t.Tenant):
		return fmt.Errorf("--tenant: %q is not letters, digits, _ and -", t.Tenant)
	case t.Service != "" && !wire.ValidToken(t.Service):
		return fmt.Errorf("--service: %q is not letters, digits, _ and -", t.Service)
	case (t.TLSCert == "") != (t.TLSKey == ""):
		return errors.New("--tls-cert and --tls-key go together")
	case !wire.ValidPrefix(t.Prefix):
		return fmt.Errorf("--prefix: %q is not letters, digits, _ and -, in parts with dots between them", t.Prefix)
	}
	return nil
}

// ask connects, runs fn, and disconnects.
func (t target) ask(ctx context.Context, fn func(*client.Client) error) error {
	server := cmp.Or(t.Server, defaultServer) // the variable may be set and empty
	var own creds.Credentials
	if t.Creds != "" {
		var err error
		if own, err = creds.Read(t.Creds); err != nil {
			return err
		}
	}
	tenant := cmp.Or(t.Tenant, own.Tenant, defaultTenant)
	c, closeConn, err := client.Dial(ctx, client.DialConfig{
		URL: server, Tenant: tenant, Service: t.Service, Prefix: t.Prefix, Credentials: t.Creds, Name: "esignd-cli",
		TLS: client.TLS{CA: t.TLSCA, Cert: t.TLSCert, Key: t.TLSKey},
	})
	if err != nil {
		err = noServer(server, err)
	} else {
		defer closeConn()
		err = fn(c)
	}
	var e *client.Error
	if errors.As(err, &e) {
		return answered{answer: e, server: server, json: t.JSON}
	}
	return err
}

const (
	defaultServer = "nats://127.0.0.1:4222"
	defaultTenant = "default"
)

// reasonNoServer is the reason of the error that says that there is nobody to ask.
const reasonNoServer = "no_server"

func noServer(server string, err error) *client.Error {
	e := core.Errorf(client.TemporarilyUnavailable, "%v: %w", esignd.ServerURL(server), err)
	e.Reason = reasonNoServer
	return e
}

// answered is an error that the daemon answered, or that none did.
type answered struct {
	answer *client.Error
	server string
	json   bool   // wanted
	hint   string // what to do, in the words of the command line
}

func (a answered) Error() string { return a.describe() }

func (a answered) Unwrap() error { return a.answer }

// print writes the error with what to do next, or as JSON.
func (a answered) print(w io.Writer) error {
	if a.json {
		return printJSON(w, wire.ErrorOf(a.answer))
	}
	_, err := fmt.Fprintln(w, "esignd:", a.describe())
	return err
}

func (a answered) describe() string {
	switch a.answer.Reason {
	case reasonNoServer:
		return a.answer.Description + otherServer(a.answer.Description)
	case client.ReasonNoResponders:
		return fmt.Sprintf("no esignd answers at %v; is it running, with this prefix?", esignd.ServerURL(a.server))
	}
	text := a.answer.Error()
	if a.answer.Reason != "" {
		text += " (" + a.answer.Reason + ")"
	}
	if a.answer.RetryAfter > 0 {
		text += fmt.Sprintf("\n  ask again in %s", a.answer.RetryAfter)
	}
	if a.answer.ConnectURL != "" {
		text += "\n  connect at " + a.answer.ConnectURL
	}
	if a.hint != "" {
		text += "\n  " + a.hint
	}
	return text
}

// otherServer says by what flags a server is reached after all, or another one.
func otherServer(why string) string {
	if strings.Contains(why, "the server speaks TLS") {
		return " Name them with --tls-ca, --tls-cert and --tls-key."
	}
	return " Name another with --server or ESIGND_SERVER."
}

// selector names one grant.
type selector struct {
	Grant   string `placeholder:"ID" help:"The grant's id; or give --client and --account."`
	Client  string `placeholder:"NAME" help:"The client's name in the configuration."`
	Account string `placeholder:"NAME" help:"The account; none for a client_credentials client."`
}

func (s selector) wire() client.Selector {
	return client.Selector{Grant: s.Grant, Client: s.Client, Account: s.Account}
}

// connectHint adds how a grant that is not there comes to be.
func (s selector) connectHint(err error) error {
	var a answered
	if errors.As(err, &a) && a.answer.Code == client.NotFound && s.Client != "" && s.Account != "" {
		a.hint = fmt.Sprintf("to begin: esignd connect --client %s --account %s", s.Client, s.Account)
		return a
	}
	return err
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
