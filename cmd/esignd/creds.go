package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/esignd/esignd"
	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/bus/creds"
	"github.com/esignd/esignd/bus/tlsfiles"
	"github.com/esignd/esignd/bus/wire"
)

type credsCommands struct {
	New credsNew `cmd:"" help:"Make the key by which a service proves to NATS who it is."`
}

type credsNew struct {
	Tenant  string `placeholder:"NAME" help:"Whose grants the service uses."`
	Service string `placeholder:"NAME" help:"The service's name."`
	Role    string `enum:"caller,operator,auditor" default:"caller" help:"What it may do: caller (ask for tokens, connect and revoke grants, events), operator (list, import and forget grants too) or auditor (events and the audit, no tokens)."`
	Daemon  bool   `help:"Make the key of esignd itself, for an external NATS server (nats.credentials)."`
	Out     string `short:"o" type:"path" placeholder:"FILE" help:"Where to write it; it must not be there yet. Default: <tenant>_<service>.nkey here, or esignd.nkey."`
}

// Validate finds what does not go together.
func (c credsNew) Validate() error {
	switch {
	case c.Daemon && (c.Tenant != "" || c.Service != ""):
		return errors.New("--daemon is no service: leave --tenant and --service out")
	case !c.Daemon && (!wire.ValidToken(c.Tenant) || !wire.ValidToken(c.Service)):
		return errors.New("--tenant and --service: both are wanted, of letters, digits, _ and -")
	}
	return nil
}

func (c credsNew) Run(s streams) error {
	name := "esignd.nkey"
	if !c.Daemon {
		name = wire.Durable(c.Tenant, c.Service) + ".nkey"
	}
	path := cmp.Or(c.Out, name)
	made, err := creds.New(path, c.Tenant, c.Service)
	if err != nil {
		return err
	}
	if c.Daemon {
		_, err = fmt.Fprintf(s.out, "nats: {credentials: %s}\n", path)
		_, _ = fmt.Fprintf(s.err, "wrote %s, for esignd alone; the line above is for its configuration\n", path)
		return err
	}
	_, err = fmt.Fprintf(s.out, "- {tenant: %s, name: %s, role: %s, nkeys: [%s]}\n", c.Tenant, c.Service, c.Role, made.NKey)
	_, _ = fmt.Fprintf(s.err, "wrote %s, for the service alone; the line above is for nats.auth.services\n", path)
	return err
}

type permissionsCommand struct {
	Config string `required:"" type:"existingfile" placeholder:"FILE" help:"The configuration, with nats.auth.services."`
	Daemon string `placeholder:"NKEY" help:"Public part of esignd's own NKey. Default: that of nats.credentials."`

	TLSCA   string `name:"tls-ca" placeholder:"PATH" help:"The authority of the services' certificates, as the NATS server reads it. It is wanted where a service is known by its certificate, as are the next two."`
	TLSCert string `name:"tls-cert" placeholder:"PATH" help:"The NATS server's own certificate."`
	TLSKey  string `name:"tls-key" placeholder:"PATH" help:"Its key."`
}

// Run writes what the configuration of an external nats-server needs. It reaches no server.
func (c permissionsCommand) Run(s streams) error {
	nats, err := esignd.LoadNATS(c.Config, os.Environ())
	if err != nil {
		return err
	}
	if nats.Auth != esignd.AuthServices {
		return errors.New("nats.auth lists no services; there is nothing to permit")
	}
	key := c.Daemon
	if key == "" {
		if key, err = ownKey(nats); err != nil {
			return err
		}
	}
	shows := tlsfiles.Files{CA: c.TLSCA, Cert: c.TLSCert, Key: c.TLSKey}
	byCertificate := func(s esignd.Service) bool { return s.Certificate != "" }
	if slices.ContainsFunc(nats.Services, byCertificate) && (c.TLSCA == "" || c.TLSCert == "" || c.TLSKey == "") {
		return errors.New("services are known by their certificates: name the files of the NATS server, as it reads them, with --tls-cert, --tls-key and --tls-ca")
	}
	text, err := bus.Permissions(nats.Prefix, key, nats.Callers(), shows)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "# Written by esignd permissions. Include it in nats-server's configuration, which turns JetStream on.\n"+
		"# After a change reload the server twice: nats-server --signal reload.\n%s", text)
	return err
}

// ownKey returns the public part of the key by which esignd proves itself.
func ownKey(nats esignd.NATS) (string, error) {
	const remedy = "make one with `esignd creds new --daemon` and name it in nats.credentials, or give --daemon its public part"
	if nats.Credentials == "" {
		return "", errors.New("esignd has no key of its own: " + remedy)
	}
	own, err := creds.Read(nats.Credentials)
	if err != nil {
		return "", err
	}
	if own.NKey == "" {
		return "", fmt.Errorf("%s holds a signed JWT and no NKey: %s", nats.Credentials, remedy)
	}
	return own.NKey, nil
}
