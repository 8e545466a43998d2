package core

import (
	"net/url"
	"time"
)

// Selector names one grant of a tenant: by its id, or by client and account. Account stays empty for a
// client_credentials client.
type Selector struct {
	Tenant  string
	Grant   string
	Client  string
	Account string
}

// DefaultMinTTL is, as a minimum time to live, the smaller of 60 seconds and a sixth of the token's lifetime.
const DefaultMinTTL time.Duration = -1

// Token is a live access token, as handed to a caller.
type Token struct {
	Grant       string
	Tenant      string
	Client      string
	Vendor      string
	Account     string
	AccessToken Secret
	TokenType   string
	ExpiresAt   time.Time
	ExpiresIn   time.Duration // whole seconds, at least one
	Scope       []string      // shared with other callers: not to be written to
	APIBaseURL  string
	Generation  uint64
	Warnings    []Warning
}

// Warning tells a caller what it should know of an answer that is good all the same. Values are part of the contract.
type Warning string

// The warnings.
const (
	// WarnOutcomeUnknown: a refresh may have spent the refresh token; when this access token ends, the resource
	// owner may have to authorize again.
	WarnOutcomeUnknown Warning = "outcome_unknown"
	// WarnRefreshedRecently: a forced refresh came within a second of another and got its token.
	WarnRefreshedRecently Warning = "refreshed_recently"
	// WarnMinTTLUnmet: the token lives, but shorter than was asked.
	WarnMinTTLUnmet Warning = "min_ttl_unmet"
	// WarnVendorUnavailable: the refresh that was due failed at the vendor; this token still lives.
	WarnVendorUnavailable Warning = "vendor_unavailable"
	// WarnClientSuspended: the vendor refuses our client; this token still lives.
	WarnClientSuspended Warning = "client_suspended"
	// WarnVendorRevocationPending: revoked here; the vendor could not be told yet and esignd goes on trying.
	WarnVendorRevocationPending Warning = "vendor_revocation_pending"
	// WarnVendorCannotRevoke: revoked here; the vendor has no revocation, so a token that is out there stays valid
	// until it expires.
	WarnVendorCannotRevoke Warning = "vendor_cannot_revoke"
	// WarnClientNotConfigured: the grant's client is not in the configuration; the grant is kept and not refreshed.
	WarnClientNotConfigured Warning = "client_not_configured"
)

// GrantInfo is what may be shown of a grant. It holds no token.
type GrantInfo struct {
	Grant            string
	Tenant           string
	Client           string
	Vendor           string
	Account          string
	State            State
	Reason           string
	Scope            []string
	Generation       uint64
	IssuedAt         time.Time // zero: no token
	ExpiresAt        time.Time // zero: no token
	ConsentExpiresAt time.Time // zero: no hard end
	Attempts         int       // failed refreshes since the last token set
	LastError        string    // code of the last failure
	NextAttempt      time.Time // zero: none planned
	Warnings         []Warning
	VendorRevoked    *bool  // set in the answer of Revoke
	AccountID        string // the vendor's own id of the account, set in the answer of CreateAccount

	// LastEvent is the type of the last event owed for the grant, and LastEventAt its time.
	LastEvent   EventType
	LastEventAt time.Time
}

// AuthorizeRequest starts an authorization.
type AuthorizeRequest struct {
	Tenant   string
	Client   string
	Account  string
	Scopes   []string // nil: the client's
	ReturnTo string   // where the connect flow sends the browser in the end; one of Config.ReturnTo, or empty
	// RedirectURI is a service's own callback, one of the client's RedirectURIs. The service then sends the browser
	// to AuthorizationURL itself and gives what comes back to Exchange.
	RedirectURI string
}

// ExchangeRequest ends an authorization that a service's own callback received.
type ExchangeRequest struct {
	Tenant string
	// Params are the redirect's query parameters, all of them.
	Params url.Values
	// RedirectURI is where the redirect arrived. It must be the one that the authorization was begun with: an answer
	// that arrives elsewhere is another vendor's (RFC 9700 §4.4). Empty: the service has seen to that.
	RedirectURI string
}

// Authorization is an authorization in progress.
type Authorization struct {
	Grant      string
	ConnectURL string
	ExpiresAt  time.Time
	// AuthorizationURL and State are set where the request had a RedirectURI.
	AuthorizationURL string
	State            string
}

// ImportRequest brings a grant that was consented to elsewhere.
type ImportRequest struct {
	Tenant       string
	Client       string
	Account      string
	RefreshToken Secret
	AccessToken  Secret
	ExpiresAt    time.Time
	APIBaseURL   string
	Replace      bool
}

// GrantFilter selects grants for a list. Empty fields select all.
type GrantFilter struct {
	Tenant string // empty: every tenant, which only the console asks for
	Client string
	Vendor string
	State  State
	Limit  int    // 0: 100; at most 1000
	Cursor string // of the page before
}

// Visit is the answer to a browser that opens a connect URL.
type Visit struct {
	// RedirectURL is the vendor's consent page.
	RedirectURL string
	// Cookie binds the browser to the authorization: the callback is refused without it.
	Cookie Secret
	// ExpiresAt is when ticket and cookie end.
	ExpiresAt time.Time
}

// CallbackAnswer is the vendor's answer in the connect flow, as the browser brings it.
type CallbackAnswer struct {
	Client string
	Params url.Values
	Cookie Secret
}

// CallbackReply says how a connect flow ended.
type CallbackReply struct {
	Tenant   string
	Client   string
	Account  string
	Grant    string
	Status   string // "connected", or the reason for which it is not
	ReturnTo string // where to send the browser; empty: the result page
}
