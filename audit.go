package esignd

import (
	"context"

	"github.com/esignd/esignd/bus"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// auditedPages is the Manager for browsers, with an entry in the audit of what is done for them.
type auditedPages struct {
	*core.Manager
	audit *bus.Audit
}

func pageEntry(action wire.AuditAction, kind wire.ActorKind) wire.AuditEntry {
	return wire.AuditEntry{Action: action, By: wire.AuditActor{Kind: kind}}
}

// Callback ends a connect flow. One that ends without a grant is an entry with the reason as outcome.
func (p auditedPages) Callback(ctx context.Context, a core.CallbackAnswer) (reply core.CallbackReply, err error) {
	entry := pageEntry(wire.AuditCallback, wire.ActorBrowser)
	entry.Client = a.Client
	err = p.audit.Do(ctx, entry, func(e *wire.AuditEntry) (err error) {
		reply, err = p.Manager.Callback(ctx, a)
		if err != nil {
			return err
		}
		e.Tenant, e.Client, e.Account, e.Grant = reply.Tenant, reply.Client, reply.Account, reply.Grant
		if reply.Status != "connected" {
			e.Outcome = reply.Status
		}
		return nil
	})
	return reply, err
}

// VendorEvent takes what a vendor sent. What is not the vendor's is no act: anybody may post that.
func (p auditedPages) VendorEvent(ctx context.Context, client string, r core.EventRequest) (reply string, err error) {
	entry := pageEntry(wire.AuditVendorEvent, wire.ActorVendor)
	entry.Client = client
	err = p.audit.Do(ctx, entry, func(e *wire.AuditEntry) (err error) {
		if reply, err = p.Manager.VendorEvent(ctx, client, r); err != nil {
			e.Action = ""
		}
		return err
	})
	return reply, err
}

// consoleShown writes that the console was opened. It has no tokens, and is where one looks for what is wrong: it is shown
// while the audit cannot be written too.
func consoleShown(audit *bus.Audit) func(context.Context, core.GrantFilter) {
	return func(ctx context.Context, f core.GrantFilter) {
		entry := pageEntry(wire.AuditConsole, wire.ActorConsole)
		entry.Tenant, entry.Client = f.Tenant, f.Client
		audit.Note(ctx, entry)
	}
}
