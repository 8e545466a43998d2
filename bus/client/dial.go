package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// DialConfig says how Dial connects. URL and Tenant are required.
type DialConfig struct {
	URL         string // of the NATS server, such as nats://127.0.0.1:4222
	Tenant      string
	Prefix      string // empty: esign
	Credentials string // path of a NATS credentials file; empty: none
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
	if cfg.Credentials != "" {
		opts = append(opts, nats.UserCredentials(cfg.Credentials))
	}
	conn, err := nats.Connect(cfg.URL, opts...)
	if err != nil {
		// A URL may hold a password; the error of nats.go does not.
		return nil, nil, fmt.Errorf("connect to NATS: %w; is esignd running, and is this its nats.listen?", err)
	}
	c, err := New(Config{Conn: conn, Tenant: cfg.Tenant, Prefix: cfg.Prefix, Sealed: cfg.Sealed})
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return c, conn.Close, ctx.Err()
}
