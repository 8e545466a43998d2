package core

import (
	"context"
	"time"
)

// EventType names what happened. Types are part of the contract with other programs.
type EventType string

// The types of events.
const (
	TokenIssued                  EventType = "token.issued"
	TokenExpiring                EventType = "token.expiring" //nolint:gosec // a name, no credential
	TokenRevoked                 EventType = "token.revoked"
	TokenRefreshFailed           EventType = "token.refresh_failed"
	GrantReauthorizationRequired EventType = "grant.reauthorization_required"
	GrantAuthorizationFailed     EventType = "grant.authorization_failed"
	GrantExpiring                EventType = "grant.expiring"
	ClientSuspended              EventType = "client.suspended"
	ClientResumed                EventType = "client.resumed"
	VendorUnavailable            EventType = "vendor.unavailable"
	VendorAvailable              EventType = "vendor.available"
)

// EventTypes returns every type.
func EventTypes() []EventType {
	return []EventType{
		TokenIssued, TokenExpiring, TokenRevoked, TokenRefreshFailed, GrantReauthorizationRequired,
		GrantAuthorizationFailed, GrantExpiring, ClientSuspended, ClientResumed, VendorUnavailable, VendorAvailable,
	}
}

// Event is a message about the life of a token. It never holds a secret.
//
// It is written into the record whose change it tells (there it is a debt) and published after that write, so its
// JSON form here is that of the record; what subscribers see is the publisher's.
type Event struct {
	ID            string     `json:"id"` // random; the same however often the event is published
	Type          EventType  `json:"type"`
	Time          time.Time  `json:"time"`
	Tenant        string     `json:"tenant"`
	Client        string     `json:"client"`
	Vendor        string     `json:"vendor"`
	Account       string     `json:"account,omitempty"`
	Grant         string     `json:"grant,omitempty"` // empty for events of a client or a vendor
	Generation    uint64     `json:"generation,omitempty"`
	Scope         []string   `json:"scope,omitempty"`
	IssuedAt      *time.Time `json:"issued_at,omitempty"`
	ExpiresAt     *time.Time `json:"expires_at,omitempty"`
	Reason        string     `json:"reason,omitempty"`
	VendorRevoked *bool      `json:"vendor_revoked,omitempty"` // token.revoked only
	// ConsentExpiresAt is set on grant.expiring.
	ConsentExpiresAt *time.Time `json:"consent_expires_at,omitempty"`
	// Attempts and NextAttempt are set on token.refresh_failed.
	Attempts    int        `json:"attempts,omitempty"`
	NextAttempt *time.Time `json:"next_attempt,omitempty"`
	// TraceParent is the W3C trace context in which the event was owed.
	TraceParent string `json:"traceparent,omitempty"`
}

// Publisher makes events known. Methods may be called concurrently.
type Publisher interface {
	// Publish returns nil once the event is stored. Publishing an event again within ten minutes stores it once.
	Publish(ctx context.Context, e Event) error
	// Last returns the last event that was published about e's grant, client and tenant: of e's type, or of any where e
	// has none. It has no ID where there is none.
	Last(ctx context.Context, e Event) (Event, error)
}
