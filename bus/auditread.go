package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// AuditQuery says which entries of the audit are wanted. What is empty selects all.
type AuditQuery struct {
	Tenant  string    `json:"tenant,omitempty"`
	Grant   string    `json:"grant,omitempty"`
	Client  string    `json:"client,omitempty"`
	Account string    `json:"account,omitempty"`
	Service string    `json:"service,omitempty"` // who asked
	Actions []string  `json:"actions,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Until   time.Time `json:"until,omitzero"`
	// Follow goes on with what is new, until the context ends.
	Follow bool `json:"follow,omitempty"`

	print string // of the token that is looked for
}

// Wants reports whether an entry is one of those wanted.
func (q AuditQuery) Wants(e wire.AuditEntry) bool {
	is := func(want, have string) bool { return want == "" || want == have }
	return is(q.Tenant, e.Tenant) && is(q.Grant, e.Grant) && is(q.Client, e.Client) && is(q.Account, e.Account) &&
		is(q.Service, e.By.Service) && is(q.print, e.Token) &&
		(len(q.Actions) == 0 || slices.Contains(q.Actions, string(e.Action))) &&
		!e.Time.Before(q.Since) && (q.Until.IsZero() || e.Time.Before(q.Until))
}

// ErrNoAudit is returned where the audit is off.
var ErrNoAudit = errors.New("the audit is off: set audit.enabled to true and restart esignd")

const (
	// auditSkew is by how much the clock of a replica may differ from the stream's.
	auditSkew = time.Minute
	// auditIdle ends a reading whose last messages ended by their age meanwhile.
	auditIdle = 10 * time.Second
	// auditRemembered is how many ids are kept, to tell an entry that comes twice.
	auditRemembered = 64 << 10
)

// Find calls fn for each entry that tells of an access token, oldest first: who got it, and when. The looking is an
// entry too.
func (a *Audit) Find(ctx context.Context, token core.Secret, fn func(wire.AuditEntry) error) error {
	if a == nil {
		return ErrNoAudit
	}
	w, err := a.writer()
	if err != nil {
		return err
	}
	return a.read(ctx, wire.AuditFind, AuditQuery{print: w.fingerprint(token)}, fn)
}

// Read calls fn for each entry that is wanted, oldest first. The reading is an entry too.
func (a *Audit) Read(ctx context.Context, q AuditQuery, fn func(wire.AuditEntry) error) error {
	if a == nil {
		return ErrNoAudit
	}
	return a.read(ctx, wire.AuditRead, q, fn)
}

func (a *Audit) read(ctx context.Context, action wire.AuditAction, q AuditQuery, fn func(wire.AuditEntry) error) error {
	s, err := a.bus.opened()
	if err != nil {
		return err
	}
	// The audit may be read while it cannot be written: to find out why.
	a.add(ctx, &act{entry: wire.AuditEntry{
		Action: action, By: wire.AuditActor{Kind: wire.ActorCommand}, Outcome: wire.AuditOK, Tenant: q.Tenant, Client: q.Client,
		Account: q.Account, Grant: q.Grant,
	}})
	consumer, err := s.js.CreateConsumer(ctx, wire.AuditStream, q.consumer(s.cfg.Prefix))
	if err != nil {
		return fmt.Errorf("read the audit: %w", err)
	}
	name := consumer.CachedInfo().Name
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
		defer cancel()
		_ = s.js.DeleteConsumer(ctx, wire.AuditStream, name) // NATS forgets it by itself where this does not work
	}()
	return s.readEntries(ctx, consumer, q, fn)
}

func (q AuditQuery) consumer(prefix string) jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: time.Minute, MemoryStorage: true}
	if q.Tenant != "" {
		cfg.FilterSubject = wire.AuditSubject(prefix, q.Tenant)
	}
	if !q.Since.IsZero() {
		since := q.Since.Add(-auditSkew)
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &since
	}
	return cfg
}

// readEntries reads what there is, and where q follows what comes.
func (s *session) readEntries(ctx context.Context, consumer jetstream.Consumer, q AuditQuery, fn func(wire.AuditEntry) error) error {
	if !q.Follow && consumer.CachedInfo().NumPending == 0 {
		return nil
	}
	ctx, end := s.whileOpen(ctx)
	defer end()
	messages, err := consumer.Messages()
	if err != nil {
		return fmt.Errorf("read the audit: %w", err)
	}
	defer messages.Stop()
	seen := map[string]bool{}
	for {
		m, left, err := nextEntry(ctx, messages, !q.Follow)
		if m == nil || err != nil {
			return err
		}
		if err := s.tell(m, q, seen, fn); err != nil {
			return err
		}
		if !q.Follow && left == 0 {
			return nil
		}
	}
}

// nextEntry returns the next message, and how many follow. With toEnd there may be no next one.
func nextEntry(ctx context.Context, messages jetstream.MessagesContext, toEnd bool) (jetstream.Msg, uint64, error) {
	within, cancel := ctx, func() {}
	if toEnd {
		within, cancel = context.WithTimeout(ctx, auditIdle)
	}
	defer cancel()
	m, err := messages.Next(jetstream.NextContext(within))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, 0, context.Cause(ctx)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, 0, nil
	case err != nil:
		return nil, 0, fmt.Errorf("read the audit: %w", err)
	}
	md, err := m.Metadata()
	if err != nil {
		return nil, 0, fmt.Errorf("read the audit: %w", err)
	}
	return m, md.NumPending, nil
}

// tell calls fn for what is wanted of a message.
func (s *session) tell(m jetstream.Msg, q AuditQuery, seen map[string]bool, fn func(wire.AuditEntry) error) error {
	if q.print != "" && !bytes.Contains(m.Data(), []byte(q.print)) {
		return nil
	}
	entries, err := wire.DecodeAudit(m.Data())
	if err != nil {
		s.cfg.Logger.Warn("a message of the audit is not one of ours; it is left out of what is read", "subject", m.Subject(), "error", err)
		return nil
	}
	for _, e := range entries {
		if !q.Wants(e) || seen[e.ID] {
			continue
		}
		if len(seen) == auditRemembered {
			clear(seen)
		}
		seen[e.ID] = true
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}
