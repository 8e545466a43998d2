package core

import (
	"context"
	"fmt"
	"slices"
)

// doubtful reports whether the grant's refresh token may have been spent without its record knowing.
func (g *grant) doubtful() bool { return g.Uncertain || g.Restored }

// lastTryOnly reports whether the grant's refresh token is to be presented once more and never again. A vendor that does
// not rotate is spared that where a call's outcome is unknown, but not where the record is an old one: what was done with
// the grant since is not known either.
func (m *Manager) lastTryOnly(g *grant, cl *Client, md Metadata) bool {
	return g.Restored && cl.GrantType != ClientCredentials || g.Uncertain && m.rotates(g, cl, md)
}

// overtaken reports whether last, the last event about the grant, tells of something that the record does not know: then
// the record went back in time. An event is published after the write that owes it, so a record is never behind.
func (g *grant) overtaken(last Event) bool { return last.Generation > g.Generation || g.endedBy(last) }

// endedBy reports whether last says that this token set is over, and the record does not know it.
func (g *grant) endedBy(last Event) bool {
	over := last.Type == TokenRevoked || last.Type == GrantReauthorizationRequired
	return over && last.Generation >= g.Generation && (g.State == Active || g.State == AwaitingConfirmation)
}

// fromPast makes g, the content of an old record, what may be made of it now that last is the last event about the
// grant. The live access token goes on; whether the refresh token was presented since is not known. The generation goes
// beyond both, so that whatever still comes of the time in between is recognised as old.
func (g *grant) fromPast(last Event) error {
	over := g.endedBy(last)
	g.Generation = max(g.Generation, last.Generation)
	// Events are published in order: what is owed and older than the last one is out already.
	g.Debts = slices.DeleteFunc(g.Debts, func(e Event) bool { return !e.Time.After(last.Time) })
	if over {
		return g.endAs(last)
	}
	if g.tokens.Access.IsZero() && g.tokens.Refresh.IsZero() {
		return nil
	}
	g.Generation++
	g.Expiring = false
	g.Restored = !g.tokens.Refresh.IsZero()
	if g.Attempt != nil {
		// Its claim dies as any other, and counts for the token set as it is numbered now.
		a := *g.Attempt
		a.Generation = g.Generation
		g.Attempt = &a
	}
	return nil
}

// endAs ends g as an event told long ago, which is not told again.
func (g *grant) endAs(last Event) error {
	on := causeDie
	if last.Type == TokenRevoked {
		on = causeRevoke
		g.Ends++
		g.VendorRevoked = last.VendorRevoked != nil && *last.VendorRevoked
	}
	if err := g.move(on); err != nil {
		return err
	}
	g.Reason, g.Attempt, g.Failures = last.Reason, nil, failures{}
	g.tokens, g.Uncertain, g.Restored = tokens{}, false, false
	return nil
}

// catchUp compares a grant with the last event about it, once in this process, before its refresh token is presented. It
// reports whether the store went back in time: the grant is then marked so, and is to be decided about anew.
func (m *Manager) catchUp(ctx context.Context, e *entry) (bool, error) {
	if e.caughtUp || e.g.revision == 0 {
		return false, nil
	}
	looking, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	last, err := m.publisher.Last(looking, Event{Tenant: e.g.Tenant, Client: e.g.Client, Vendor: e.g.Vendor, Grant: e.g.ID})
	if err != nil {
		return false, fmt.Errorf("look at the last event about grant %s: %w", e.g.ID, err)
	}
	if !e.g.overtaken(last) {
		m.cache.catchUp(e)
		return false, nil
	}
	g := e.edit()
	if err := g.fromPast(last); err != nil {
		return false, err
	}
	written, err := m.write(ctx, g)
	if err != nil {
		return false, fmt.Errorf("mark grant %s, whose record went back in time: %w", e.g.ID, err)
	}
	m.cache.catchUp(written)
	m.log.ErrorContext(ctx, "the store went back in time: the record of a grant is older than the last event about it; its refresh token may be spent, and is presented once more at most",
		"grant", g.ID, "client", g.Client, "vendor", g.Vendor, "generation", e.g.Generation, "seen", last.Generation, "state", g.State)
	return true, nil
}

// catchUp notes that the grant was compared with the last event about it.
func (c *cache) catchUp(e *entry) { c.shelf(e.g.ID).catchUp(e) }
