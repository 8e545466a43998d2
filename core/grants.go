package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// load returns the grant: from memory while the watch is heard, else from the store. ErrNoRecord where there is none.
func (m *Manager) load(ctx context.Context, id string) (*entry, error) {
	if m.cache.fresh() {
		if e := m.cache.get(id); e != nil {
			return e, nil
		}
	}
	return m.read(ctx, id)
}

// read returns the grant as the store has it now.
func (m *Manager) read(ctx context.Context, id string) (*entry, error) {
	for {
		before := m.cache.revision(id)
		g, err := m.fetch(ctx, id)
		if err != nil {
			return nil, err
		}
		if g.revision < before && m.cache.get(id) == nil {
			m.cache.correct(id, g, before) // the store went back in time
		}
		if e := m.cache.read(g); e != nil {
			return e, nil
		}
	}
}

func (m *Manager) fetch(ctx context.Context, id string) (*grant, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	rec, err := m.store.Get(ctx, kindGrant+id)
	if err != nil {
		return nil, fmt.Errorf("read grant %s: %w", id, err)
	}
	m.outbox.seen(id, rec)
	return decodeGrant(rec)
}

// write stores g by compare-and-set on the revision it was read at. g must not be changed afterwards.
func (m *Manager) write(ctx context.Context, g *grant) (*entry, error) {
	rec, err := g.record()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	at := time.Now()
	w := m.outbox.begin(g, rec)
	rev, err := m.store.Put(ctx, rec)
	m.outbox.ended(w, g, m.now(), err)
	if errors.Is(err, ErrConflict) {
		// Whoever decides anew is to see what was written meanwhile, even before the watch tells it.
		stored, rerr := m.fetch(ctx, g.ID)
		if rerr != nil && !errors.Is(rerr, ErrNoRecord) {
			return nil, rerr
		}
		m.cache.correct(g.ID, stored, g.revision)
	}
	if err != nil {
		return nil, fmt.Errorf("write grant %s: %w", g.ID, err)
	}
	g.revision, g.time, g.moved = rev, m.now(), nil
	if e := m.cache.wrote(g, at); e != nil {
		return e, nil
	}
	return m.read(ctx, g.ID)
}

// change reads, changes and writes a grant until no other write comes between. change returns false where nothing is
// to be written.
func (m *Manager) change(ctx context.Context, id string, change func(e *entry, g *grant) (bool, error)) (*entry, error) {
	e, err := m.load(ctx, id)
	for current := false; err == nil; current = true {
		g := e.edit()
		do, cerr := change(e, g)
		if current && (cerr != nil || !do) {
			return e, cerr
		}
		if cerr == nil && do {
			written, werr := m.write(ctx, g)
			if werr == nil {
				return written, nil
			}
			if !errors.Is(werr, ErrConflict) {
				return nil, werr
			}
		}
		// What is in memory may be behind: that there is nothing to do, only the store can say.
		e, err = m.read(ctx, id)
	}
	return nil, err
}

// storeError is what a caller gets where the store did not answer or a record could not be read.
func (m *Manager) storeError(ctx context.Context, err error) error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, ErrDamaged):
		m.seldom.damaged.Do(func() {
			m.log.ErrorContext(ctx, "a record cannot be read; it is kept as it is, and whoever asks for it is told server_error", "error", err)
		})
		return Errorf(ServerError, "the grant's record cannot be read; the operator finds it in esignd's log")
	}
	m.seldom.store.Do(func() {
		m.log.WarnContext(ctx, "the store did not answer; callers who need it are told to ask again, and nothing is refreshed until it does", "error", err)
	})
	return &Error{
		Code: TemporarilyUnavailable, Reason: "store_unavailable", RetryAfter: time.Second,
		Description: "esignd's store does not answer; ask again", err: err,
	}
}

// target is a grant that a request named.
type target struct {
	id      string
	tenant  string
	account string
	client  *Client // nil: not in the configuration
	entry   *entry  // nil: there is no record yet
	place   *place  // where its flight waits for a slot; nil: nothing flies
	awaited bool    // another's claim was in the way of its flight
}

// find resolves a selector. A grant that is unknown, forgotten or another tenant's is NotFound, and so is a client
// that is unknown or not for this tenant; mustClient false lets a grant pass whose client left the configuration.
func (m *Manager) find(ctx context.Context, sel Selector, mustClient bool) (*target, error) {
	t := &target{id: sel.Grant, tenant: sel.Tenant}
	if sel.Grant == "" {
		cl, err := m.selectClient(sel)
		if err != nil {
			return nil, err
		}
		t.client, t.account, t.id = cl, sel.Account, GrantID(sel.Tenant, sel.Client, sel.Account)
	} else if sel.Client != "" || sel.Account != "" {
		return nil, FieldErrorf("grant", "give either grant, or client and account")
	}
	e, err := m.load(ctx, t.id)
	switch {
	case errors.Is(err, ErrNoRecord), err == nil && (e.g.Forgotten || e.g.Tenant != sel.Tenant):
		if t.client != nil && t.client.GrantType == ClientCredentials {
			if err == nil {
				t.entry = e
			}
			return t, nil
		}
		return nil, notFound()
	case err != nil:
		return nil, m.storeError(ctx, err)
	}
	t.entry, t.account = e, e.g.Account
	if t.client = m.clientOf(e.g); t.client == nil && mustClient {
		return nil, Errorf(NotFound, "client %q of this grant is not in the configuration, or not for this tenant", e.g.Client)
	}
	return t, nil
}

func notFound() error {
	return Errorf(NotFound, "there is no such grant; it may have been forgotten, or never authorized")
}

// selectClient finds the client that a selector names, and checks that its account fits.
func (m *Manager) selectClient(sel Selector) (*Client, error) {
	if sel.Client == "" {
		return nil, FieldErrorf("client", "name a grant, or a client and its account")
	}
	cl := m.clientFor(sel.Tenant, sel.Client)
	if cl == nil {
		return nil, Errorf(NotFound, "client %q is not in the configuration, or not for this tenant", sel.Client)
	}
	if cl.GrantType == ClientCredentials && sel.Account != "" {
		return nil, FieldErrorf("account", "client %q has no accounts: its grant type is client_credentials", sel.Client)
	}
	if cl.GrantType != ClientCredentials && sel.Account == "" {
		return nil, FieldErrorf("account", "client %q has a grant for each account: name one", sel.Client)
	}
	return cl, nil
}

// clientFor returns the client if the tenant may use it, else nil.
func (m *Manager) clientFor(tenant, name string) *Client {
	cl := m.clients[name]
	if cl == nil || !slices.Contains(cl.Tenants, tenant) {
		return nil
	}
	return cl
}

// clientOf returns the client of a grant, nil where it is not configured any more, or its name is another vendor's now.
func (m *Manager) clientOf(g *grant) *Client {
	cl := m.clientFor(g.Tenant, g.Client)
	if cl == nil || g.Vendor != "" && cl.Vendor != g.Vendor {
		return nil
	}
	return cl
}

// blank returns the grant of a target that has no record, or only a tombstone, which keeps its generation.
func (t *target) blank() *grant {
	g := &grant{ID: t.id}
	if t.entry != nil {
		old := t.entry.g
		g.Generation, g.Ends, g.revision, g.Debts = old.Generation, old.Ends, old.revision, old.Debts
	}
	g.Tenant, g.Client, g.Vendor, g.Account = t.tenant, t.client.Name, t.client.Vendor, t.account
	return g
}

// Grant returns what may be shown of a grant.
func (m *Manager) Grant(ctx context.Context, sel Selector) (GrantInfo, error) {
	t, err := m.find(ctx, sel, false)
	if err != nil {
		return GrantInfo{}, err
	}
	if t.entry == nil {
		return GrantInfo{}, notFound()
	}
	return m.info(t.entry), nil
}

// info returns what may be shown of a grant.
func (m *Manager) info(e *entry) GrantInfo {
	g := e.g
	i := GrantInfo{
		Grant: g.ID, Tenant: g.Tenant, Client: g.Client, Vendor: g.Vendor, Account: g.Account, State: g.State,
		Reason: g.Reason, Scope: slices.Clone(g.Scope), Generation: g.Generation, ConsentExpiresAt: g.ConsentExpiresAt,
		Attempts: g.Failures.Count, LastError: g.Failures.Code, NextAttempt: m.nextAttempt(e),
		LastEvent: g.LastEvent, LastEventAt: g.LastEventAt,
	}
	if !g.tokens.Access.IsZero() && g.State != Revoked {
		i.IssuedAt, i.ExpiresAt = g.IssuedAt, g.expiresAt()
	}
	if g.doubtful() {
		i.Warnings = append(i.Warnings, WarnOutcomeUnknown)
	}
	if g.RevocationOwed {
		i.Warnings = append(i.Warnings, WarnVendorRevocationPending)
	}
	switch cl := m.clientOf(g); {
	case cl == nil:
		i.Warnings = append(i.Warnings, WarnClientNotConfigured)
	case m.suspended(cl) != nil:
		i.Warnings = append(i.Warnings, WarnClientSuspended)
	}
	return i
}

// nextAttempt is when a grant is tried again of which an attempt failed, or is held back; zero where nothing is planned.
func (m *Manager) nextAttempt(e *entry) time.Time {
	g, cl := e.g, m.clientOf(e.g)
	if g.State != Active || cl == nil {
		return g.Failures.Next
	}
	md, known := m.knownMetadata(cl.Vendor)
	if !known || m.spent(g, cl) {
		return g.Failures.Next
	}
	wait, planned := m.refreshIn(e, cl, md)
	held := time.Duration(0)
	if planned && wait <= dueSlack {
		held = m.heldBack(e, cl)
	}
	switch {
	case held > 0:
		return m.now().Add(held)
	case g.Failures.Count == 0:
		return time.Time{}
	case cl.Policy == Lazy && !m.lastTryOnly(g, cl, md):
		return m.now().Add(max(0, m.until(g.Failures.Next))) // whoever asks is what it waits for
	case planned && m.until(g.Failures.Next) < wait:
		return m.now().Add(wait) // it is not due before
	case planned && m.until(g.Failures.Next) <= 0:
		return m.now()
	}
	return g.Failures.Next
}

// Bounds of a list.
const (
	listDefault = 100
	listMost    = 1000
)

// Grants lists grants in the order of their ids, and a cursor where there are more.
func (m *Manager) Grants(_ context.Context, f GrantFilter) ([]GrantInfo, string, error) {
	if f.Limit < 0 || f.Limit > listMost {
		return nil, "", FieldErrorf("limit", "%d is not between 1 and %d", f.Limit, listMost)
	}
	if f.State != "" && !slices.Contains(States(), f.State) {
		return nil, "", FieldErrorf("state", "%q is none of %v", f.State, States())
	}
	limit := f.Limit
	if limit == 0 {
		limit = listDefault
	}
	var ids []string
	for e := range m.cache.each() {
		if f.takes(e.g) {
			ids = append(ids, e.g.ID)
		}
	}
	slices.Sort(ids)
	cursor := ""
	if len(ids) > limit {
		ids = ids[:limit]
		cursor = ids[limit-1]
	}
	infos := make([]GrantInfo, 0, len(ids))
	for _, id := range ids {
		if e := m.cache.look(id); e != nil && !e.g.Forgotten {
			infos = append(infos, m.info(e))
		}
	}
	return infos, cursor, nil
}

// takes reports whether the filter selects a grant.
func (f GrantFilter) takes(g *grant) bool {
	return !g.Forgotten && (f.Tenant == "" || g.Tenant == f.Tenant) && (f.Client == "" || g.Client == f.Client) &&
		(f.Vendor == "" || g.Vendor == f.Vendor) && (f.State == "" || g.State == f.State) && g.ID > f.Cursor
}
