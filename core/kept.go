package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

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
	Client     string        `json:"client,omitempty"`
	SentTo     string        `json:"sent_to,omitempty"`
	Ends       uint64        `json:"ends,omitempty"`
	Begun      time.Time     `json:"begun,omitzero"`
	Blank      *grant        `json:"blank,omitempty"`
	ConsentFor time.Duration `json:"consent_lifetime,omitempty"`
}

// keep puts a result into the spool and has it replayed.
func (m *Manager) keep(r result) error {
	k := keptResult{
		Format: grantFormat, Kind: r.kind, Grant: r.grant, Attempt: r.attempt, Consent: r.consent, Generation: r.generation,
		Sent: r.sent, Failure: r.failure, Rotates: r.rotates, Rotated: r.rotated, Client: r.client, SentTo: r.apiBaseURL, Ends: r.ends, Begun: r.begun,
		TokenType: r.response.TokenType, ExpiresIn: r.response.ExpiresIn, Default: r.defaultLifetime, Scope: r.response.Scope,
		APIBaseURL: r.response.APIBaseURL, AccountID: r.response.AccountID, Blank: r.blank, ConsentFor: r.consentLifetime,
	}
	public, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("encode the outcome of grant %s: %w", r.grant, err)
	}
	secret, err := encodeTokens(tokens{Access: r.response.AccessToken, Refresh: r.response.RefreshToken, Imported: r.presented})
	if err != nil {
		return fmt.Errorf("encode the outcome of grant %s: %w", r.grant, err)
	}
	err = m.spool.Put(Record{Key: spoolKey(r.grant, r.attempt.ID), Public: public, Secret: secret})
	m.flightMu.Lock()
	m.kept[r.attempt.ID] = kept{result: r, onDisk: err == nil}
	m.flightMu.Unlock()
	m.replayLater()
	return err
}

func spoolKey(grant, attempt string) string { return grant + "." + attempt }

// kept is an outcome that waits to be committed. One that the spool did not take is in memory alone.
type kept struct {
	result result
	onDisk bool
}

func (k keptResult) result(t tokens) result {
	r := result{
		kind: k.Kind, grant: k.Grant, attempt: k.Attempt, consent: k.Consent, generation: k.Generation, sent: k.Sent,
		failure: k.Failure, rotates: k.Rotates, defaultLifetime: k.Default, blank: k.Blank, consentLifetime: k.ConsentFor,
		rotated: k.Rotated, client: k.Client, apiBaseURL: k.SentTo, ends: k.Ends, presented: t.Imported, begun: k.Begun,
		response: TokenResponse{AccessToken: t.Access, TokenType: k.TokenType, ExpiresIn: k.ExpiresIn, Scope: k.Scope,
			APIBaseURL: k.APIBaseURL, AccountID: k.AccountID, RefreshToken: t.Refresh},
	}
	return r
}

// replayLater has what waits committed, until nothing waits or the Manager closes.
func (m *Manager) replayLater() {
	m.flightMu.Lock()
	defer m.flightMu.Unlock()
	if m.replaying || m.background.Err() != nil {
		return
	}
	m.replaying = true
	m.tasks.Go(m.replayAll)
}

func (m *Manager) replayAll() {
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 15*time.Second) {
		select {
		case <-m.background.Done():
			return
		case <-time.After(jitter(pause)):
		}
		if err := m.replay(m.background); err == nil && m.nothingKept() {
			m.log.Info("what could not be committed is committed now")
			return
		}
	}
}

// nothingKept reports whether nothing waits any more, and if so that nobody commits it.
func (m *Manager) nothingKept() bool {
	m.flightMu.Lock()
	defer m.flightMu.Unlock()
	m.replaying = len(m.kept) > 0
	return !m.replaying
}

// replay commits what waits. An entry goes when it is written, or has no place any more.
func (m *Manager) replay(ctx context.Context) error {
	records, err := m.spool.All()
	for _, rec := range records {
		if rerr := m.replayRecord(ctx, rec); rerr != nil {
			err = errors.Join(err, rerr)
		}
	}
	for _, r := range m.inMemory() {
		if rerr := m.replayResult(ctx, r); rerr != nil {
			err = errors.Join(err, rerr, m.keep(r)) // the spool may take it by now
		}
	}
	return err
}

// keepRest gives the spool what it did not take before, at the end of this process.
func (m *Manager) keepRest() error {
	var errs []error
	for _, r := range m.inMemory() {
		errs = append(errs, m.keep(r))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("keep the outcomes that could not be committed: %w", err)
	}
	return nil
}

// inMemory returns what waits and is not on disk.
func (m *Manager) inMemory() []result {
	m.flightMu.Lock()
	defer m.flightMu.Unlock()
	var rs []result
	for _, k := range m.kept {
		if !k.onDisk {
			rs = append(rs, k.result)
		}
	}
	return rs
}

func (m *Manager) replayRecord(ctx context.Context, rec Record) error {
	var k keptResult
	if _, err := decodePublic(rec, &k, &k.Format, grantFormat); err != nil {
		return err
	}
	t, err := decodeTokens(rec.Secret)
	if err != nil {
		return fmt.Errorf("kept outcome %s: %w", rec.Key, err)
	}
	m.flightMu.Lock()
	m.kept[k.Attempt.ID] = kept{onDisk: true} // its claim is not settled for dead: the outcome is here
	m.flightMu.Unlock()
	return m.replayResult(ctx, k.result(t))
}

// replayResult commits an outcome that was kept, and lets go of it.
func (m *Manager) replayResult(ctx context.Context, r result) error {
	ctx, cancel := context.WithTimeout(ctx, commitWithin)
	defer cancel()
	r.replayed = true
	e, err := m.commitNow(ctx, r)
	var refused *Error
	if err != nil && !errors.As(err, &refused) {
		return fmt.Errorf("commit the kept outcome of grant %s: %w", r.grant, err)
	}
	if err := m.spool.Remove(spoolKey(r.grant, r.attempt.ID)); err != nil {
		return fmt.Errorf("remove the kept outcome of grant %s: %w", r.grant, err)
	}
	m.flightMu.Lock()
	delete(m.kept, r.attempt.ID)
	m.flightMu.Unlock()
	m.follow(ctx, e)
	return nil
}
