// Package docusign is the adapter of DocuSign eSignature.
//
// What is particular about the vendor:
//
//   - The client proves itself by HTTP Basic. PKCE is taken.
//   - An access token lives 8 hours, a refresh token 30 days. A refresh answers with a new refresh token, whose 30 days
//     begin again where the scope extended was granted.
//   - The token answer does not say where the API is. Userinfo does, so many times an hour: APIBaseURL is the base URI
//     of the person's default account, plus /restapi.
//   - There is no revocation endpoint.
package docusign

import (
	"context"
	_ "embed" // for settings.json
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/oauth"
)

//go:embed settings.json
var settingsSchema []byte

// userinfoWithin bounds the question where the API is, which waits with a token set in hand.
const userinfoWithin = 3 * time.Second

var hostPattern = regexp.MustCompile(`^([a-z0-9-]+\.)+docusign\.(net|com)$`)

// Config is what an Adapter is made of. Its zero value is right for production.
type Config struct {
	// OAuth configures the client of the vendor's endpoints.
	OAuth oauth.Config
}

// Adapter speaks DocuSign's dialect. It implements [core.Adapter] and [core.HostChecker].
type Adapter struct{ client *oauth.Client }

// New returns an Adapter. It does no I/O.
func New(cfg Config) *Adapter { return &Adapter{client: oauth.NewClient(cfg.OAuth)} }

// Metadata implements [core.Adapter].
func (a *Adapter) Metadata(context.Context) (core.Metadata, error) {
	return core.Metadata{
		Vendor: "docusign", Title: "DocuSign", Version: "1.0.0",
		GrantTypes:     []core.GrantType{core.AuthorizationCode, core.RefreshToken},
		AccessLifetime: 8 * time.Hour, RefreshIdleLifetime: 30 * 24 * time.Hour,
		RotatesRefreshTokens: true, PKCE: true,
		SettingsSchema: slices.Clone(settingsSchema),
	}, nil
}

func accountURL(c core.Credentials) (*url.URL, error) {
	return oauth.URLSetting(c, "account_url", "https://account.docusign.com")
}

// AuthorizationURL implements [core.Adapter].
func (a *Adapter) AuthorizationURL(_ context.Context, r core.AuthorizationRequest) (string, error) {
	account, err := accountURL(r.Client)
	if err != nil {
		return "", err
	}
	params := url.Values{
		"response_type": {"code"}, "client_id": {r.Client.ClientID}, "redirect_uri": {r.RedirectURI},
		"scope": {strings.Join(r.Scope, " ")}, "state": {r.State}, "code_challenge": {r.CodeChallenge},
	}
	if r.CodeChallenge != "" {
		params.Set("code_challenge_method", "S256")
	}
	return oauth.AuthorizationURL(account.JoinPath("oauth/auth"), params), nil
}

// Callback implements [core.Adapter].
func (a *Adapter) Callback(_ context.Context, r core.CallbackRequest) (core.CallbackResult, error) {
	return oauth.Callback(r.Params)
}

// Token implements [core.Adapter]. Where the API is, it asks with the first token set, and again where that is not known
// or a caller reported that the API refuses the token. Whatever comes of it, the token set is returned: with an empty
// APIBaseURL the one known stays, and where there is none the next refresh asks again.
func (a *Adapter) Token(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
	account, err := accountURL(r.Client)
	if err != nil {
		return core.TokenResponse{}, err
	}
	ctx, cancel := a.client.Within(ctx) // both requests together
	defer cancel()
	response, err := a.client.Token(ctx, oauth.Endpoint{
		TokenURL: account.JoinPath("oauth/token").String(), Auth: oauth.AuthBasic,
		GrantTypes: []core.GrantType{core.AuthorizationCode, core.RefreshToken},
	}, r)
	if err == nil && (r.GrantType == core.AuthorizationCode || r.APIBaseURL == "" || r.Reported) {
		a.locate(ctx, account.JoinPath("oauth/userinfo").String(), r.Client, &response.TokenResponse)
	}
	return response.TokenResponse, err
}

// locate adds to a token set where its default account is. It takes half of the time that is left, so that the other
// half brings the token set home.
func (a *Adapter) locate(ctx context.Context, userinfo string, c core.Credentials, set *core.TokenResponse) {
	deadline, _ := ctx.Deadline() // Within has set one
	ctx, cancel := context.WithTimeout(ctx, min(userinfoWithin, time.Until(deadline)/2))
	defer cancel()
	answer, err := a.client.API(ctx, oauth.APIRequest{Method: http.MethodGet, URL: userinfo, Bearer: set.AccessToken})
	var person struct {
		Accounts []struct {
			ID      string `json:"account_id"`
			Default bool   `json:"is_default"`
			BaseURI string `json:"base_uri"`
		} `json:"accounts"`
	}
	if err != nil || answer.Decode(&person) != nil {
		return
	}
	for _, known := range person.Accounts {
		if base, err := a.CheckAPIBaseURL(ctx, c, known.BaseURI); known.Default && err == nil {
			set.APIBaseURL, set.AccountID = base, known.ID
		}
	}
}

// CheckAPIBaseURL implements [core.HostChecker]. Where the account server is loopback, a sandbox stands for the vendor,
// and only that host is accepted, on any port.
func (a *Adapter) CheckAPIBaseURL(_ context.Context, c core.Credentials, rawURL string) (string, error) {
	account, err := accountURL(c)
	if err != nil {
		return "", err
	}
	u, err := oauth.VendorURL(rawURL)
	if err != nil || u.Path != "" && u.Path != "/restapi" {
		return "", oauth.HostRefused("the API base URL is not of the form https://host/restapi")
	}
	host := strings.ToLower(u.Host)
	sandboxed := oauth.Loopback(account) && strings.EqualFold(u.Hostname(), account.Hostname())
	if !sandboxed && (oauth.Loopback(account) || !hostPattern.MatchString(host)) {
		return "", oauth.HostRefused("the API host is not one of DocuSign's")
	}
	return u.Scheme + "://" + host + "/restapi", nil
}

// Revoke returns errors.ErrUnsupported.
func (a *Adapter) Revoke(context.Context, core.RevocationRequest) error { return errors.ErrUnsupported }
