// Package dropboxsign is the adapter of Dropbox Sign, which was HelloSign.
//
// What is particular about the vendor:
//
//   - Scopes belong to the app and are not requested; changing them ends every grant.
//   - A person who denies is sent back with the state alone: no code and no error.
//   - The exchange takes JSON, wants the state again and no redirect URI. Credentials go in the body; HTTP Basic is
//     refused.
//   - A refresh goes to the token endpoint with the bare query "refresh". Refresh tokens are not known to rotate; one
//     that comes is kept all the same.
//   - expires_in has been documented as 3600, as 86400 and as a Unix time; a value above 1e9 is read as the latter.
//   - The member "error" is a string from the token endpoint and an object from the API.
//   - A 429 says when to come back by X-RateLimit-Reset.
//   - There is no revocation: Revoke returns errors.ErrUnsupported.
//   - Accounts can be looked up and created with the API key of the account that owns the app. The token set of a created
//     account works once its owner has confirmed; the vendor says so by an event that the same key signs.
package dropboxsign

import (
	"context"
	_ "embed" // for settings.json
	"errors"
	"net/url"
	"slices"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/oauth"
)

//go:embed settings.json
var settingsSchema []byte

// Config is what an Adapter is made of. Its zero value is right for production.
type Config struct {
	// OAuth configures the client of the vendor's endpoints.
	OAuth oauth.Config
}

// Adapter speaks Dropbox Sign's dialect. It implements [core.Adapter], [core.AccountVerifier], [core.AccountCreator]
// and [core.EventReader].
type Adapter struct{ client *oauth.Client }

var (
	_ core.Adapter         = (*Adapter)(nil)
	_ core.AccountVerifier = (*Adapter)(nil)
	_ core.AccountCreator  = (*Adapter)(nil)
	_ core.EventReader     = (*Adapter)(nil)
)

// New returns an Adapter. It does no I/O.
func New(cfg Config) *Adapter { return &Adapter{client: oauth.NewClient(cfg.OAuth)} }

// Metadata implements [core.Adapter]. The lifetime is the shorter of the two that the vendor shows.
func (a *Adapter) Metadata(context.Context) (core.Metadata, error) {
	return core.Metadata{
		Vendor:         "dropboxsign",
		Title:          "Dropbox Sign",
		Version:        "1.0.0",
		GrantTypes:     grantTypes(),
		AccessLifetime: time.Hour,
		SettingsSchema: slices.Clone(settingsSchema),
	}, nil
}

func grantTypes() []core.GrantType {
	return []core.GrantType{core.AuthorizationCode, core.RefreshToken}
}

// AuthorizationURL implements [core.Adapter]. The request's scope is not sent: the vendor takes none.
func (a *Adapter) AuthorizationURL(_ context.Context, r core.AuthorizationRequest) (string, error) {
	s, err := parseSettings(r.Client)
	if err != nil {
		return "", err
	}
	return oauth.AuthorizationURL(s.app.JoinPath("oauth/authorize"), url.Values{
		"response_type": {"code"},
		"client_id":     {r.Client.ClientID},
		"redirect_uri":  {r.RedirectURI},
		"state":         {r.State},
	}), nil
}

// Callback implements [core.Adapter]. A redirect with neither code nor error is a denial.
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
	response.AccountID = response.Extra["account_id"]
	return response.TokenResponse, nil
}

// Revoke returns errors.ErrUnsupported: the vendor has no revocation.
func (a *Adapter) Revoke(context.Context, core.RevocationRequest) error { return errors.ErrUnsupported }

// settings are a client's settings, checked.
type settings struct{ app, api *url.URL }

func parseSettings(c core.Credentials) (settings, error) {
	app, err := oauth.URLSetting(c, "app_url", "https://app.hellosign.com")
	if err != nil {
		return settings{}, err
	}
	api, err := oauth.URLSetting(c, "api_url", "https://api.hellosign.com")
	return settings{app: app, api: api}, err
}

// endpoint is how the vendor issues tokens.
func (s settings) endpoint() oauth.Endpoint {
	token := s.app.JoinPath("oauth/token").String()
	return oauth.Endpoint{
		TokenURL:    token,
		RefreshURL:  token + "?refresh",
		GrantTypes:  grantTypes(),
		Body:        oauth.JSONBody,
		SendState:   true,
		Omit:        []string{"redirect_uri"},
		EpochExpiry: true,
		Extra:       []string{"account_id"},
	}
}
