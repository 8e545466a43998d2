package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"golang.org/x/sync/semaphore"
)

// newConsent begins a result that is a consent of its own.
func (m *Manager) newConsent(kind origin, t *target, md Metadata) result {
	blank := &grant{ID: t.id, Tenant: t.tenant, Client: t.client.Name, Vendor: t.client.Vendor, Account: t.account}
	r := result{
		kind: kind, grant: t.id, attempt: attempt{ID: randomID()}, consent: randomID(), sent: time.Now(), begun: m.now(), blank: blank,
		defaultLifetime: md.AccessLifetime, consentLifetime: md.ConsentLifetime, client: t.client.Name,
	}
	if t.entry != nil {
		r.ends = t.entry.g.Ends
	}
	return r
}

// Import takes over a grant that was consented to elsewhere. The refresh token that is there already is taken for the
// same import again. Without an access token, the grant is refreshed before the answer.
func (m *Manager) Import(ctx context.Context, r ImportRequest) (GrantInfo, error) {
	ctx, span := m.span(ctx, "import")
	defer span.End()
	// One import of a grant at a time: the same refresh token must not be presented twice because two callers brought it.
	turn := m.turnOf(GrantID(r.Tenant, r.Client, r.Account))
	if err := turn.Acquire(ctx, 1); err != nil {
		return GrantInfo{}, fail(span, Errorf(TemporarilyUnavailable, "another import of this grant is under way; ask again"))
	}
	defer turn.Release(1)
	t, err := m.checkImport(ctx, r)
	if err != nil {
		return GrantInfo{}, fail(span, err)
	}
	if t.entry != nil && sameImport(t.entry.g, r) {
		return m.info(t.entry), nil
	}
	if err := m.begin(); err != nil {
		return GrantInfo{}, fail(span, err)
	}
	defer m.work.Done()
	ctx = context.WithoutCancel(ctx)
	if r.AccessToken.IsZero() {
		release, err := m.claimImport(ctx, t.id)
		if err != nil {
			return GrantInfo{}, fail(span, m.storeError(ctx, err))
		}
		defer release()
		// What another replica imported while this one waited is there now.
		if _, err := m.read(ctx, t.id); err != nil && !errors.Is(err, ErrNoRecord) {
			return GrantInfo{}, fail(span, m.storeError(ctx, err))
		}
		if t, err = m.checkImport(ctx, r); err != nil {
			return GrantInfo{}, fail(span, err)
		}
		if t.entry != nil && sameImport(t.entry.g, r) {
			return m.info(t.entry), nil
		}
	}
	e, err := m.importGrant(ctx, t, r)
	if err != nil {
		return GrantInfo{}, fail(span, err)
	}
	return m.info(e), nil
}

// importClaimPoll is how often a replica looks whether another has ended its import.
const importClaimPoll = 100 * time.Millisecond

// claimImport gets the right to present an imported refresh token of a grant, over all replicas. It is a record of its own,
// since a grant that is imported may have none yet, and one that is there must not be disturbed by an import that the
// vendor refuses. A claim whose owner is gone is taken over when it was seen unchanged for as long as a claim lasts.
func (m *Manager) claimImport(ctx context.Context, grant string) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, refreshWithin)
	defer cancel()
	public, err := json.Marshal(importClaim{Format: grantFormat, Owner: m.owner, ID: randomID()})
	if err != nil {
		return nil, fmt.Errorf("encode the claim of an import: %w", err)
	}
	rec := Record{Key: kindImport + grant, Public: public, TTL: ticketLife}
	var held uint64 // the revision of another's claim
	var since time.Time
	for {
		revision, err := m.store.Put(ctx, rec)
		if err == nil {
			return func() { m.endImport(rec.Key, revision) }, nil
		}
		if !errors.Is(err, ErrConflict) {
			return nil, fmt.Errorf("claim the import of grant %s: %w", grant, err)
		}
		other, err := m.store.Get(ctx, rec.Key)
		switch {
		case errors.Is(err, ErrNoRecord):
			rec.Revision = 0
			continue
		case err != nil && !errors.Is(err, ErrDamaged):
			return nil, fmt.Errorf("claim the import of grant %s: %w", grant, err)
		case other.Revision != held:
			held, since, rec.Revision = other.Revision, time.Now(), 0
		case time.Since(since) > claimDuration:
			rec.Revision = held
			continue
		}
		select {
		case <-ctx.Done():
			return nil, &Error{Code: TemporarilyUnavailable, Reason: "timeout", RetryAfter: time.Second, err: ctx.Err(),
				Description: "another import of this grant is under way; ask again"}
		case <-time.After(jitter(importClaimPoll)):
		}
	}
}

// importClaim is the record of a claim.
type importClaim struct {
	Format int    `json:"format"`
	Owner  string `json:"owner"`
	ID     string `json:"id"`
}

// endImport lets go of a claim. One that could not be removed dies by itself.
func (m *Manager) endImport(key string, revision uint64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.background), storeTimeout)
	defer cancel()
	if err := m.store.Delete(ctx, key, revision); err != nil {
		m.log.DebugContext(ctx, "the claim of an import stays until it dies", "key", key, "error", err)
	}
}

// turnOf returns what imports and creations of a grant wait for. A few grants share one.
func (m *Manager) turnOf(grant string) *semaphore.Weighted {
	h := fnv.New32a()
	_, _ = h.Write([]byte(grant))
	return m.turns[h.Sum32()%uint32(len(m.turns))]
}

func sameImport(g *grant, r ImportRequest) bool {
	return !g.Forgotten && g.State == Active && (g.tokens.Refresh.Equal(r.RefreshToken) || g.tokens.Imported.Equal(r.RefreshToken))
}

func (m *Manager) checkImport(ctx context.Context, r ImportRequest) (*target, error) {
	cl, err := m.checkAuthorize(AuthorizeRequest{Tenant: r.Tenant, Client: r.Client, Account: r.Account})
	if err != nil {
		return nil, err
	}
	switch {
	case r.RefreshToken.IsZero():
		return nil, FieldErrorf("refresh_token", "is missing")
	case !r.ExpiresAt.IsZero() && r.AccessToken.IsZero():
		return nil, FieldErrorf("expires_at", "belongs to an access_token, and there is none")
	case !r.ExpiresAt.IsZero() && !r.ExpiresAt.After(m.now()):
		return nil, FieldErrorf("expires_at", "has passed; leave access_token out, and esignd gets a new one")
	}
	t := &target{id: GrantID(r.Tenant, cl.Name, r.Account), tenant: r.Tenant, account: r.Account, client: cl}
	e, err := m.read(ctx, t.id) // what is in memory may be behind
	if err != nil && !errors.Is(err, ErrNoRecord) {
		return nil, m.storeError(ctx, err)
	}
	if err == nil {
		t.entry = e
		if sameImport(e.g, r) {
			return t, nil
		}
		if err := guardActive(r.Replace)(e.g); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// guardActive refuses to import over an active grant, unless that is what was asked for.
func guardActive(replace bool) func(*grant) error {
	return func(g *grant) error {
		if replace || g.State != Active || g.Forgotten {
			return nil
		}
		return FieldErrorf("replace", `the grant is active with another refresh token; set "replace":true to replace it`)
	}
}

// importGrant commits the tokens as a new consent, after getting an access token where none was given.
func (m *Manager) importGrant(ctx context.Context, t *target, r ImportRequest) (*entry, error) {
	adapter, md, err := m.adapterOf(ctx, t.client)
	if err != nil {
		return nil, m.refusal(ctx, nil, err)
	}
	if !md.Supports(RefreshToken) {
		return nil, Errorf(Unsupported, "vendor %s has no refresh tokens", t.client.Vendor)
	}
	res := m.newConsent(byImport, t, md)
	res.presented = r.RefreshToken
	res.guard = guardActive(r.Replace)
	if res.response.APIBaseURL, err = m.checkBaseURL(ctx, adapter, t.client, r.APIBaseURL); err != nil {
		return nil, err
	}
	res.response.Scope = t.client.Scopes
	res.response.AccessToken, res.response.RefreshToken, res.response.TokenType = r.AccessToken, r.RefreshToken, "Bearer"
	if !r.ExpiresAt.IsZero() {
		res.response.ExpiresIn = r.ExpiresAt.Sub(m.now())
	}
	if r.AccessToken.IsZero() {
		if err := m.refreshImport(ctx, t, adapter, &res, r.RefreshToken); err != nil {
			return nil, err
		}
	}
	e, err := m.commit(ctx, res)
	if err != nil {
		var refused *Error
		if errors.As(err, &refused) {
			return nil, refused
		}
		return nil, m.storeError(ctx, err)
	}
	m.dropTicket(ctx, t.id)
	m.follow(ctx, e)
	return e, nil
}

// refreshImport presents the imported refresh token. What was refused is not kept: the caller has it still.
func (m *Manager) refreshImport(ctx context.Context, t *target, adapter Adapter, res *result, refresh Secret) error {
	release, err := m.takeCallerSlot(ctx, t.client)
	if err != nil {
		return m.refusal(ctx, nil, err)
	}
	defer release()
	sent := time.Now() // the token counts as old as it can be
	resp, v := m.callToken(ctx, t.client, nil, adapter, TokenRequest{
		Client: t.client.Credentials, GrantType: RefreshToken, RefreshToken: refresh, APIBaseURL: res.response.APIBaseURL,
	})
	if v != nil {
		m.noteFailure(ctx, t.client, sent, v, false)
		if v.Outcome == Refused && ruleFor(v).scope == scopeGrant {
			return FieldErrorf("refresh_token", "the vendor refuses it: it is dead, or another client's")
		}
		if _, md, err := m.adapterOf(ctx, t.client); v.Outcome == Unknown && (err != nil || m.rotates(&grant{}, t.client, md)) {
			return &Error{Code: TemporarilyUnavailable, Reason: ReasonOutcomeUnknown, RetryAfter: time.Minute, err: v,
				Description: "the vendor may have spent this refresh token; try it once more, and if that fails have the owner authorize"}
		}
		return m.refusal(ctx, nil, v)
	}
	given := res.response
	res.response, res.sent = resp, sent
	if res.response.RefreshToken.IsZero() {
		res.response.RefreshToken = given.RefreshToken
	}
	if res.response.Scope == nil {
		res.response.Scope = given.Scope
	}
	setIfGiven(&given.APIBaseURL, res.response.APIBaseURL)
	res.response.APIBaseURL = given.APIBaseURL
	res.rotated = changed(refresh, resp.RefreshToken)
	m.noteSuccess(ctx, t.client, sent, res.rotated, false)
	return nil
}

// checkBaseURL has the adapter check a host that came from outside.
func (m *Manager) checkBaseURL(ctx context.Context, a Adapter, cl *Client, raw string) (string, error) {
	if raw == "" {
		return "", nil
	}
	checker, ok := a.(HostChecker)
	if !ok {
		return "", FieldErrorf("api_base_url", "vendor %s has no host of an account's own; leave it out", cl.Vendor)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	u, err := checker.CheckAPIBaseURL(ctx, cl.Credentials, raw)
	if errors.Is(err, errors.ErrUnsupported) {
		return "", FieldErrorf("api_base_url", "vendor %s has no host of an account's own; leave it out", cl.Vendor)
	}
	if err != nil {
		return "", FieldErrorf("api_base_url", "is not a host of vendor %s", cl.Vendor)
	}
	return u, nil
}
