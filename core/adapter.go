package core

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"time"
)

// Adapter speaks one vendor's dialect. It is stateless: client credentials come with each request, tokens go back
// in the reply.
//
// Methods are called from many goroutines at once. They honour the context's deadline. A failure of Token or Revoke
// is a [*VendorError], which says what is known of the request's fate; any other error is taken as an unknown
// outcome. The other methods fail with a VendorError too, since the text of a foreign error is dropped where the
// adapter is another process. No error holds text that the vendor sent, nor a token, code or secret.
type Adapter interface {
	// Metadata says what cannot be guessed of the vendor. It does not change while the adapter lives and calls no
	// vendor.
	Metadata(context.Context) (Metadata, error)
	// AuthorizationURL builds the URL to which the resource owner's browser is sent (RFC 6749 §4.1.1, RFC 7636 §4.3).
	AuthorizationURL(context.Context, AuthorizationRequest) (string, error)
	// Callback checks the vendor's redirect (RFC 6749 §4.1.2): its code, its hosts, or its denial. It calls no vendor.
	Callback(context.Context, CallbackRequest) (CallbackResult, error)
	// Token asks the token endpoint for a token set (RFC 6749 §4.1.3, §4.4.2, §6); the grant type is data.
	Token(context.Context, TokenRequest) (TokenResponse, error)
	// Revoke ends a token at the vendor (RFC 7009). A token that was dead already is success. It returns
	// errors.ErrUnsupported where the vendor has no revocation.
	Revoke(context.Context, RevocationRequest) error
}

// GrantType is an OAuth grant type, as it stands in the token request (RFC 6749 §4).
type GrantType string

// The grant types that esignd uses.
const (
	AuthorizationCode GrantType = "authorization_code"
	ClientCredentials GrantType = "client_credentials"
	RefreshToken      GrantType = "refresh_token"
)

// Metadata is what an adapter declares of its vendor.
type Metadata struct {
	// Vendor is the adapter's name, as in the configuration and in subjects: lower-case letters and digits.
	Vendor string
	// Title is the vendor's name as people write it.
	Title string
	// Version is the adapter's own version.
	Version string
	// GrantTypes lists what the vendor's token endpoint takes.
	GrantTypes []GrantType
	// AccessLifetime is how long an access token lives where the answer does not say.
	AccessLifetime time.Duration
	// RefreshIdleLifetime is after how long without use a refresh token dies. Zero: the vendor states none.
	RefreshIdleLifetime time.Duration
	// ConsentLifetime is the hard end of a consent, however often it was refreshed. Zero: none.
	ConsentLifetime time.Duration
	// RotatesRefreshTokens says that a refresh may invalidate the refresh token that was presented.
	RotatesRefreshTokens bool
	// RevokesTokens says that the vendor has a revocation endpoint.
	RevokesTokens bool
	// PKCE says that the vendor takes a code challenge (RFC 7636), method S256.
	PKCE bool
	// SettingsSchema is the JSON Schema of the client's settings for this vendor. A property with "writeOnly": true
	// is a secret.
	SettingsSchema json.RawMessage
}

// Supports reports whether the vendor takes grant type t.
func (m Metadata) Supports(t GrantType) bool { return slices.Contains(m.GrantTypes, t) }

// Credentials identify our client at the vendor (RFC 6749 §2.3), with the vendor's settings.
type Credentials struct {
	ClientID     string
	ClientSecret Secret
	// Settings are the vendor's settings from the configuration; one that is absent has the adapter's default.
	Settings map[string]string
	// SecretSettings are those settings that are secrets, such as an API key.
	SecretSettings map[string]Secret
}

// AuthorizationRequest asks for the URL of the vendor's consent page.
type AuthorizationRequest struct {
	Client      Credentials
	RedirectURI string
	State       string
	Scope       []string
	// CodeChallenge is the S256 challenge (RFC 7636 §4.2), empty where Metadata.PKCE is false.
	CodeChallenge string
}

// CallbackRequest carries every query parameter with which the vendor sent the browser back.
type CallbackRequest struct {
	Client Credentials
	Params url.Values
}

// CallbackResult is a checked redirect: either Code or Denied is set.
type CallbackResult struct {
	Code Secret
	// APIBaseURL is the host that the vendor named for this account, checked; empty where it names none.
	APIBaseURL string
	// Denied is the reason for which there is no code: an error code of RFC 6749 §4.1.2.1, in lower case,
	// "access_denied" where the vendor says nothing.
	Denied string
}

// TokenRequest is a request to the token endpoint. Which fields count depends on GrantType.
type TokenRequest struct {
	Client    Credentials
	GrantType GrantType
	// Code, RedirectURI, State and CodeVerifier belong to AuthorizationCode.
	Code         Secret
	RedirectURI  string
	State        Secret
	CodeVerifier Secret
	// RefreshToken belongs to RefreshToken.
	RefreshToken Secret
	// AccessToken is, with RefreshToken, the grant's access token so far. It may have expired, and may be empty. It is
	// for a vendor where finding the way to the token endpoint takes a token.
	AccessToken Secret
	// Reported says that a caller reported AccessToken refused by the vendor's API, at APIBaseURL.
	Reported bool
	Scope    []string
	// APIBaseURL is the host kept with the grant or named by the redirect; empty: the adapter's default.
	APIBaseURL string
}

// TokenResponse is a token set as the vendor gave it (RFC 6749 §5.1).
type TokenResponse struct {
	AccessToken Secret
	TokenType   string
	// RefreshToken is empty where the vendor sent none: the one that was presented stays.
	RefreshToken Secret
	// ExpiresIn is zero where the vendor did not say: Metadata.AccessLifetime counts.
	ExpiresIn time.Duration
	// Scope is nil where the vendor did not say: what was asked for stays.
	Scope []string
	// APIBaseURL is where the access token is used, without a slash at its end. Empty: the one known stays.
	APIBaseURL string
	// AccountID is the vendor's own id of the account, where the answer has it.
	AccountID string
}

// RevocationRequest ends one token (RFC 7009 §2.1).
type RevocationRequest struct {
	Client        Credentials
	Token         Secret
	TokenTypeHint string // "refresh_token" or "access_token"
	APIBaseURL    string
}

// Adapters finds the adapter of a vendor.
type Adapters interface {
	// Adapter returns the adapter of the vendor, or an error that says why there is none and what to do.
	// It answers at once: an adapter whose process is being restarted is still returned, and its calls fail with
	// the outcome [NotSent].
	Adapter(vendor string) (Adapter, error)
}
