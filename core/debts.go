package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"
)

// event returns an event of now, in the trace of ctx.
func (m *Manager) event(ctx context.Context, t EventType, reason string) Event {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return Event{ID: randomID(), Type: t, Time: m.now().Truncate(time.Millisecond), Reason: reason, TraceParent: carrier["traceparent"]}
}

// pay publishes what the grant owes, oldest first, and clears it by a second compare-and-set. What cannot be
// published stays owed.
func (m *Manager) pay(ctx context.Context, e *entry) error {
	if len(e.g.Debts) == 0 {
		return nil
	}
	paid, perr := m.publish(ctx, e.g.Debts)
	if len(paid) == 0 {
		return perr
	}
	_, err := m.change(ctx, e.g.ID, func(_ *entry, g *grant) (bool, error) {
		before := len(g.Debts)
		g.Debts = unpaid(g.Debts, paid)
		return len(g.Debts) < before, nil
	})
	if err != nil && !errors.Is(err, ErrNoRecord) {
		err = fmt.Errorf("clear the debts of grant %s: %w", e.g.ID, err)
		return errors.Join(perr, err)
	}
	return perr
}

// payOrLater pays; what stays owed is paid when the grant is looked at next.
func (m *Manager) payOrLater(ctx context.Context, e *entry) {
	if err := m.pay(ctx, e); err != nil {
		m.log.WarnContext(ctx, "an event is owed and will be published later", "grant", e.g.ID, "error", err)
	}
}

// publish publishes events in order and returns the ids of those that are out. It stops at the first that is not.
func (m *Manager) publish(ctx context.Context, events []Event) (paid []string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	for _, e := range events {
		if err := m.publishOne(ctx, e); err != nil {
			return paid, err
		}
		paid = append(paid, e.ID)
	}
	return paid, nil
}

// publishOne publishes one event. One that has been owed for long may be out already, and longer ago than the
// publisher remembers: the last event of its subject says so.
func (m *Manager) publishOne(ctx context.Context, e Event) error {
	ctx, span := m.span(ctx, "publish "+string(e.Type))
	defer span.End()
	if m.now().Sub(e.Time) > claimDuration {
		if last, err := m.publisher.LastID(ctx, e); err == nil && last == e.ID {
			return nil
		}
	}
	if err := m.publisher.Publish(ctx, e); err != nil {
		return fail(span, fmt.Errorf("publish %s: %w", e.Type, err))
	}
	m.log.InfoContext(ctx, string(e.Type), "grant", e.Grant, "tenant", e.Tenant, "client", e.Client, "vendor", e.Vendor,
		"generation", e.Generation, "reason", e.Reason)
	return nil
}

func unpaid(debts []Event, paid []string) []Event {
	return slices.DeleteFunc(debts, func(e Event) bool { return slices.Contains(paid, e.ID) })
}

// payClient publishes what a client's record owes.
func (m *Manager) payClient(ctx context.Context, cl *Client, r *clientRecord) {
	paid, err := m.publish(ctx, r.Debts)
	if err == nil {
		_, err = m.updateClient(ctx, cl, func(c *clientRecord) bool {
			before := len(c.Debts)
			c.Debts = unpaid(c.Debts, paid)
			return len(c.Debts) < before
		})
	}
	if err != nil {
		m.log.WarnContext(ctx, "an event about a client is owed and will be published later", "client", cl.Name, "error", err)
	}
}

// keptResult is the form of a result in the spool. Its secret part is that of a grant's record.
type keptResult struct {
	Format     int           `json:"format"`
	Kind       origin        `json:"kind"`
	Grant      string        `json:"grant"`
	Attempt    attempt       `json:"attempt"`
	Consent    string        `json:"consent"`
	Generation uint64        `json:"generation"`
	Sent       time.Time     `json:"sent"`
	Failure    *VendorError  `json:"failure,omitempty"`
	Rotates    bool          `json:"rotates,omitempty"`
	Rotated    bool          `json:"rotated,omitempty"`
	TokenType  string        `json:"token_type,omitempty"`
	ExpiresIn  time.Duration `json:"expires_in,omitempty"`
	Default    time.Duration `json:"default_lifetime,omitempty"`
	Scope      []string      `json:"scope,omitempty"`
	APIBaseURL string        `json:"api_base_url,omitempty"`
	AccountID  string        `json:"account_id,omitempty"`
	Blank      *grant        `json:"blank,omitempty"`
	ConsentFor time.Duration `json:"consent_lifetime,omitempty"`
}

// keep puts a result into the spool and has it replayed.
func (m *Manager) keep(r result) error {
	k := keptResult{
		Format: grantFormat, Kind: r.kind, Grant: r.grant, Attempt: r.attempt, Consent: r.consent, Generation: r.generation,
		Sent: r.sent, Failure: r.failure, Rotates: r.rotates, Rotated: !r.response.RefreshToken.IsZero() && !r.response.RefreshToken.Equal(r.presented),
		TokenType: r.response.TokenType, ExpiresIn: r.response.ExpiresIn, Default: r.defaultLifetime, Scope: r.response.Scope,
		APIBaseURL: r.response.APIBaseURL, AccountID: r.response.AccountID, Blank: r.blank, ConsentFor: r.consentLifetime,
	}
	public, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("encode the outcome of grant %s: %w", r.grant, err)
	}
	secret, err := encodeTokens(tokens{Access: r.response.AccessToken, Refresh: r.response.RefreshToken})
	if err != nil {
		return fmt.Errorf("encode the outcome of grant %s: %w", r.grant, err)
	}
	m.flightMu.Lock()
	first := len(m.spooled) == 0
	m.spooled[r.attempt.ID] = struct{}{}
	m.flightMu.Unlock()
	err = m.spool.Put(Record{Key: r.grant + "." + r.attempt.ID, Public: public, Secret: secret})
	if first && m.background.Err() == nil {
		m.tasks.Go(m.replayAll)
	}
	return err
}

func (k keptResult) result(t tokens) result {
	r := result{
		kind: k.Kind, grant: k.Grant, attempt: k.Attempt, consent: k.Consent, generation: k.Generation, sent: k.Sent,
		failure: k.Failure, rotates: k.Rotates, defaultLifetime: k.Default, blank: k.Blank, consentLifetime: k.ConsentFor,
		response: TokenResponse{AccessToken: t.Access, TokenType: k.TokenType, ExpiresIn: k.ExpiresIn, Scope: k.Scope,
			APIBaseURL: k.APIBaseURL, AccountID: k.AccountID, RefreshToken: t.Refresh},
	}
	if !k.Rotated {
		r.presented = t.Refresh
	}
	return r
}

// replayAll replays the spool until it is empty or the Manager closes.
func (m *Manager) replayAll() {
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		select {
		case <-m.background.Done():
			return
		case <-time.After(jitter(pause)):
		}
		if err := m.replay(m.background); err == nil {
			m.log.Info("what could not be committed is committed now")
			return
		}
	}
}

// replay commits what the spool keeps. An entry goes when it is written, or has no place any more.
func (m *Manager) replay(ctx context.Context) error {
	records, err := m.spool.All()
	for _, rec := range records {
		if rerr := m.replayOne(ctx, rec); rerr != nil {
			err = errors.Join(err, rerr)
		}
	}
	return err
}

func (m *Manager) replayOne(ctx context.Context, rec Record) error {
	var k keptResult
	if err := decodePublic(rec, &k, func() int { return k.Format }, grantFormat); err != nil {
		return err
	}
	t, err := decodeTokens(rec.Secret)
	if err != nil {
		return fmt.Errorf("kept outcome %s: %w", rec.Key, err)
	}
	ctx, cancel := context.WithTimeout(ctx, commitWithin)
	defer cancel()
	e, err := m.commitNow(ctx, k.result(t))
	var refused *Error
	if err != nil && !errors.As(err, &refused) {
		return fmt.Errorf("commit the kept outcome of grant %s: %w", k.Grant, err)
	}
	if err := m.spool.Remove(rec.Key); err != nil {
		return err
	}
	m.flightMu.Lock()
	delete(m.spooled, k.Attempt.ID)
	m.flightMu.Unlock()
	m.follow(ctx, e)
	return nil
}

// ownerFolder is the part of a claim's owner that names its data folder.
func ownerFolder(owner string) string {
	folder, _, _ := strings.Cut(owner, "/")
	return folder
}
