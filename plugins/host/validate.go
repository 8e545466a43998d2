package host

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
)

const (
	maxLifetime = 10 * 365 * 24 * time.Hour
	maxTitle    = 100       // bytes
	maxVersion  = 64        // bytes
	maxSchema   = 256 << 10 // bytes
	maxURL      = 16 << 10  // bytes
)

// checkMetadata returns an error that names what a plugin's author has to mend.
func checkMetadata(m core.Metadata, vendor string) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("its metadata is wrong: "+format, args...)
	}
	switch {
	case m.Vendor != vendor:
		return wrong("Vendor is %q, the file is %s: name the file %s, or put the right one there",
			printable(m.Vendor, maxVendor), FileName(vendor), FileName(printable(m.Vendor, maxVendor)))
	case m.Title == "" || m.Title != printable(m.Title, maxTitle):
		return wrong("Title is empty, has control characters or is over %d letters", maxTitle)
	case m.Version != printable(m.Version, maxVersion):
		return wrong("Version has control characters or is over %d letters", maxVersion)
	case len(m.GrantTypes) == 0:
		return wrong("GrantTypes is empty")
	case len(m.GrantTypes) > 3:
		return wrong("GrantTypes has %d, and there are three", len(m.GrantTypes))
	case slices.ContainsFunc(m.GrantTypes, unknownGrantType):
		return wrong("GrantTypes has one that is none of %s, %s, %s", core.AuthorizationCode, core.ClientCredentials, core.RefreshToken)
	case m.AccessLifetime <= 0 || m.AccessLifetime > maxLifetime:
		return wrong("AccessLifetime is %v, not between 0 and ten years", m.AccessLifetime)
	case m.RefreshIdleLifetime < 0 || m.RefreshIdleLifetime > maxLifetime:
		return wrong("RefreshIdleLifetime is %v, not between 0 and ten years", m.RefreshIdleLifetime)
	case m.ConsentLifetime < 0 || m.ConsentLifetime > maxLifetime:
		return wrong("ConsentLifetime is %v, not between 0 and ten years", m.ConsentLifetime)
	}
	if err := checkSchema(m.SettingsSchema); err != nil {
		return wrong("SettingsSchema %w", err)
	}
	return nil
}

func unknownGrantType(t core.GrantType) bool {
	return t != core.AuthorizationCode && t != core.ClientCredentials && t != core.RefreshToken
}

func isJSONObject(raw json.RawMessage) bool {
	return json.Valid(raw) && bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{"))
}

// checkTokenResponse refuses a token set without an access token, or with a token too large to be kept. What else makes no
// sense is as good as not said: with the refusal a refresh token that the vendor rotated would be lost.
func checkTokenResponse(t core.TokenResponse) (core.TokenResponse, error) {
	if t.AccessToken.IsZero() {
		return core.TokenResponse{}, &core.VendorError{
			Outcome: core.Unknown, Code: core.CodeMalformedResponse, Detail: "the plugin answered without an access token",
		}
	}
	if max(len(t.AccessToken.Reveal()), len(t.RefreshToken.Reveal())) > maxToken {
		return core.TokenResponse{}, &core.VendorError{
			Outcome: core.Unknown, Code: core.CodeMalformedResponse, Detail: "the plugin answered with a token over 64 KiB",
		}
	}
	if t.TokenType != printable(t.TokenType, maxTokenType) {
		t.TokenType = ""
	}
	if !isScope(t.Scope) {
		t.Scope = nil // the one that is known stays
	}
	if t.ExpiresIn < 0 || t.ExpiresIn > maxLifetime {
		t.ExpiresIn = 0
	}
	if t.APIBaseURL != "" && checkURL("API base URL", t.APIBaseURL) != nil {
		t.APIBaseURL = "" // the one that is known stays
	}
	if checkAccountID(t.AccountID) != nil {
		t.AccountID = "" // likewise
	}
	return t, nil
}

// isScope reports whether a scope can be kept in a record and shown: its parts are words (RFC 6749 §3.3), and not too many.
func isScope(scope []string) bool {
	size := 0
	for _, part := range scope {
		size += len(part) + 1
		if part == "" || strings.ContainsFunc(part, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return false
		}
	}
	return size <= maxScope
}

const (
	maxToken     = 64 << 10 // bytes
	maxTokenType = 64       // letters
	maxScope     = 16 << 10 // bytes
	maxAccountID = 256      // bytes
	maxReply     = 4 << 10  // bytes
)

// checkAccountID refuses what no vendor calls an account: it is written into records and shown to people.
func checkAccountID(id string) error {
	if id != printable(id, maxAccountID) {
		return internal("the plugin's account id has control characters or is over 256 letters")
	}
	return nil
}

// checkCreatedAccount refuses an account without an id or a token: nothing could confirm or use it.
func checkCreatedAccount(c core.CreatedAccount) (core.CreatedAccount, error) {
	tokens, err := checkTokenResponse(c.Tokens)
	if err != nil {
		return core.CreatedAccount{}, err
	}
	if c.AccountID == "" {
		return core.CreatedAccount{}, internal("the plugin answered without the account's id")
	}
	c.Tokens = tokens
	return c, checkAccountID(c.AccountID)
}

// checkEvent takes an event of a type that it does not know for one of no interest, and refuses one without an account.
func checkEvent(e core.VendorEvent) (core.VendorEvent, error) {
	switch e.Type {
	case core.VendorEventAccountConfirmed, core.VendorEventAuthorizationRevoked:
		if e.AccountID == "" {
			return core.VendorEvent{}, internal("the plugin's event is about no account")
		}
	default:
		e.Type = core.VendorEventIgnored
	}
	if e.Reply != printable(e.Reply, maxReply) {
		return core.VendorEvent{}, internal("the plugin's reply to the vendor has control characters or is over 4 KiB")
	}
	return e, checkAccountID(e.AccountID)
}

var deniedCode = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// checkCallback refuses a result that is neither a code nor a denial, or both.
func checkCallback(c core.CallbackResult) (core.CallbackResult, error) {
	if c.Code.IsZero() == (c.Denied == "") {
		return core.CallbackResult{}, internal("the plugin answered with neither a code nor a denial, or with both")
	}
	if c.Denied != "" && !deniedCode.MatchString(c.Denied) {
		c.Denied = core.CodeAccessDenied // it may be the vendor's words
	}
	if c.APIBaseURL == "" {
		return c, nil
	}
	if err := checkURL("API base URL", c.APIBaseURL); err != nil {
		return core.CallbackResult{}, err
	}
	return c, nil
}

// checkURL refuses what is no absolute https URL; http is good for a loopback host. The error does not hold the URL.
func checkURL(what, raw string) error {
	u, err := url.Parse(raw)
	if err != nil || len(raw) > maxURL || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return internal("the plugin's " + what + " is no absolute URL")
	}
	if u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()) {
		return nil
	}
	return internal("the plugin's " + what + " is not https")
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

func internal(detail string) *core.VendorError {
	return &core.VendorError{Outcome: core.Unknown, Code: core.CodeInternal, Detail: detail}
}
