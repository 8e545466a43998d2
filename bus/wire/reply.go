package wire

import (
	"log/slog"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
)

// Token is a live access token: the reply of token.get, token.refresh and token.report.
type Token struct {
	Grant       string         `json:"grant"`
	Tenant      string         `json:"tenant"`
	Client      string         `json:"client"`
	Vendor      string         `json:"vendor"`
	Account     string         `json:"account"`
	AccessToken Secret         `json:"access_token"`
	TokenType   string         `json:"token_type"`
	ExpiresAt   Time           `json:"expires_at"`
	ExpiresIn   int64          `json:"expires_in"`
	Scope       string         `json:"scope"`
	APIBaseURL  string         `json:"api_base_url"`
	Generation  uint64         `json:"generation"`
	Warnings    []core.Warning `json:"warnings"`
}

// TokenOf returns t as a message.
func TokenOf(t core.Token) Token {
	return Token{
		Grant: t.Grant, Tenant: t.Tenant, Client: t.Client, Vendor: t.Vendor, Account: t.Account,
		AccessToken: Secret{t.AccessToken}, TokenType: t.TokenType, ExpiresAt: Time{t.ExpiresAt},
		ExpiresIn: int64(t.ExpiresIn / time.Second), Scope: strings.Join(t.Scope, " "), APIBaseURL: t.APIBaseURL,
		Generation: t.Generation, Warnings: warnings(t.Warnings),
	}
}

// Core returns the token that the message tells of.
func (t Token) Core() core.Token {
	return core.Token{
		Grant: t.Grant, Tenant: t.Tenant, Client: t.Client, Vendor: t.Vendor, Account: t.Account,
		AccessToken: t.AccessToken.Secret, TokenType: t.TokenType, ExpiresAt: t.ExpiresAt.Time,
		ExpiresIn: time.Duration(t.ExpiresIn) * time.Second, Scope: scope(t.Scope), APIBaseURL: t.APIBaseURL,
		Generation: t.Generation, Warnings: t.Warnings,
	}
}

// LogValue keeps the token out of logs.
func (t Token) LogValue() slog.Value {
	return slog.GroupValue(slog.String("grant", t.Grant), slog.Uint64("generation", t.Generation))
}

// Grant is what may be told of a grant: the reply of the grant endpoints and of token.revoke. It never holds a token.
type Grant struct {
	Grant            string         `json:"grant"`
	Tenant           string         `json:"tenant"`
	Client           string         `json:"client"`
	Vendor           string         `json:"vendor"`
	Account          string         `json:"account"`
	State            core.State     `json:"state"`
	Reason           string         `json:"reason,omitempty"`
	Scope            string         `json:"scope"`
	Generation       uint64         `json:"generation"`
	IssuedAt         Time           `json:"issued_at,omitzero"`
	ExpiresAt        Time           `json:"expires_at,omitzero"`
	ConsentExpiresAt Time           `json:"consent_expires_at,omitzero"`
	Attempts         int64          `json:"attempts"`
	LastError        string         `json:"last_error,omitempty"`
	NextAttempt      Time           `json:"next_attempt,omitzero"`
	VendorRevoked    *bool          `json:"vendor_revoked,omitempty"` // in the reply of token.revoke
	Warnings         []core.Warning `json:"warnings"`
}

// GrantOf returns g as a message.
func GrantOf(g core.GrantInfo) Grant {
	return Grant{
		Grant: g.Grant, Tenant: g.Tenant, Client: g.Client, Vendor: g.Vendor, Account: g.Account, State: g.State,
		Reason: g.Reason, Scope: strings.Join(g.Scope, " "), Generation: g.Generation, IssuedAt: Time{g.IssuedAt},
		ExpiresAt: Time{g.ExpiresAt}, ConsentExpiresAt: Time{g.ConsentExpiresAt}, Attempts: int64(g.Attempts),
		LastError: g.LastError, NextAttempt: Time{g.NextAttempt}, VendorRevoked: g.VendorRevoked,
		Warnings: warnings(g.Warnings),
	}
}

// Core returns the grant that the message tells of.
func (g Grant) Core() core.GrantInfo {
	return core.GrantInfo{
		Grant: g.Grant, Tenant: g.Tenant, Client: g.Client, Vendor: g.Vendor, Account: g.Account, State: g.State,
		Reason: g.Reason, Scope: scope(g.Scope), Generation: g.Generation, IssuedAt: g.IssuedAt.Time,
		ExpiresAt: g.ExpiresAt.Time, ConsentExpiresAt: g.ConsentExpiresAt.Time, Attempts: int(g.Attempts),
		LastError: g.LastError, NextAttempt: g.NextAttempt.Time, VendorRevoked: g.VendorRevoked, Warnings: g.Warnings,
	}
}

// GrantPage is a page of grants: the reply of grant.list.
type GrantPage struct {
	Grants []Grant `json:"grants"`
	// Cursor gets the next page. Empty: this is the last.
	Cursor string `json:"cursor,omitempty"`
}

// GrantPageOf returns a page as a message.
func GrantPageOf(infos []core.GrantInfo, cursor string) GrantPage {
	p := GrantPage{Grants: make([]Grant, len(infos)), Cursor: cursor}
	for i, info := range infos {
		p.Grants[i] = GrantOf(info)
	}
	return p
}

// Authorization is an authorization in progress: the reply of grant.authorize.
type Authorization struct {
	Grant      string `json:"grant"`
	ConnectURL string `json:"connect_url"`
	ExpiresAt  Time   `json:"expires_at"`
	// AuthorizationURL and OAuthState are there where the request had a redirect_uri.
	AuthorizationURL string `json:"authorization_url,omitempty"`
	OAuthState       string `json:"oauth_state,omitempty"`
}

// AuthorizationOf returns a as a message.
func AuthorizationOf(a core.Authorization) Authorization {
	return Authorization{
		Grant: a.Grant, ConnectURL: a.ConnectURL, ExpiresAt: Time{a.ExpiresAt}, AuthorizationURL: a.AuthorizationURL,
		OAuthState: a.State,
	}
}

// Core returns the authorization that the message tells of.
func (a Authorization) Core() core.Authorization {
	return core.Authorization{
		Grant: a.Grant, ConnectURL: a.ConnectURL, ExpiresAt: a.ExpiresAt.Time, AuthorizationURL: a.AuthorizationURL,
		State: a.OAuthState,
	}
}

// Account says whether there is an account at the vendor: the reply of account.verify.
type Account struct {
	Exists    bool   `json:"exists"`
	AccountID string `json:"account_id,omitempty"`
}

// AccountOf returns l as a message.
func AccountOf(l core.AccountLookup) Account { return Account(l) }

// CreatedAccount is the reply of account.create: the new grant, with the vendor's id of the account.
type CreatedAccount struct {
	Grant
	AccountID string `json:"account_id"`
}

// CreatedAccountOf returns g as a message.
func CreatedAccountOf(g core.GrantInfo) CreatedAccount {
	return CreatedAccount{Grant: GrantOf(g), AccountID: g.AccountID}
}

// Core returns the grant that the message tells of.
func (c CreatedAccount) Core() core.GrantInfo {
	g := c.Grant.Core()
	g.AccountID = c.AccountID
	return g
}

// warnings returns ws as an array in any case.
func warnings(ws []core.Warning) []core.Warning {
	if ws == nil {
		return []core.Warning{}
	}
	return ws
}

// scope splits a scope (RFC 6749 §3.3). An empty one is nil.
func scope(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Fields(s)
}
