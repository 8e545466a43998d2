package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/creds"
	"github.com/esignd/esignd/bus/wire"
)

// TLS names PEM files: the authorities that the server's certificate is judged by, where empty those of the system, and
// what a service that is known by its certificate shows. They are read at each connection, and each one that takes its
// place.
type TLS struct{ CA, Cert, Key string }

func (t TLS) options() ([]nats.Option, error) {
	var opts []nats.Option
	if (t.Cert == "") != (t.Key == "") {
		return nil, errors.New("client: DialConfig.TLS: Cert and Key go together")
	}
	if t.CA != "" {
		opts = append(opts, nats.RootCAs(t.CA))
	}
	if t.Cert != "" {
		opts = append(opts, nats.ClientCert(t.Cert, t.Key))
	}
	return opts, nil
}

// DialConfig says how Dial connects. URL is required, and Tenant unless Credentials tell it.
type DialConfig struct {
	URL         string // of the NATS server, such as nats://127.0.0.1:4222
	Tenant      string // empty: that of the credentials
	Prefix      string // empty: esign
	Credentials string // path of a file that esignd creds new wrote, or a NATS credentials file; empty: none
	Service     string // name of the service, where its certificate says who it is; empty: that of the credentials
	TLS         TLS    // with any of it, nothing is sent in the clear
	Name        string // of the connection, for the operator; empty: the program says nothing
	Sealed      bool   // as in Config
}

// remedy says what to do about a server that cannot be connected to.
func remedy(err error) string {
	var op *net.OpError
	switch {
	case errors.Is(err, nats.ErrSecureConnWanted):
		return "the server does not speak TLS, and files of TLS are named; is it the right one?"
	case errors.Is(err, nats.ErrTLS), errors.As(err, &op) && op.Op == "remote error": // a TLS alert
		return "the server speaks TLS; is its authority named, and a certificate of yours where it asks for one?"
	}
	return "is esignd running, and is this its nats.listen?"
}

// Dial connects to NATS and returns a Client with the connection's close. It is for programs that use NATS for
// nothing else; others give their connection to New.
func Dial(ctx context.Context, cfg DialConfig) (*Client, func(), error) {
	if cfg.URL == "" {
		return nil, nil, errors.New("client: DialConfig.URL is missing")
	}
	opts, err := cfg.TLS.options()
	if err != nil {
		return nil, nil, err
	}
	opts = append(opts, nats.Name(cfg.Name), nats.MaxReconnects(-1), nats.Timeout(5*time.Second))
	var own creds.Credentials
	if cfg.Credentials != "" {
		if own, err = creds.Read(cfg.Credentials); err != nil {
			return nil, nil, fmt.Errorf("client: %w", err)
		}
		opts = append(opts, own.Options()...)
	}
	tenant, service := cmp.Or(cfg.Tenant, own.Tenant), cmp.Or(cfg.Service, own.Service)
	if cfg.Service != "" && wire.ValidToken(tenant) && wire.ValidToken(service) {
		opts = append(opts, nats.CustomInboxPrefix(wire.InboxPrefix(tenant, service)))
	}
	conn, err := nats.Connect(cfg.URL, opts...)
	if err != nil {
		// A URL may hold a password; the error of nats.go does not.
		return nil, nil, fmt.Errorf("connect to NATS: %w; %s", err, remedy(err))
	}
	c, err := New(Config{
		Conn: conn, Tenant: tenant, Service: service, Prefix: cfg.Prefix, Sealed: cfg.Sealed,
	})
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return c, conn.Close, ctx.Err()
}
