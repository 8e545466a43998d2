package bus

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/trace"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// DefaultAuditAge is how long the audit is kept unless AuditConfig says otherwise: a year.
const DefaultAuditAge = 365 * 24 * time.Hour

// AuditConfig says whether there is an audit, and how much of it is kept.
type AuditConfig struct {
	Enabled bool
	// MaxAge is how long an entry is kept. 0: DefaultAuditAge.
	MaxAge time.Duration
	// MaxBytes bounds the stream. Once it is full it takes nothing, and nothing is handed out, until entries end by their
	// age or the bound is raised: what is there is not dropped for what is new. 0: it has no bound.
	MaxBytes int64
}

func auditConfig(cfg Config) jetstream.StreamConfig {
	most := cfg.Audit.MaxBytes
	if most == 0 {
		most = -1
	}
	return jetstream.StreamConfig{
		Name:         wire.AuditStream,
		Description:  "esignd: who asked for which grant; append-only",
		Subjects:     []string{cfg.Prefix + ".audit.>"},
		Storage:      jetstream.FileStorage,
		Replicas:     cfg.Replicas,
		MaxAge:       cfg.Audit.MaxAge,
		MaxBytes:     most,
		MaxConsumers: maxConsumers,
		Discard:      jetstream.DiscardNew,
		DenyDelete:   true,
		DenyPurge:    true,
	}
}

// auditKey is the key of the record that has the key of fingerprints.
const auditKey = "key.audit"

// openAudit makes the stream and begins to write, where the audit is on.
func (s *session) openAudit(ctx context.Context) (err error) {
	if !s.cfg.Audit.Enabled {
		return nil
	}
	if s.entries, err = s.ensureStream(ctx, s.js, auditConfig(s.cfg)); err != nil {
		return err
	}
	key, err := s.fingerprintKey(ctx)
	if err != nil {
		return err
	}
	s.audit = newAuditWriter(s.js, s.cfg, s.dir.owner, key)
	go s.audit.run() // ends with close
	return nil
}

// fingerprintKey reads the key that replicas share, and makes it where there is none.
func (s *session) fingerprintKey(ctx context.Context) ([]byte, error) {
	own, err := New(s.cfg) // of which only the store is used
	if err != nil {
		return nil, err
	}
	own.session.Store(s)
	for {
		r, err := own.Store().Get(ctx, auditKey)
		switch {
		case err == nil && len(r.Secret) > 0:
			return r.Secret, nil
		case err == nil, errors.Is(err, core.ErrDamaged):
			// With another key what is in the audit could not be found any more.
			return nil, fmt.Errorf("the key of the audit's fingerprints cannot be read from record %s: restore it from a backup with the keyset "+
				"of its time, or set audit.enabled to false: %w", auditKey, errors.Join(err, core.ErrDamaged))
		case !errors.Is(err, core.ErrNoRecord):
			return nil, fmt.Errorf("read the key of the audit's fingerprints: %w", err)
		}
		fresh := make([]byte, 32)
		_, _ = rand.Read(fresh) // never fails
		_, err = own.Store().Put(ctx, core.Record{Key: auditKey, Public: []byte(`{"format":1}`), Secret: fresh})
		if err != nil && !errors.Is(err, core.ErrConflict) {
			return nil, fmt.Errorf("write the key of the audit's fingerprints: %w", err)
		}
	}
}

// Audit is what is written to the stream ESIGN_AUDIT: one entry for each act. A nil Audit is one that is off: it writes
// nothing and holds nothing back. It works from its Bus's Start to its Close.
//
// A token is handed out once its entry is acknowledged by the stream, not before. Any other act is not begun while the
// stream takes nothing; the entry of one that was begun before is kept in memory until the stream takes it.
type Audit struct{ bus *Bus }

// Audit returns the audit, nil where it is off.
func (b *Bus) Audit() *Audit {
	if !b.cfg.Audit.Enabled {
		return nil
	}
	return &Audit{bus: b}
}

func (a *Audit) writer() (*auditWriter, error) {
	s, err := a.bus.opened()
	if err != nil {
		return nil, err
	}
	return s.audit, nil
}

// ready returns nil where acts may be begun.
func (a *Audit) ready() error {
	if a == nil {
		return nil
	}
	w, err := a.writer()
	if err != nil {
		return err
	}
	return w.ready()
}

// add writes an act; see act.then.
func (a *Audit) add(ctx context.Context, one *act) {
	if span := trace.SpanContextFromContext(ctx); span.HasTraceID() {
		one.entry.TraceID = span.TraceID().String()
	}
	w, err := a.writer()
	if err != nil {
		one.end(err)
		return
	}
	w.add(one)
}

// wait is add, and returns what then is called with.
func (a *Audit) wait(ctx context.Context, one *act) error {
	written := make(chan error, 1)
	one.then = func(err error) { written <- err }
	a.add(ctx, one)
	select {
	case err := <-written:
		return err
	case <-ctx.Done():
		if one.handsOut {
			return errAudit()
		}
		return nil // it is done, and will be written
	}
}

// Do does what the entry tells of, and writes the entry with its outcome. fn may say in the entry what it finds out, and
// takes the Action out where there is nothing to tell. Where the audit cannot be written fn is not called.
func (a *Audit) Do(ctx context.Context, entry wire.AuditEntry, fn func(*wire.AuditEntry) error) error {
	if a == nil {
		return fn(&entry)
	}
	if err := a.ready(); err != nil {
		return err
	}
	err := fn(&entry)
	if entry.Action == "" {
		return err
	}
	if entry.Outcome == "" {
		setOutcome(&entry, err)
	}
	if werr := a.wait(ctx, &act{entry: entry}); err == nil {
		err = werr
	}
	return err
}

// Note writes an entry of what was done, without waiting. Without an outcome it was.
func (a *Audit) Note(ctx context.Context, entry wire.AuditEntry) {
	if a != nil {
		entry.Outcome = cmp.Or(entry.Outcome, wire.AuditOK)
		a.add(ctx, &act{entry: entry})
	}
}

// Refreshed writes that the Manager refreshed a grant, without waiting: core.Config.Refreshed.
func (a *Audit) Refreshed(ctx context.Context, r core.Refreshed) {
	if a == nil {
		return
	}
	e := wire.AuditEntry{
		Action: wire.AuditRefresh, By: wire.AuditActor{Kind: wire.ActorEsignd}, Tenant: r.Tenant, Client: r.Client, Vendor: r.Vendor,
		Account: r.Account, Grant: r.Grant, Generation: r.Generation,
	}
	setOutcome(&e, r.Err)
	a.add(ctx, &act{entry: e, token: r.AccessToken})
}

// setOutcome says how an act ended. Of a vendor's failure the code counts, which is one of ours.
func setOutcome(e *wire.AuditEntry, err error) {
	if err == nil {
		e.Outcome = wire.AuditOK
		return
	}
	var v *core.VendorError
	if errors.As(err, &v) && !errors.As(err, new(*core.Error)) {
		e.Outcome, e.Reason = string(core.TemporarilyUnavailable), v.Code
		return
	}
	answer := core.AsError(err)
	e.Outcome, e.Reason = string(answer.Code), answer.Reason
}
