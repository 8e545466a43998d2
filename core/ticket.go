package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// mostStates is how many visits of one connect URL can be open at once; an older one gives way.
const mostStates = 16

// ticketFormat is the format of a ticket's record that this release writes; the rule is that of grantFormat.
const ticketFormat = 1

// ticket is an authorization in progress: there is one per grant. It never touches the grant, which may be active.
type ticket struct {
	Format   int      `json:"format"`
	Grant    string   `json:"grant"`
	Tenant   string   `json:"tenant"`
	Client   string   `json:"client"`
	Account  string   `json:"account"`
	Scopes   []string `json:"scopes,omitempty"`
	ReturnTo string   `json:"return_to,omitempty"`
	// LinkUntil is when the connect URL ends, and ExpiresAt when the last of its visits does.
	LinkUntil time.Time `json:"link_until"`
	ExpiresAt time.Time `json:"expires_at"`
	// States are the redirects to the vendor that may still come back. Each is known by its digest.
	States []openState `json:"states,omitempty"`

	secret   ticketSecret
	unknown  members // of the next format
	revision uint64
}

// openState is one redirect to the vendor.
type openState struct {
	Digest      string    `json:"digest"`        // of the OAuth state
	Cookie      string    `json:"cookie_digest"` // of the browser's cookie; empty where a service has its own callback
	RedirectURI string    `json:"redirect_uri"`
	Scopes      []string  `json:"scopes,omitempty"` // what this person is asked for; none: the client's
	ExpiresAt   time.Time `json:"expires_at"`
}

// ticketSecret is the sealed part of a ticket's record.
type ticketSecret struct {
	Ticket string `json:"ticket"`
	// Verifiers are the PKCE code verifiers (RFC 7636 §4.1), by the digest of their state.
	Verifiers map[string]string `json:"verifiers,omitempty"`
}

func (m *Manager) readTicket(ctx context.Context, grant string) (*ticket, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	rec, err := m.store.Get(ctx, kindTicket+grant)
	if err != nil {
		return nil, fmt.Errorf("read the ticket of grant %s: %w", grant, err)
	}
	t := &ticket{}
	if t.unknown, err = decodePublic(rec, t, &t.Format, ticketFormat); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(rec.Secret, &t.secret); err != nil {
		return nil, fmt.Errorf("record %s: %w", rec.Key, ErrDamaged)
	}
	t.revision = rec.Revision
	if !m.now().Before(t.ExpiresAt) {
		return t, fmt.Errorf("the ticket of grant %s has expired: %w", grant, ErrNoRecord)
	}
	return t, nil
}

func (m *Manager) writeTicket(ctx context.Context, t *ticket) error {
	t.Format = max(t.Format, ticketFormat)
	public, err := encodePublic(t, t.unknown)
	if err != nil {
		return fmt.Errorf("encode the ticket of grant %s: %w", t.Grant, err)
	}
	secret, err := json.Marshal(t.secret)
	if err != nil {
		return fmt.Errorf("encode the ticket of grant %s: %w", t.Grant, err)
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	ttl := max(t.ExpiresAt.Sub(m.now()), time.Second) + time.Minute
	t.revision, err = m.store.Put(ctx, Record{Key: kindTicket + t.Grant, Public: public, Secret: secret, TTL: ttl, Revision: t.revision})
	if err != nil {
		return fmt.Errorf("write the ticket of grant %s: %w", t.Grant, err)
	}
	return nil
}

// dropTicket ends an authorization in progress, with whatever visits were made meanwhile: who has its link must not keep
// it open by visits. Where that fails the ticket ends by itself.
func (m *Manager) dropTicket(ctx context.Context, grant string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	err := ErrConflict
	for errors.Is(err, ErrConflict) && ctx.Err() == nil {
		var rec Record
		if rec, err = m.store.Get(ctx, kindTicket+grant); err == nil {
			err = m.store.Delete(ctx, rec.Key, rec.Revision)
		}
	}
	if err != nil && !errors.Is(err, ErrNoRecord) {
		m.log.DebugContext(ctx, "a spent ticket ends by itself", "grant", grant, "error", err)
	}
}

// changeTicket changes a ticket by compare-and-set. change gets nil where there is none and returns the one to be
// written, or nil where nothing is.
func (m *Manager) changeTicket(ctx context.Context, grant string, change func(*ticket) (*ticket, error)) error {
	for {
		t, err := m.readTicket(ctx, grant)
		expired := uint64(0)
		switch {
		case errors.Is(err, ErrNoRecord):
			if t != nil {
				expired, t = t.revision, nil
			}
		case err != nil:
			return m.storeError(ctx, err)
		}
		next, err := change(t)
		if err != nil || next == nil {
			return err
		}
		if t == nil {
			next.revision = expired
		}
		err = m.writeTicket(ctx, next)
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return m.storeError(ctx, err)
		}
		return nil
	}
}

// ticketAsk is what a new authorization changes in a ticket.
type ticketAsk struct {
	scopes   []string
	returnTo string
	given    bool // by Authorize; otherwise a ticket that is open stays as it is
	// redirectURI is a service's own callback; it opens a state at once.
	redirectURI string
}

// openTicket returns the authorization in progress of a grant, beginning one where there is none. The same ticket is
// given for ten minutes.
func (m *Manager) openTicket(ctx context.Context, tg *target, ask ticketAsk) (Authorization, error) {
	if tg.client.GrantType != AuthorizationCode || m.publicURL == "" && ask.redirectURI == "" {
		return Authorization{}, Errorf(Unsupported, "there is no connect flow: http.public_url is not set, or the client has no accounts")
	}
	a := Authorization{Grant: tg.id}
	var st openState
	err := m.changeTicket(ctx, tg.id, func(t *ticket) (*ticket, error) {
		open := t != nil
		if !open {
			t = &ticket{Grant: tg.id, Tenant: tg.tenant, Client: tg.client.Name, Account: tg.account,
				ExpiresAt: m.now().Add(ticketLife)}
		}
		open = open && m.now().Before(t.LinkUntil)
		if !open {
			t.secret.Ticket, t.LinkUntil = tg.id+"."+randomSecret(), m.now().Add(ticketLife)
			t.ExpiresAt = t.LinkUntil
		}
		if ask.given {
			t.Scopes, t.ReturnTo = ask.scopes, ask.returnTo
		}
		a.ExpiresAt = t.LinkUntil
		if m.publicURL != "" {
			a.ConnectURL = m.publicPath("connect", t.secret.Ticket)
		}
		if ask.redirectURI != "" {
			st, a.State = t.open(m.now(), ask.redirectURI, "")
			return t, nil
		}
		if open && !ask.given {
			return nil, nil
		}
		return t, nil
	})
	if err != nil || ask.redirectURI == "" {
		return a, err
	}
	a.AuthorizationURL, err = m.authorizationURL(ctx, tg.client, tg.id, st, a.State)
	return a, err
}

// open adds a state to the ticket and returns it with its value, which is kept nowhere.
func (t *ticket) open(now time.Time, redirectURI, cookie string) (openState, string) {
	state := t.Grant + "." + randomSecret()
	s := openState{Digest: s256(state), RedirectURI: redirectURI, Scopes: t.Scopes, ExpiresAt: now.Add(ticketLife)}
	if cookie != "" {
		s.Cookie = s256(cookie)
	}
	if s.ExpiresAt.After(t.ExpiresAt) {
		t.ExpiresAt = s.ExpiresAt // who is at the vendor's page has ten minutes from there
	}
	t.States = append(t.States, s)
	if extra := len(t.States) - mostStates; extra > 0 {
		for _, old := range t.States[:extra] {
			delete(t.secret.Verifiers, old.Digest)
		}
		t.States = slices.Delete(t.States, 0, extra)
	}
	if t.secret.Verifiers == nil {
		t.secret.Verifiers = map[string]string{}
	}
	t.secret.Verifiers[s.Digest] = randomSecret()
	return s, state
}

// take removes the state from the ticket: an answer is taken once. It returns nil where the state is not open.
func (t *ticket) take(now time.Time, state string) (*openState, string) {
	digest := s256(state)
	i := slices.IndexFunc(t.States, func(s openState) bool { return s.Digest == digest })
	if i < 0 || !now.Before(t.States[i].ExpiresAt) {
		return nil, ""
	}
	s, verifier := t.States[i], t.secret.Verifiers[digest]
	t.States = slices.Delete(t.States, i, i+1)
	delete(t.secret.Verifiers, digest)
	return &s, verifier
}
