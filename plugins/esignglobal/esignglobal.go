// Package esignglobal is the adapter of eSignGlobal.
//
// What is particular about the vendor:
//
//   - The consent page takes clientId and redirectUri, in that spelling.
//   - One endpoint issues tokens for all three grant types. It takes multipart/form-data and nothing else, and no
//     redirect URI.
//   - It knows client_credentials: an application's own token, without a refresh token. A token that is still live may
//     be handed out again, so expires_in is what is left of it.
//   - An access token lives 24 hours. A refresh token lives 30 days, and refreshing starts them again. A consent ends
//     after 365 days whatever was done.
//   - Whether refresh tokens rotate is not documented, so they are taken to.
//   - Its APIs report failures with HTTP 200 and a code that is not 0. Such an answer is a failure, and so is one without
//     an access token. No code is known that would prove a grant dead, so none does; only OAuth's own invalid_grant.
//   - An account's data centre decides the API host (openapi-as1, openapi-as2, openapi-eu1); it is a setting. The
//     vendor speaks TLS 1.2 only.
//   - There is no revocation: Revoke returns errors.ErrUnsupported.
package esignglobal

import (
	"context"
	_ "embed" // for settings.json
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/oauth"
)

//go:embed settings.json
var settingsSchema []byte

const day = 24 * time.Hour

// Config is what an Adapter is made of. Its zero value is right for production.
type Config struct {
	// OAuth configures the client of the vendor's endpoints.
	OAuth oauth.Config
}

// Adapter speaks eSignGlobal's dialect. It implements [core.Adapter].
type Adapter struct{ client *oauth.Client }

var _ core.Adapter = (*Adapter)(nil)

// New returns an Adapter. It does no I/O.
func New(cfg Config) *Adapter { return &Adapter{client: oauth.NewClient(cfg.OAuth)} }

// Metadata implements [core.Adapter].
func (a *Adapter) Metadata(context.Context) (core.Metadata, error) {
	return core.Metadata{
		Vendor:               "esignglobal",
		Title:                "eSignGlobal",
		Version:              "1.0.0",
		GrantTypes:           grantTypes(),
		AccessLifetime:       day,
		RefreshIdleLifetime:  30 * day,
		ConsentLifetime:      365 * day,
		RotatesRefreshTokens: true,
		SettingsSchema:       slices.Clone(settingsSchema),
	}, nil
}

func grantTypes() []core.GrantType {
	return []core.GrantType{core.AuthorizationCode, core.ClientCredentials, core.RefreshToken}
}

// AuthorizationURL implements [core.Adapter].
func (a *Adapter) AuthorizationURL(_ context.Context, r core.AuthorizationRequest) (string, error) {
	s, err := parseSettings(r.Client)
	if err != nil {
		return "", err
	}
	return oauth.AuthorizationURL(s.account.JoinPath("oauth"), url.Values{
		"response_type": {"code"},
		"clientId":      {r.Client.ClientID},
		"redirectUri":   {r.RedirectURI},
		"scope":         {strings.Join(r.Scope, " ")},
		"state":         {r.State},
	}), nil
}

// Callback implements [core.Adapter]. The vendor does not document its redirect; it is read as OAuth's.
func (a *Adapter) Callback(_ context.Context, r core.CallbackRequest) (core.CallbackResult, error) {
	return oauth.Callback(r.Params)
}

// Token implements [core.Adapter]. The answer's APIBaseURL is the setting api_url, where the token is used.
func (a *Adapter) Token(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
	s, err := parseSettings(r.Client)
	if err != nil {
		return core.TokenResponse{}, err
	}
	response, err := a.client.Token(ctx, s.endpoint(), r)
	if err != nil {
		return core.TokenResponse{}, err
	}
	response.APIBaseURL = s.api.String()
	return response.TokenResponse, nil
}

// Revoke returns errors.ErrUnsupported: the vendor has no revocation.
func (a *Adapter) Revoke(context.Context, core.RevocationRequest) error { return errors.ErrUnsupported }

// settings are a client's settings, checked.
type settings struct{ account, api *url.URL }

func parseSettings(c core.Credentials) (settings, error) {
	account, err := oauth.URLSetting(c, "account_url", "https://account.esignglobal.com")
	if err != nil {
		return settings{}, err
	}
	api, err := oauth.URLSetting(c, "api_url", "https://openapi-as1.esignglobal.com")
	return settings{account: account, api: api}, err
}

// endpoint is how the vendor issues tokens.
func (s settings) endpoint() oauth.Endpoint {
	return oauth.Endpoint{
		TokenURL:        s.api.JoinPath("esignglobal/v1/oauth2/accessToken").String(),
		GrantTypes:      grantTypes(),
		Body:            oauth.MultipartBody,
		Omit:            []string{"redirect_uri", "scope"},
		RemainingExpiry: true,
		BusinessCode:    true,
	}
}
