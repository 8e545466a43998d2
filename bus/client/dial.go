package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/creds"
)

// DialConfig says how Dial connects. URL is required, and Tenant unless Credentials tell it.
type DialConfig struct {
	URL         string // of the NATS server, such as nats://127.0.0.1:4222
	Tenant      string // empty: that of the credentials
	Prefix      string // empty: esign
	Credentials string // path of a file that esignd creds new wrote, or a NATS credentials file; empty: none
	Name        string // of the connection, for the operator; empty: the program says nothing
	Sealed      bool   // as in Config
}

// Dial connects to NATS and returns a Client with the connection's close. It is for programs that use NATS for
// nothing else; others give their connection to New.
func Dial(ctx context.Context, cfg DialConfig) (*Client, func(), error) {
	if cfg.URL == "" {
		return nil, nil, errors.New("client: DialConfig.URL is missing")
	}
	opts := []nats.Option{nats.Name(cfg.Name), nats.MaxReconnects(-1), nats.Timeout(5 * time.Second)}
	var own creds.Credentials
	if cfg.Credentials != "" {
		var err error
		if own, err = creds.Read(cfg.Credentials); err != nil {
			return nil, nil, fmt.Errorf("client: %w", err)
		}
		opts = append(opts, own.Options()...)
	}
	conn, err := nats.Connect(cfg.URL, opts...)
	if err != nil {
		// A URL may hold a password; the error of nats.go does not.
		return nil, nil, fmt.Errorf("connect to NATS: %w; is esignd running, and is this its nats.listen?", err)
	}
	c, err := New(Config{
		Conn: conn, Tenant: cmp.Or(cfg.Tenant, own.Tenant), Service: own.Service, Prefix: cfg.Prefix, Sealed: cfg.Sealed,
	})
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return c, conn.Close, ctx.Err()
}
