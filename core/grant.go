package core

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// State is where a grant is in its life.
type State string

// The states of a grant.
const (
	// Pending: awaiting a first consent.
	Pending State = "pending"
	// Active: there is a token set, or one can be had.
	Active State = "active"
	// AwaitingConfirmation: there is a token set that works only when the account's owner has confirmed.
	AwaitingConfirmation State = "awaiting_confirmation"
	// NeedsReauthorization: the refresh token is dead; the resource owner must authorize again.
	NeedsReauthorization State = "reauthorization_required"
	// Revoked: ended by us or by the vendor.
	Revoked State = "revoked"
)

// States returns every state that a grant can be seen in.
func States() []State {
	return []State{Pending, Active, AwaitingConfirmation, NeedsReauthorization, Revoked}
}

// Reasons of grant.reauthorization_required.
const (
	ReasonInvalidGrant   = "invalid_grant"
	ReasonOutcomeUnknown = "outcome_unknown"
	ReasonConsentExpired = "consent_expired"
	ReasonRefreshExpired = "refresh_expired"
)

// RevokedAtVendor is the reason of token.revoked where the vendor says that the grant's owner withdrew it there.
const RevokedAtVendor = "revoked_at_vendor"

// Reasons of token.issued.
const (
	IssuedAuthorized        = "authorized"
	IssuedRefreshed         = "refreshed"
	IssuedImported          = "imported"
	IssuedClientCredentials = "client_credentials"
	IssuedRecovered         = "recovered"
	IssuedConfirmed         = "confirmed"
)

// GrantID returns the id of the grant that tenant, client and account name: "g_" and 40 hexadecimal digits. It is
// safe in a subject and tells nothing of the account.
func GrantID(tenant, client, account string) string {
	var space [256]byte // most names fit, and then nothing is allocated for them
	b := space[:0]
	for _, part := range []string{tenant, client, account} {
		// A length before each part keeps ("ab","c") and ("a","bc") apart.
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(part))), part...) //nolint:gosec // names are bounded where they are read
	}
	digest := sha256.Sum256(b)
	id := append(make([]byte, 0, len("g_")+40), "g_"...)
	return string(hex.AppendEncode(id, digest[:20]))
}

// attempt is a claim: the right of one replica to call the vendor for one grant, once.
type attempt struct {
	ID       string        `json:"id"`
	Owner    string        `json:"owner"`
	Duration time.Duration `json:"duration"`
	// Generation is that of the token set whose refresh token is presented.
	Generation uint64 `json:"generation,omitempty"`
	// LastTry says that the refresh token, whose fate is unknown, is presented once more and never again.
	LastTry bool `json:"last_try,omitempty"`
	// reported says that a caller reported the access token refused. Only who makes the attempt wants to know.
	reported bool
	// Probe says that the client is suspended and this attempt finds out whether it still is.
	Probe bool `json:"probe,omitempty"`
}

// failures count what went wrong since the last token set.
type failures struct {
	Count int       `json:"count"`
	Code  string    `json:"code"`
	At    time.Time `json:"at,omitzero"` // of the last
	First time.Time `json:"first"`       // of the unbroken run of refusals without proof
	// Unproven counts refusals in a row that might mean a dead grant and do not say so.
	Unproven int       `json:"unproven,omitempty"`
	Next     time.Time `json:"next"`
}

// failedAt reports whether the last attempt failed, and the scope of that.
func (f *failures) failedAt(s scope) bool {
	return f.Count > 0 && ruleFor(&VendorError{Outcome: Refused, Code: f.Code}).scope == s
}

// grant is the record of one grant: its public part. Secrets stand apart, in tokens.
type grant struct {
	Format  int    `json:"format"`
	ID      string `json:"id"`
	Tenant  string `json:"tenant"`
	Client  string `json:"client"`
	Vendor  string `json:"vendor"`
	Account string `json:"account,omitempty"`

	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"`
	// Forgotten makes the record a tombstone: it keeps the generation and nothing else.
	Forgotten bool `json:"forgotten,omitempty"`

	Consent          string    `json:"consent,omitempty"`
	ConsentedAt      time.Time `json:"consented_at,omitzero"`
	ConsentExpiresAt time.Time `json:"consent_expires_at,omitzero"`
	// ConsentNotice is the last notice of the consent's end, in days ahead, that was given.
	ConsentNotice int `json:"consent_notice,omitempty"`

	Generation uint64        `json:"generation"`
	Scope      []string      `json:"scope,omitempty"`
	TokenType  string        `json:"token_type,omitempty"`
	APIBaseURL string        `json:"api_base_url,omitempty"`
	AccountID  string        `json:"account_id,omitempty"`
	Lifetime   time.Duration `json:"lifetime,omitempty"`
	// Age is how old the access token was when this revision was written. Together with the time of the write, by
	// the store's clock, it says how old it is; no replica's wall clock takes part.
	Age      time.Duration `json:"age,omitempty"`
	IssuedAt time.Time     `json:"issued_at,omitzero"` // for people; nothing is decided by it
	// CommitAge is how old the access token was when it was committed.
	CommitAge time.Duration `json:"commit_age,omitempty"`

	// Rotating says that this grant's refresh tokens were seen to change.
	Rotating bool `json:"rotating,omitempty"`
	// Uncertain says that a call with this refresh token has an unknown outcome and the vendor rotates.
	Uncertain bool `json:"uncertain,omitempty"`
	// Restored says that the record comes from a backup, or was found older than what was told of the grant: its refresh
	// token may have been presented since, and is presented once more, whatever the vendor.
	Restored bool `json:"restored,omitempty"`
	// Expiring says that token.expiring is owed or was published for this generation.
	Expiring bool `json:"expiring,omitempty"`

	Attempt *attempt `json:"attempt,omitempty"`
	// Settled is the id of the attempt that the newest outcome came from.
	Settled  string   `json:"settled,omitempty"`
	Failures failures `json:"failures,omitzero"`

	// RevocationOwed says that the vendor has not been told of the revocation yet.
	RevocationOwed   bool   `json:"revocation_owed,omitempty"`
	RevocationReason string `json:"revocation_reason,omitempty"`
	// Ends counts how often the grant was revoked or forgotten: a consent that was begun before does not revive it.
	Ends uint64 `json:"ends,omitempty"`
	// VendorRevoked says that the vendor ended the tokens of a grant that is revoked.
	VendorRevoked bool `json:"vendor_revoked,omitempty"`
	// ForgetOwed says that the grant becomes a tombstone when its revocation is settled.
	ForgetOwed bool `json:"forget_owed,omitempty"`

	Debts       []Event   `json:"debts,omitempty"`
	LastEvent   EventType `json:"last_event,omitempty"`
	LastEventAt time.Time `json:"last_event_at,omitzero"`

	tokens   tokens
	brief    bool        // its secrets are not here, and it is not to be written
	moved    *Transition // that is not written yet; shared by copies, and not changed
	unknown  members     // of the next format
	revision uint64
	time     time.Time // of the revision, by the store's clock
}

// tokens is the sealed part of a grant's record.
type tokens struct {
	Access  Secret
	Refresh Secret
	// Imported is the refresh token that an import brought, while its consent lasts: the same import again is known by it.
	Imported Secret
}

// holds reports whether a refresh token is among the tokens, so that ending it would end them.
func (t tokens) holds(refresh Secret) bool {
	return !refresh.IsZero() && (t.Refresh.Equal(refresh) || t.Imported.Equal(refresh))
}
