package core

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/url"
	"slices"
)

// maxAccount bounds the name of an account.
const maxAccount = 320 // an e-mail address, RFC 5321 §4.5.3.1

// Authorize starts an authorization: it makes the grant where there is none, and returns where to send the resource
// owner. A grant that is active stays so until the new consent is there.
func (m *Manager) Authorize(ctx context.Context, r AuthorizeRequest) (Authorization, error) {
	ctx, span := m.span(ctx, "authorize")
	defer span.End()
	cl, err := m.checkAuthorize(r)
	if err != nil {
		return Authorization{}, fail(span, err)
	}
	t := &target{id: GrantID(r.Tenant, cl.Name, r.Account), tenant: r.Tenant, account: r.Account, client: cl}
	if _, md, err := m.adapterOf(ctx, cl); err != nil {
		return Authorization{}, fail(span, m.refusal(ctx, nil, err))
	} else if !md.Supports(AuthorizationCode) {
		return Authorization{}, fail(span, Errorf(Unsupported, "vendor %s has no authorization code grant", cl.Vendor))
	}
	if err := m.beginGrant(ctx, t); err != nil {
		return Authorization{}, fail(span, m.storeError(ctx, err))
	}
	a, err := m.openTicket(ctx, t, ticketAsk{scopes: r.Scopes, returnTo: r.ReturnTo, given: true, redirectURI: r.RedirectURI})
	return a, fail(span, err)
}

func (m *Manager) checkAuthorize(r AuthorizeRequest) (*Client, error) {
	cl := m.clientFor(r.Tenant, r.Client)
	switch {
	case r.Client == "":
		return nil, FieldErrorf("client", "is missing")
	case cl == nil:
		return nil, Errorf(NotFound, "client %q is not in the configuration, or not for this tenant", r.Client)
	case cl.GrantType == ClientCredentials:
		return nil, Errorf(Unsupported, "client %q needs no authorization: its grant type is client_credentials; ask for a token", r.Client)
	case r.Account == "":
		return nil, FieldErrorf("account", "is missing")
	case len(r.Account) > maxAccount:
		return nil, FieldErrorf("account", "is %d bytes; at most %d are kept", len(r.Account), maxAccount)
	case r.ReturnTo != "" && !slices.Contains(m.returnTo, r.ReturnTo):
		return nil, FieldErrorf("return_to", "is not one of http.return_to in the configuration")
	case r.RedirectURI != "" && !slices.Contains(cl.RedirectURIs, r.RedirectURI):
		return nil, FieldErrorf("redirect_uri", "is not one of the redirect_uris of client %q in the configuration", r.Client)
	}
	return cl, nil
}

// beginGrant writes a pending grant where there is none.
func (m *Manager) beginGrant(ctx context.Context, t *target) error {
	for {
		e, err := m.load(ctx, t.id)
		if err == nil && !e.g.Forgotten {
			return nil
		}
		if err != nil && !errors.Is(err, ErrNoRecord) {
			return err
		}
		t.entry = e
		g := t.blank()
		if err := g.move(causeStart); err != nil {
			return err
		}
		if _, err := m.write(ctx, g); !errors.Is(err, ErrConflict) {
			return err
		}
		if _, err := m.read(ctx, t.id); err != nil && !errors.Is(err, ErrNoRecord) {
			return err
		}
	}
}

// authorizationURL asks the adapter for the vendor's consent page.
func (m *Manager) authorizationURL(ctx context.Context, cl *Client, grant string, st openState, state string) (string, error) {
	adapter, md, err := m.adapterOf(ctx, cl)
	if err != nil {
		return "", m.refusal(ctx, nil, err)
	}
	tk, err := m.readTicket(ctx, grant)
	if err != nil {
		return "", m.storeError(ctx, err)
	}
	req := AuthorizationRequest{Client: cl.Credentials, RedirectURI: st.RedirectURI, State: state, Scope: st.Scopes}
	if req.Scope == nil {
		req.Scope = cl.Scopes
	}
	if md.PKCE {
		req.CodeChallenge = s256(tk.secret.Verifiers[st.Digest])
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	u, err := adapter.AuthorizationURL(ctx, req)
	if err != nil {
		return "", m.refusal(ctx, nil, AsVendorError(err))
	}
	return u, nil
}

// Visit answers a browser that opened the connect URL with the given ticket: each visit makes a state of its own and
// binds that browser by a cookie. The ticket stays good until an exchange succeeds or it expires.
func (m *Manager) Visit(ctx context.Context, value string) (Visit, error) {
	ctx, span := m.span(ctx, "connect")
	defer span.End()
	gone := Errorf(NotFound, "this link has expired or was used; ask for a new one")
	grant := grantIDOf(value)
	if grant == "" {
		return Visit{}, fail(span, gone)
	}
	var v Visit
	var st openState
	var state string
	var cl *Client
	cookie := randomSecret()
	err := m.changeTicket(ctx, grant, func(t *ticket) (*ticket, error) {
		if t == nil || !m.now().Before(t.LinkUntil) || subtle.ConstantTimeCompare([]byte(t.secret.Ticket), []byte(value)) != 1 {
			return nil, gone
		}
		if cl = m.clientFor(t.Tenant, t.Client); cl == nil {
			return nil, gone
		}
		st, state = t.open(m.now(), m.callbackURI(cl), cookie)
		v.ExpiresAt = st.ExpiresAt
		return t, nil
	})
	if err != nil {
		return Visit{}, fail(span, err)
	}
	v.Cookie = NewSecret(cookie)
	v.RedirectURL, err = m.authorizationURL(ctx, cl, grant, st, state)
	return v, fail(span, err)
}

// callbackURI is the redirect URI of the connect flow: one per client, so that an answer of one vendor cannot be
// taken for another's (RFC 9700 §4.4).
func (m *Manager) callbackURI(cl *Client) string { return m.publicPath("oauth", "callback", cl.Name) }

// Callback ends a connect flow. A reply comes with a nil error also where the vendor denied; an error means that the
// answer belongs to no authorization in progress in this browser.
func (m *Manager) Callback(ctx context.Context, a CallbackAnswer) (CallbackReply, error) {
	ctx, span := m.span(ctx, "callback")
	defer span.End()
	in, err := m.takeState(ctx, a.Params, func(t *ticket, s *openState) error {
		switch {
		case t.Client != a.Client || s.Cookie == "":
			return errNoAuthorization
		case subtle.ConstantTimeCompare([]byte(s256(a.Cookie.Reveal())), []byte(s.Cookie)) != 1:
			return Errorf(AccessDenied, "this authorization was begun in another browser; open the link again in this one")
		}
		return nil
	})
	if err != nil {
		return CallbackReply{}, fail(span, err)
	}
	reply := CallbackReply{Tenant: in.ticket.Tenant, Client: a.Client, Account: in.ticket.Account, Grant: in.target.id, Status: "connected", ReturnTo: in.ticket.ReturnTo}
	if _, err := m.redeem(ctx, in, a.Params); err != nil {
		e := AsError(err)
		if reply.Status = e.Reason; reply.Status == "" {
			reply.Status = string(e.Code)
		}
		_ = fail(span, err)
	}
	return reply, nil
}

// Exchange ends an authorization that a service's own callback received.
func (m *Manager) Exchange(ctx context.Context, r ExchangeRequest) (GrantInfo, error) {
	ctx, span := m.span(ctx, "exchange")
	defer span.End()
	in, err := m.takeState(ctx, r.Params, func(t *ticket, s *openState) error {
		switch {
		case t.Tenant != r.Tenant || s.Cookie != "":
			return errNoAuthorization
		case r.RedirectURI != "" && r.RedirectURI != s.RedirectURI:
			return FieldErrorf("redirect_uri", "is not the one that this authorization was begun with: the answer is another vendor's")
		}
		return nil
	})
	if err != nil {
		return GrantInfo{}, fail(span, err)
	}
	e, err := m.redeem(ctx, in, r.Params)
	if err != nil {
		return GrantInfo{}, fail(span, err)
	}
	return m.info(e), nil
}

// errNoAuthorization is the answer to a redirect that belongs to nothing.
var errNoAuthorization = FieldErrorf("params", "state belongs to no authorization in progress: it expired, was used, or was never given out; start again")

// inFlight is an authorization whose answer was taken.
type inFlight struct {
	target   *target
	ticket   *ticket
	state    *openState
	value    string // of the state
	verifier string
}

// takeState finds the authorization that a redirect belongs to and takes its answer, once. check may refuse it before
// it is taken.
func (m *Manager) takeState(ctx context.Context, params url.Values, check func(*ticket, *openState) error) (*inFlight, error) {
	value := params.Get("state")
	grant := grantIDOf(value)
	if grant == "" || len(params["state"]) != 1 {
		return nil, errNoAuthorization
	}
	in := &inFlight{value: value}
	err := m.changeTicket(ctx, grant, func(t *ticket) (*ticket, error) {
		if t == nil {
			return nil, errNoAuthorization
		}
		s, verifier := t.take(m.now(), value)
		if s == nil {
			return nil, errNoAuthorization
		}
		if err := check(t, s); err != nil {
			return nil, err
		}
		in.ticket, in.state, in.verifier = t, s, verifier
		return t, nil
	})
	if err != nil {
		return nil, err
	}
	t := in.ticket
	in.target = &target{id: grant, tenant: t.Tenant, account: t.Account, client: m.clientFor(t.Tenant, t.Client)}
	if in.target.client == nil {
		return nil, Errorf(NotFound, "client %q is not in the configuration any more", t.Client)
	}
	return in, nil
}

// redeem trades the code of a redirect for a token set and commits it as a new consent. Once begun it does not end
// with the caller.
func (m *Manager) redeem(ctx context.Context, in *inFlight, params url.Values) (*entry, error) {
	if err := m.begin(); err != nil {
		return nil, err
	}
	defer m.work.Done()
	ctx = context.WithoutCancel(ctx)
	t, cl := in.target, in.target.client
	var err error
	if t.entry, err = m.load(ctx, t.id); err != nil && !errors.Is(err, ErrNoRecord) {
		return nil, m.storeError(ctx, err)
	}
	adapter, md, err := m.adapterOf(ctx, cl)
	if err != nil {
		return nil, m.authorizationFailed(ctx, t, AsVendorError(err))
	}
	cb, err := m.readCallback(ctx, adapter, cl, params)
	if err != nil {
		return nil, m.authorizationFailed(ctx, t, AsVendorError(err))
	}
	if cb.Denied != "" {
		return nil, m.denied(ctx, t, cb.Denied)
	}
	release, err := m.takeCallerSlot(ctx, cl)
	if err != nil {
		return nil, m.authorizationFailed(ctx, t, AsVendorError(err))
	}
	defer release()
	r := m.newConsent(byExchange, t, md)
	r.response, r.failure = m.callToken(ctx, cl, nil, adapter, TokenRequest{
		Client: cl.Credentials, GrantType: AuthorizationCode, Code: cb.Code, RedirectURI: in.state.RedirectURI,
		State: NewSecret(in.value), CodeVerifier: pkce(md, in.verifier), Scope: in.state.Scopes, APIBaseURL: cb.APIBaseURL,
	})
	m.learn(ctx, cl, r)
	if r.failure != nil {
		return nil, m.authorizationFailed(ctx, t, r.failure)
	}
	setIfGiven(&cb.APIBaseURL, r.response.APIBaseURL)
	r.response.APIBaseURL = cb.APIBaseURL
	if r.response.Scope == nil {
		if r.response.Scope = in.state.Scopes; r.response.Scope == nil {
			r.response.Scope = cl.Scopes
		}
	}
	e, err := m.commit(ctx, r)
	if err != nil {
		return nil, m.storeError(ctx, err)
	}
	m.dropTicket(ctx, t.id)
	m.follow(ctx, e)
	return e, nil
}

func (m *Manager) readCallback(ctx context.Context, a Adapter, cl *Client, params url.Values) (CallbackResult, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return a.Callback(ctx, CallbackRequest{Client: cl.Credentials, Params: params})
}

func pkce(md Metadata, verifier string) Secret {
	if !md.PKCE {
		return Secret{}
	}
	return NewSecret(verifier)
}

// denied tells that the resource owner, or the vendor, said no. The grant stays what it was.
func (m *Manager) denied(ctx context.Context, t *target, reason string) error {
	m.oweFailedAuthorization(ctx, t, reason)
	return &Error{Code: AccessDenied, Reason: reason, Description: "the vendor gave no authorization"}
}

// authorizationFailed tells that the code could not be traded. The grant stays what it was.
func (m *Manager) authorizationFailed(ctx context.Context, t *target, v *VendorError) error {
	m.oweFailedAuthorization(ctx, t, v.Code)
	err := AsError(m.refusal(ctx, nil, v))
	if err.Code == TemporarilyUnavailable && v.Outcome == Refused && !ruleFor(v).spares {
		return &Error{Code: InvalidRequest, Reason: v.Code, Field: "params", err: v,
			Description: "params: the vendor did not take the code; start the authorization again"}
	}
	err.Description = "the code could not be traded for a token; start the authorization again"
	return err
}

// oweFailedAuthorization owes grant.authorization_failed in the grant's record, and changes nothing else there.
func (m *Manager) oweFailedAuthorization(ctx context.Context, t *target, reason string) {
	if reason == CodeAccessDenied {
		reason = "denied"
	}
	e, err := m.change(ctx, t.id, func(_ *entry, g *grant) (bool, error) {
		if g.Forgotten {
			return false, nil
		}
		g.owe(m.event(ctx, GrantAuthorizationFailed, reason))
		return true, nil
	})
	if err != nil {
		m.log.WarnContext(ctx, "grant.authorization_failed could not be written; nobody hears the event, and the grant is what it was", "grant", t.id,
			"client", t.client.Name, "vendor", t.client.Vendor, "reason", reason, "error", err)
		return
	}
	m.follow(ctx, e)
}
