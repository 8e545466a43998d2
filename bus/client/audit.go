package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/bus/wire"
)

// AuditEntry tells of one act: who asked for what, when, and with which outcome. It never holds a secret.
type AuditEntry = wire.AuditEntry

// Audit calls fn for each entry of the audit of the tenant, one at a time, from its beginning or where the Audit before
// this one ended, until ctx ends or fn returns an error, and returns ctx's or fn's error. It is for a service that the
// daemon's nats.auth lists as auditor. It goes on by itself after the connection was lost.
//
// Each entry is told at least once; one that comes again during this Audit is skipped. Entries come several to a message:
// those of the message that fn returned an error in come again at the next Audit.
func (c *Client) Audit(ctx context.Context, fn func(AuditEntry) error) error {
	if c.service == "" {
		return errors.New("client: the audit is for a service that nats.auth lists as auditor: dial with its credentials")
	}
	js, err := jetstream.New(c.conn)
	if err != nil {
		return fmt.Errorf("read the audit of tenant %s: %w", c.tenant, err)
	}
	a := &auditWatch{client: c, fn: fn, seen: newRecent(remembered)}
	opened := false
	for {
		err := a.run(ctx, js, &opened)
		var stop *stopError
		switch {
		case errors.As(err, &stop):
			return stop.err
		case ctx.Err() != nil:
			return ctx.Err()
		case !opened, c.conn.IsClosed():
			return fmt.Errorf("read the audit of tenant %s: %w", c.tenant, err)
		}
		c.log.WarnContext(ctx, "the reading of the audit was interrupted; it is opened again where it stood", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(reopenDelay):
		}
	}
}

// auditWatch is one call of Audit.
type auditWatch struct {
	client *Client
	fn     func(AuditEntry) error
	seen   recent
}

// run takes messages until one cannot be had. A *stopError is one of fn.
func (a *auditWatch) run(ctx context.Context, js jetstream.JetStream, opened *bool) error {
	consumer, err := js.Consumer(ctx, wire.AuditStream, wire.Durable(a.client.tenant, a.client.service))
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return err
	}
	defer messages.Stop()
	*opened = true
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		if err := a.take(ctx, m); err != nil {
			_ = m.Nak() // it is given out again by itself where this does not work
			return err
		}
		if err := m.Ack(); err != nil {
			return err
		}
	}
}

func (a *auditWatch) take(ctx context.Context, m jetstream.Msg) error {
	entries, err := wire.DecodeAudit(m.Data())
	if err != nil {
		a.client.log.WarnContext(ctx, "a message of the audit cannot be read; it is skipped", "error", err)
		return nil
	}
	for _, e := range entries {
		if a.seen.has(e.ID) {
			continue
		}
		if err := a.fn(e); err != nil {
			return &stopError{err}
		}
		a.seen.add(e.ID)
	}
	return nil
}
