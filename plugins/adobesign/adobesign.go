// Package adobesign is the adapter of Adobe Acrobat Sign, the commercial service.
//
// What is particular about the vendor:
//
//   - Accounts live on shards (na1, eu1, …). The consent page is on the web host, and the vendor names the account's
//     API host as api_access_point: in the redirect with the older flow, in the token answer with the newer. The
//     client secret is posted to that host, so it is checked against the pattern of Adobe's hosts before it is used.
//   - An account may be moved to another shard. Its old API host then refuses, with INVALID_API_ACCESS_POINT or a plain
//     403, and baseUris, asked with an access token, says where the account is now. See [Adapter.Token].
//   - A refresh goes to an endpoint of its own and answers with an access token alone: refresh token and host stay.
//     Refresh tokens are not rotated. An access token lives an hour; a refresh token dies after 60 days of disuse.
//   - Scopes have modifiers, as in agreement_send:account, and are required.
//   - Revocation takes the token and no client credentials; revoking either token of a pair ends both.
//   - Error codes come in upper case, as "error" or as "code".
//
// The API host is returned as core.TokenResponse.APIBaseURL without its trailing slash.
//
// It does not serve Adobe Acrobat Sign for government, which has hosts and paths of its own, needs the scope
// offline_access for a refresh token, and lets one die after 30 days of disuse. That is another vendor to esignd: a
// package and a plugin beside this one, with a name, metadata, settings and host pattern of its own, over
// plugins/oauth. Nothing of it need be added here, and a government host is refused here like any foreign one.
package adobesign

import (
	"context"
	_ "embed" // for settings.json
	"net/url"
	"slices"
	"strings"
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

// Adapter speaks Adobe Acrobat Sign's dialect. It implements [core.Adapter] and [core.HostChecker].
type Adapter struct{ client *oauth.Client }

var (
	_ core.Adapter     = (*Adapter)(nil)
	_ core.HostChecker = (*Adapter)(nil)
)

// New returns an Adapter. It does no I/O.
func New(cfg Config) *Adapter { return &Adapter{client: oauth.NewClient(cfg.OAuth)} }

// Metadata implements [core.Adapter].
func (a *Adapter) Metadata(context.Context) (core.Metadata, error) {
	return core.Metadata{
		Vendor:              "adobesign",
		Title:               "Adobe Acrobat Sign",
		Version:             "1.0.0",
		GrantTypes:          grantTypes(),
		AccessLifetime:      time.Hour,
		RefreshIdleLifetime: 60 * 24 * time.Hour,
		RevokesTokens:       true,
		SettingsSchema:      slices.Clone(settingsSchema),
	}, nil
}

func grantTypes() []core.GrantType {
	return []core.GrantType{core.AuthorizationCode, core.RefreshToken}
}

// AuthorizationURL implements [core.Adapter]. The vendor requires a scope.
func (a *Adapter) AuthorizationURL(_ context.Context, r core.AuthorizationRequest) (string, error) {
	s, err := parseSettings(r.Client)
	if err != nil {
		return "", err
	}
	if len(r.Scope) == 0 {
		return "", &core.VendorError{
			Outcome: core.NotSent,
			Code:    core.CodeInvalidScope,
			Detail:  "Adobe Acrobat Sign requires a scope, such as user_login:self",
		}
	}
	page := oauth.AuthorizationURL(s.web.JoinPath(s.consentPath), url.Values{
		"response_type": {"code"},
		"client_id":     {r.Client.ClientID},
		"redirect_uri":  {r.RedirectURI},
		"state":         {r.State},
	})
	// The vendor writes the colon before a scope's modifier bare.
	scope := strings.ReplaceAll(url.QueryEscape(strings.Join(r.Scope, " ")), "%3A", ":")
	return page + "&scope=" + scope, nil
}

// Callback implements [core.Adapter]. It refuses an api_access_point that is not one of the vendor's.
func (a *Adapter) Callback(_ context.Context, r core.CallbackRequest) (core.CallbackResult, error) {
	s, err := parseSettings(r.Client)
	if err != nil {
		return core.CallbackResult{}, err
	}
	result, err := oauth.Callback(r.Params)
	if err != nil || result.Denied != "" {
		return result, err
	}
	switch points := r.Params["api_access_point"]; {
	case len(points) > 1:
		return core.CallbackResult{}, oauth.HostRefused("the vendor's redirect has more than one api_access_point")
	case len(points) == 0 || points[0] == "":
		return result, nil
	default:
		result.APIBaseURL, err = s.checkHost(points[0])
	}
	if err != nil {
		return core.CallbackResult{}, err
	}
	return result, nil
}

// Token implements [core.Adapter]. The answer's APIBaseURL is the host that the vendor named, or else the one that was
// asked.
//
// A refresh that is refused as sent to the wrong shard follows the account to its new one, once, where the request has
// an access token to ask the way with; where there is none, or it has expired, the refusal stands. After a refresh of a
// reported token, whose shard may have moved without the token endpoint minding, the way is asked with the new token.
func (a *Adapter) Token(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
	s, base, err := settingsAndBase(r.Client, r.APIBaseURL)
	if err != nil {
		return core.TokenResponse{}, err
	}
	ctx, cancel := a.client.Within(ctx)
	defer cancel()
	answer, err := a.client.TokenAnswer(ctx, s.endpoint(base), r)
	if err != nil {
		return core.TokenResponse{}, err
	}
	refresh := r.GrantType == core.RefreshToken
	if refresh && movedAway(answer) {
		return a.follow(ctx, s, base, r, answer)
	}
	response, err := s.response(base, answer)
	if err == nil && refresh && r.Reported {
		response.APIBaseURL = a.shardOr(ctx, s, response)
	}
	return response, err
}

// Revoke implements [core.Adapter].
func (a *Adapter) Revoke(ctx context.Context, r core.RevocationRequest) error {
	s, base, err := settingsAndBase(r.Client, r.APIBaseURL)
	if err != nil {
		return err
	}
	return a.client.Revoke(ctx, s.endpoint(base), r)
}

// CheckAPIBaseURL implements [core.HostChecker].
func (a *Adapter) CheckAPIBaseURL(_ context.Context, c core.Credentials, rawURL string) (string, error) {
	s, err := parseSettings(c)
	if err != nil {
		return "", err
	}
	return s.checkHost(rawURL)
}
