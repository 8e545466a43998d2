package core

import (
	"context"
	"net/http"
	"time"
)

// The interfaces of this file are optional abilities of an Adapter. An adapter that has none of an ability does not
// implement its interface, or returns errors.ErrUnsupported from its method: both mean the same. What is said of the
// methods of [Adapter] holds for these too.

// HostChecker is the ability of an adapter whose vendor names the host of an account: it says whether a host that came
// from outside (an import) may be called. Without it an imported api_base_url is refused.
type HostChecker interface {
	// CheckAPIBaseURL returns the URL in the adapter's normal form, or an error that says what is wrong with it. It
	// calls no vendor.
	CheckAPIBaseURL(ctx context.Context, client Credentials, rawURL string) (string, error)
}

// AccountVerifier is the ability to ask the vendor whether somebody has an account there.
type AccountVerifier interface {
	// VerifyAccount looks the account up. That there is none is an answer and no error.
	VerifyAccount(context.Context, AccountRequest) (AccountLookup, error)
}

// AccountCreator is the ability to make an account at the vendor together with a first token set, which works only when
// the account's owner has confirmed it.
type AccountCreator interface {
	// CreateAccount makes the account. An account that is there already is refused by the vendor.
	CreateAccount(context.Context, AccountRequest) (CreatedAccount, error)
}

// EventReader is the ability to read what the vendor sends by itself to POST /events/{client}.
type EventReader interface {
	// ReadEvent checks that the vendor sent the event, in constant time, and that it is not stale, and says what it
	// means. It calls no vendor. An event that is not the vendor's, or too old, is a [*VendorError] with the code
	// [CodeAccessDenied]; one that cannot be read has the code [CodeInvalidRequest].
	ReadEvent(context.Context, EventRequest) (VendorEvent, error)
}

// AccountRequest names an account at the vendor by its owner's e-mail address.
type AccountRequest struct {
	Client       Credentials
	EmailAddress string
}

// AccountLookup says whether an account is there.
type AccountLookup struct {
	Exists bool
	// AccountID is the vendor's own id of it, where it says one.
	AccountID string
}

// CreatedAccount is a new account and its token set.
type CreatedAccount struct {
	// AccountID is the vendor's own id of the account; the vendor's event names it. It is not empty.
	AccountID string
	Tokens    TokenResponse
}

// EventRequest is what the vendor posted, as it came.
type EventRequest struct {
	Client Credentials
	Header http.Header
	Body   []byte
	// ReceivedAt is when it came, by our clock.
	ReceivedAt time.Time
}

// VendorEventType is what an event of a vendor means to us.
type VendorEventType string

// The types of a vendor's events.
const (
	// VendorEventIgnored: the vendor's, and of no interest.
	VendorEventIgnored VendorEventType = ""
	// VendorEventAccountConfirmed: the owner of a created account has confirmed it and authorized our client, so its
	// token set works from now on.
	VendorEventAccountConfirmed VendorEventType = "account_confirmed"
	// VendorEventAuthorizationRevoked: the owner has withdrawn the authorization at the vendor.
	VendorEventAuthorizationRevoked VendorEventType = "authorization_revoked"
)

// VendorEvent is a checked event.
type VendorEvent struct {
	Type VendorEventType
	// AccountID is the vendor's own id of the account that it is about; empty only where the event is ignored.
	AccountID string
	// Reply is the body with which the vendor wants to be answered, with status 200.
	Reply string
}
