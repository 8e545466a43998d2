package core

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
)

// AccountAsk names an account at a client's vendor.
type AccountAsk struct {
	Tenant       string
	Client       string
	EmailAddress string
}

// VerifyAccount asks the vendor whether somebody has an account there. Unsupported where its adapter cannot.
func (m *Manager) VerifyAccount(ctx context.Context, r AccountAsk) (AccountLookup, error) {
	ctx, span := m.span(ctx, "account verify")
	defer span.End()
	cl, err := m.checkAccount(r)
	if err != nil {
		return AccountLookup{}, fail(span, err)
	}
	adapter, _, err := m.adapterOf(ctx, cl)
	if err != nil {
		return AccountLookup{}, fail(span, m.refusal(ctx, nil, err))
	}
	verifier, ok := adapter.(AccountVerifier)
	if !ok {
		return AccountLookup{}, fail(span, unableTo(cl, "say whether there is an account"))
	}
	if err := m.begin(); err != nil {
		return AccountLookup{}, fail(span, err)
	}
	defer m.work.Done()
	var found AccountLookup
	err = m.callForAccount(ctx, cl, func(ctx context.Context) error {
		var err error
		found, err = verifier.VerifyAccount(ctx, AccountRequest{Client: cl.Credentials, EmailAddress: r.EmailAddress})
		return err
	})
	if err != nil {
		return AccountLookup{}, fail(span, m.accountError(ctx, cl, err))
	}
	return found, nil
}

// CreateAccount makes an account at the vendor, with a grant that awaits its owner's confirmation and whose account is
// the e-mail address. A grant that awaits it already is the answer to asking again. Once begun it does not end with the
// caller.
func (m *Manager) CreateAccount(ctx context.Context, r AccountAsk) (GrantInfo, error) {
	ctx, span := m.span(ctx, "account create")
	defer span.End()
	turn := m.turnOf(GrantID(r.Tenant, r.Client, r.EmailAddress))
	if err := turn.Acquire(ctx, 1); err != nil {
		return GrantInfo{}, fail(span, Errorf(TemporarilyUnavailable, "this account is being created or imported; ask again"))
	}
	defer turn.Release(1)
	cl, err := m.checkAccount(r)
	if err != nil {
		return GrantInfo{}, fail(span, err)
	}
	if err := m.begin(); err != nil {
		return GrantInfo{}, fail(span, err)
	}
	defer m.work.Done()
	t := &target{id: GrantID(r.Tenant, cl.Name, r.EmailAddress), tenant: r.Tenant, account: r.EmailAddress, client: cl}
	e, err := m.createGrant(context.WithoutCancel(ctx), t)
	if err != nil {
		return GrantInfo{}, fail(span, err)
	}
	info := m.info(e)
	info.AccountID = e.g.AccountID
	return info, nil
}

func (m *Manager) createGrant(ctx context.Context, t *target) (*entry, error) {
	e, err := m.load(ctx, t.id)
	switch {
	case err != nil && !errors.Is(err, ErrNoRecord):
		return nil, m.storeError(ctx, err)
	case err == nil && e.g.State == AwaitingConfirmation:
		return e, nil
	case err == nil && e.g.State == Active:
		return nil, FieldErrorf("email_address", "there is an active grant for it already; ask for a token")
	case err == nil:
		t.entry = e
	}
	adapter, md, err := m.adapterOf(ctx, t.client)
	if err != nil {
		return nil, m.refusal(ctx, nil, err)
	}
	creator, ok := adapter.(AccountCreator)
	if !ok {
		return nil, unableTo(t.client, "create an account")
	}
	res := m.newConsent(byCreation, t, md)
	err = m.callForAccount(ctx, t.client, func(ctx context.Context) error {
		res.sent = time.Now()
		created, err := creator.CreateAccount(ctx, AccountRequest{Client: t.client.Credentials, EmailAddress: t.account})
		if err == nil && (created.AccountID == "" || created.Tokens.AccessToken.IsZero()) {
			err = &VendorError{Outcome: Unknown, Code: CodeMalformedResponse, Detail: "the answer holds no account, or no token"}
		}
		res.response = created.Tokens
		res.response.AccountID = created.AccountID
		return err
	})
	if err != nil {
		return nil, m.accountError(ctx, t.client, err)
	}
	if res.response.Scope == nil {
		res.response.Scope = t.client.Scopes
	}
	if e, err = m.commit(ctx, res); err != nil {
		return nil, m.storeError(ctx, err)
	}
	m.follow(ctx, e)
	return e, nil
}

func (m *Manager) checkAccount(r AccountAsk) (*Client, error) {
	cl := m.clientFor(r.Tenant, r.Client)
	name, host, at := strings.Cut(r.EmailAddress, "@")
	switch {
	case r.Client == "":
		return nil, FieldErrorf("client", "is missing")
	case cl == nil:
		return nil, Errorf(NotFound, "client %q is not in the configuration, or not for this tenant", r.Client)
	case cl.GrantType == ClientCredentials:
		return nil, Errorf(Unsupported, "client %q has no accounts: its grant type is client_credentials", r.Client)
	case r.EmailAddress == "":
		return nil, FieldErrorf("email_address", "is missing")
	case len(r.EmailAddress) > maxAccount:
		return nil, FieldErrorf("email_address", "is %d bytes; at most %d are taken", len(r.EmailAddress), maxAccount)
	case !at || name == "" || host == "" || strings.ContainsAny(r.EmailAddress, " \t\r\n"):
		return nil, FieldErrorf("email_address", "is not an e-mail address")
	}
	return cl, nil
}

func unableTo(cl *Client, what string) error {
	return Errorf(Unsupported, "the adapter of vendor %s cannot %s", cl.Vendor, what)
}

// callForAccount calls a vendor about an account: within a slot, and through the breaker of the client.
func (m *Manager) callForAccount(ctx context.Context, cl *Client, do func(context.Context) error) error {
	release, err := m.takeCallerSlot(ctx, cl)
	if err != nil {
		return err
	}
	defer release()
	sent := time.Now()
	err = m.callVendor(ctx, cl, nil, do)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		m.noteFailure(ctx, cl, sent, AsVendorError(err), false)
	}
	return err
}

// accountError is what a caller gets whose question about an account failed. A refusal is of the question, unless it is
// of our client.
func (m *Manager) accountError(ctx context.Context, cl *Client, err error) error {
	if errors.Is(err, errors.ErrUnsupported) {
		return unableTo(cl, "do this")
	}
	v := AsVendorError(err)
	switch {
	case v.Outcome == NotSent && v.Code == CodeInvalidRequest:
		return &Error{Code: InvalidRequest, Reason: v.Code, Description: v.Detail, err: v}
	case v.Outcome == Refused && v.Code == CodeAccessDenied:
		return &Error{Code: InvalidRequest, Reason: v.Code, err: v, Description: "the vendor does not let this client do it: " + v.Detail}
	case v.Outcome == Refused && !ruleFor(v).spares:
		return &Error{Code: InvalidRequest, Reason: v.Code, Field: "email_address", err: v,
			Description: "email_address: the vendor does not take it; it may have an account already, or be no address of a person"}
	}
	return m.refusal(ctx, nil, v)
}

// VendorEvent takes in what a client's vendor sent by itself, and returns the body with which the vendor wants to be
// answered. An error says that the event is not the vendor's (AccessDenied), cannot be read (InvalidRequest), or is to
// be sent again (TemporarilyUnavailable).
func (m *Manager) VendorEvent(ctx context.Context, client string, r EventRequest) (string, error) {
	ctx, span := m.span(ctx, "vendor event")
	defer span.End()
	cl := m.clients[client]
	if cl == nil {
		return "", fail(span, Errorf(NotFound, "client %q is not in the configuration", client))
	}
	if err := m.begin(); err != nil {
		return "", fail(span, err)
	}
	defer m.work.Done()
	ev, err := m.readEvent(ctx, cl, r)
	if err != nil {
		return "", fail(span, err)
	}
	span.SetAttributes(attribute.String("esignd.vendor", cl.Vendor), attribute.String("esignd.vendor_event", string(ev.Type)))
	if ev.Type == VendorEventIgnored {
		return ev.Reply, nil
	}
	if err := m.applyEvent(context.WithoutCancel(ctx), cl, ev); err != nil {
		return "", fail(span, m.storeError(ctx, err))
	}
	return ev.Reply, nil
}

func (m *Manager) readEvent(ctx context.Context, cl *Client, r EventRequest) (VendorEvent, error) {
	adapter, _, err := m.adapterOf(ctx, cl)
	if err != nil {
		return VendorEvent{}, m.refusal(ctx, nil, err)
	}
	reader, ok := adapter.(EventReader)
	if !ok {
		return VendorEvent{}, unableTo(cl, "read events")
	}
	r.Client, r.ReceivedAt = cl.Credentials, m.now()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ev, err := reader.ReadEvent(ctx, r)
	if err == nil {
		return ev, nil
	}
	if errors.Is(err, errors.ErrUnsupported) {
		return VendorEvent{}, unableTo(cl, "read events")
	}
	v := AsVendorError(err)
	m.seldom.refused.Do(func() {
		m.log.WarnContext(ctx, "an event that claims to be a vendor's was refused; nothing is done by it", "client", cl.Name, "vendor", cl.Vendor, "error", v)
	})
	switch v.Code {
	case CodeAccessDenied:
		return VendorEvent{}, &Error{Code: AccessDenied, Description: "the event is not the vendor's, or too old", err: v}
	case CodeInvalidRequest:
		return VendorEvent{}, &Error{Code: InvalidRequest, Description: "the event cannot be read", err: v}
	}
	return VendorEvent{}, m.refusal(ctx, nil, v)
}

// applyEvent changes the grants of the account that the event is about, in every tenant that has one.
func (m *Manager) applyEvent(ctx context.Context, cl *Client, ev VendorEvent) error {
	if !m.cache.fresh() {
		return errors.New("the store's watch is silent, so that a grant might be missed")
	}
	found := m.cache.all(func(g *grant) bool {
		return g.Client == cl.Name && ev.AccountID != "" && g.AccountID == ev.AccountID && !g.Forgotten
	})
	if len(found) == 0 && m.waits() {
		return errors.New("the grant may be among the outcomes that wait to be committed")
	}
	for _, e := range found {
		confirmed := false
		written, err := m.change(ctx, e.g.ID, func(_ *entry, g *grant) (bool, error) {
			if g.Forgotten || g.AccountID != ev.AccountID {
				return false, nil
			}
			if ev.Type == VendorEventAccountConfirmed {
				var err error
				confirmed, err = m.confirm(ctx, g)
				return confirmed, err
			}
			return m.endedByVendor(ctx, g)
		})
		if err != nil {
			return err
		}
		if confirmed {
			m.metrics.gotToken(ctx, written.g, IssuedConfirmed)
		}
		m.follow(ctx, written)
	}
	return nil
}

// waits reports whether an outcome waits to be committed.
func (m *Manager) waits() bool {
	m.flightMu.Lock()
	defer m.flightMu.Unlock()
	return len(m.kept) > 0
}

// confirm makes the token set of a created account count.
func (m *Manager) confirm(ctx context.Context, g *grant) (bool, error) {
	if g.State != AwaitingConfirmation {
		return false, nil
	}
	if err := g.move(causeConfirm); err != nil {
		return false, err
	}
	g.owe(m.event(ctx, TokenIssued, IssuedConfirmed))
	return true, nil
}

// endedByVendor ends a grant whose owner withdrew it at the vendor: nothing is left there to be revoked.
func (m *Manager) endedByVendor(ctx context.Context, g *grant) (bool, error) {
	if g.State == Revoked && !g.RevocationOwed || g.State == Pending {
		return false, nil
	}
	if g.State != Revoked {
		if _, err := m.startRevocation(ctx, g, RevokedAtVendor, false); err != nil {
			return false, err
		}
	}
	if !g.RevocationOwed { // there was no token, and the event is owed already
		return true, nil
	}
	return m.settleRevocation(ctx, g, revokedThere, nil)
}
