package wire

import (
	"log/slog"
	"net/url"
	"time"

	"github.com/esignd/esignd/core"
)

// MaxRequest is how many bytes a request may have.
const MaxRequest = 64 << 10

// maxMinTTL bounds min_ttl: a year, in seconds.
const maxMinTTL = 365 * 24 * 60 * 60

// Selector names a grant: by its id, or by client and account. It is the request of token.refresh, grant.get and
// grant.forget, and part of others. A client_credentials client has no account.
type Selector struct {
	Grant   string `json:"grant,omitempty"`
	Client  string `json:"client,omitempty"`
	Account string `json:"account,omitempty"`
}

// SelectorOf returns s as a message.
func SelectorOf(s core.Selector) Selector {
	return Selector{Grant: s.Grant, Client: s.Client, Account: s.Account}
}

// Core returns the selector for a tenant.
func (s Selector) Core(tenant string) core.Selector {
	return core.Selector{Tenant: tenant, Grant: s.Grant, Client: s.Client, Account: s.Account}
}

func (s Selector) check() error {
	if s.Grant != "" && (!ValidToken(s.Grant) || len(s.Grant) > 64) {
		return core.FieldErrorf("grant", "this is not a grant's id; those are g_ and hexadecimal digits")
	}
	return nil
}

// TokenGetRequest asks for a live token: token.get.
type TokenGetRequest struct {
	Selector
	// MinTTL is for how many seconds the token must live. nil: the smaller of 60 and a sixth of its lifetime.
	MinTTL *int64 `json:"min_ttl,omitempty"`
}

// Duration returns MinTTL as the Manager takes it.
func (r TokenGetRequest) Duration() time.Duration {
	if r.MinTTL == nil {
		return core.DefaultMinTTL
	}
	return time.Duration(*r.MinTTL) * time.Second
}

func (r TokenGetRequest) check() error {
	if r.MinTTL != nil && (*r.MinTTL < 0 || *r.MinTTL > maxMinTTL) {
		return core.FieldErrorf("min_ttl", "whole seconds from 0 to %d are wanted", maxMinTTL)
	}
	return r.Selector.check()
}

// TokenReportRequest says that the vendor refused the access token of a generation: token.report.
type TokenReportRequest struct {
	Selector
	Generation uint64 `json:"generation"`
}

// TokenRevokeRequest ends a grant's tokens: token.revoke.
type TokenRevokeRequest struct {
	Selector
	// Reason is the caller's own, for the event.
	Reason string `json:"reason,omitempty"`
}

// AuthorizeRequest starts an authorization: grant.authorize.
type AuthorizeRequest struct {
	Client  string `json:"client"`
	Account string `json:"account"`
	// Scopes to ask for. None: those of the client's configuration.
	Scopes []string `json:"scopes,omitempty"`
	// ReturnTo is where the connect flow sends the browser in the end.
	ReturnTo string `json:"return_to,omitempty"`
	// RedirectURI is the service's own callback.
	RedirectURI string `json:"redirect_uri,omitempty"`
}

// AuthorizeRequestOf returns r as a message.
func AuthorizeRequestOf(r core.AuthorizeRequest) AuthorizeRequest {
	return AuthorizeRequest{
		Client: r.Client, Account: r.Account, Scopes: r.Scopes, ReturnTo: r.ReturnTo, RedirectURI: r.RedirectURI,
	}
}

// Core returns the request for a tenant.
func (r AuthorizeRequest) Core(tenant string) core.AuthorizeRequest {
	return core.AuthorizeRequest{
		Tenant: tenant, Client: r.Client, Account: r.Account, Scopes: r.Scopes, ReturnTo: r.ReturnTo,
		RedirectURI: r.RedirectURI,
	}
}

// ExchangeRequest brings the redirect that a service got at its own callback: grant.exchange.
type ExchangeRequest struct {
	Params Params `json:"params"`
	// RedirectURI is where the redirect arrived; empty: not said.
	RedirectURI string `json:"redirect_uri,omitempty"`
}

// Core returns the request for a tenant.
func (r ExchangeRequest) Core(tenant string) core.ExchangeRequest {
	return core.ExchangeRequest{Tenant: tenant, Params: r.Params.Values(), RedirectURI: r.RedirectURI}
}

// LogValue keeps the code and the state out of logs.
func (r ExchangeRequest) LogValue() slog.Value { return slog.IntValue(len(r.Params)) }

// Params are the query parameters of a redirect. In JSON each is a string, or an array of strings where a parameter
// came more than once. They hold the authorization code, so they are not for logs.
type Params map[string]ParamValues

// ParamValues are the values of one query parameter.
type ParamValues []Secret

// NewParams returns q as Params.
func NewParams(q url.Values) Params {
	p := make(Params, len(q))
	for name, values := range q {
		for _, v := range values {
			p[name] = append(p[name], NewSecret(v))
		}
	}
	return p
}

// Values returns the parameters as they stood in the query.
func (p Params) Values() url.Values {
	q := make(url.Values, len(p))
	for name, values := range p {
		for _, v := range values {
			q.Add(name, v.Reveal())
		}
	}
	return q
}

// ImportRequest brings a grant that was consented to elsewhere: grant.import.
type ImportRequest struct {
	Client       string `json:"client"`
	Account      string `json:"account"`
	RefreshToken Secret `json:"refresh_token"`
	AccessToken  Secret `json:"access_token,omitzero"`
	ExpiresAt    Time   `json:"expires_at,omitzero"`
	APIBaseURL   string `json:"api_base_url,omitempty"`
	// Replace lets the import take the place of an active grant.
	Replace bool `json:"replace,omitempty"`
}

// LogValue keeps the tokens out of logs.
func (r ImportRequest) LogValue() slog.Value {
	return slog.GroupValue(slog.String("client", r.Client), slog.Bool("replace", r.Replace))
}

// ImportRequestOf returns r as a message.
func ImportRequestOf(r core.ImportRequest) ImportRequest {
	return ImportRequest{
		Client: r.Client, Account: r.Account, RefreshToken: Secret{r.RefreshToken}, AccessToken: Secret{r.AccessToken},
		ExpiresAt: Time{r.ExpiresAt}, APIBaseURL: r.APIBaseURL, Replace: r.Replace,
	}
}

// Core returns the request for a tenant.
func (r ImportRequest) Core(tenant string) core.ImportRequest {
	return core.ImportRequest{
		Tenant: tenant, Client: r.Client, Account: r.Account, RefreshToken: r.RefreshToken.Secret,
		AccessToken: r.AccessToken.Secret, ExpiresAt: r.ExpiresAt.Time, APIBaseURL: r.APIBaseURL, Replace: r.Replace,
	}
}

// ListRequest selects grants of the tenant: grant.list. Empty fields select all.
type ListRequest struct {
	Client string     `json:"client,omitempty"`
	Vendor string     `json:"vendor,omitempty"`
	State  core.State `json:"state,omitempty"`
	// Limit is how many grants a page has at most, from 1 to 1000. 0: 100.
	Limit int64 `json:"limit,omitempty"`
	// Cursor is that of the page before.
	Cursor string `json:"cursor,omitempty"`
}

// maxLimit is the most grants that a page may have.
const maxLimit = 1000

func (r ListRequest) check() error {
	if r.Limit < 0 || r.Limit > maxLimit {
		return core.FieldErrorf("limit", "a number from 1 to %d is wanted", maxLimit)
	}
	return nil
}

// ListRequestOf returns f as a message.
func ListRequestOf(f core.GrantFilter) ListRequest {
	return ListRequest{Client: f.Client, Vendor: f.Vendor, State: f.State, Limit: int64(f.Limit), Cursor: f.Cursor}
}

// Core returns the filter for a tenant.
func (r ListRequest) Core(tenant string) core.GrantFilter {
	return core.GrantFilter{
		Tenant: tenant, Client: r.Client, Vendor: r.Vendor, State: r.State, Limit: int(r.Limit), Cursor: r.Cursor,
	}
}

// AccountRequest names an account at the vendor by e-mail address: account.verify and account.create.
type AccountRequest struct {
	Client       string `json:"client"`
	EmailAddress string `json:"email_address"`
}

// Core returns what a tenant asks.
func (r AccountRequest) Core(tenant string) core.AccountAsk {
	return core.AccountAsk{Tenant: tenant, Client: r.Client, EmailAddress: r.EmailAddress}
}
