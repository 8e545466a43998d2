package bus

import (
	"context"
	"strings"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// maxAudited bounds a name that a caller gave, in bytes, as it stands in the audit.
const maxAudited = 512

func clip(s string) string {
	if len(s) > maxAudited {
		return strings.ToValidUTF8(s[:maxAudited], "")
	}
	return s
}

// actor says who asks.
func (id Identity) actor() wire.AuditActor {
	a := wire.AuditActor{Kind: wire.ActorTenant, Tenant: id.Tenant, Service: id.Service, Account: clip(id.Account), User: clip(id.User)}
	if id.Account != "" {
		a.Kind = wire.ActorService
	}
	return a
}

// entry begins the entry of a request with what it names.
func (r *request) entry() wire.AuditEntry {
	named := r.named
	e := wire.AuditEntry{
		Action: wire.AuditAction(r.name), By: r.by.actor(), Tenant: r.tenant, Grant: clip(named.Grant), Client: clip(named.Client),
		Account: clip(named.Account),
	}
	if e.Grant == "" && named.Client != "" && r.name != wire.GrantList {
		e.Grant = core.GrantID(r.tenant, named.Client, named.Account)
	}
	return e
}

// handOut answers with a token from memory, once that is in the audit. It reports false where the request is over.
func (r *request) handOut(ctx context.Context, t core.Token, body []byte) bool {
	if !r.service.begin() {
		r.overload(ctx)
		return false
	}
	a := &act{entry: r.entry(), token: t.AccessToken, handsOut: true}
	tellToken(&a.entry, wire.TokenOf(t))
	a.entry.Outcome = wire.AuditOK
	a.then = func(err error) {
		defer r.service.work.Done()
		defer r.span.End()
		if err != nil {
			r.fail(ctx, err)
			return
		}
		r.send(ctx, nil, body)
	}
	r.service.cfg.Audit.add(ctx, a)
	return true
}

// audited writes what was asked and answered, and returns the error that is to be answered instead.
func (r *request) audited(ctx context.Context, answer any, err error) error {
	audit := r.service.cfg.Audit
	if audit == nil {
		return err
	}
	a := &act{entry: r.entry()}
	setOutcome(&a.entry, err)
	if err != nil {
		_ = audit.wait(ctx, a) // there is nothing to hold back
		return err
	}
	switch answer := answer.(type) {
	case wire.Token:
		a.token, a.handsOut = answer.AccessToken.Secret, true
		tellToken(&a.entry, answer)
	case wire.Grant:
		tellGrant(&a.entry, answer)
	case wire.CreatedAccount:
		tellGrant(&a.entry, answer.Grant)
	case wire.Authorization:
		a.entry.Grant = answer.Grant
	}
	return audit.wait(ctx, a)
}

// auditFailure writes that a request was not done, and waits for nothing.
func (r *request) auditFailure(ctx context.Context, err error) {
	if audit := r.service.cfg.Audit; audit != nil {
		a := &act{entry: r.entry()}
		setOutcome(&a.entry, err)
		audit.add(ctx, a)
	}
}

func tellToken(e *wire.AuditEntry, t wire.Token) {
	e.Grant, e.Client, e.Vendor, e.Account, e.Generation = t.Grant, t.Client, t.Vendor, clip(t.Account), t.Generation
}

func tellGrant(e *wire.AuditEntry, g wire.Grant) {
	e.Grant, e.Client, e.Vendor, e.Account, e.Generation = g.Grant, g.Client, g.Vendor, clip(g.Account), g.Generation
}

// named returns what a request names.
func named(r any) wire.Selector {
	switch r := r.(type) {
	case wire.Selector:
		return r
	case wire.TokenGetRequest:
		return r.Selector
	case wire.TokenReportRequest:
		return r.Selector
	case wire.TokenRevokeRequest:
		return r.Selector
	case wire.AuthorizeRequest:
		return wire.Selector{Client: r.Client, Account: r.Account}
	case wire.ImportRequest:
		return wire.Selector{Client: r.Client, Account: r.Account}
	case wire.AccountRequest:
		return wire.Selector{Client: r.Client, Account: r.EmailAddress}
	case wire.ListRequest:
		return wire.Selector{Client: r.Client}
	}
	return wire.Selector{}
}
