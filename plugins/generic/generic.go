// Package generic is the adapter of any server that speaks OAuth 2.0, described by a client's settings alone.
//
// What it guarantees:
//
//   - What the settings leave out is looked up in the issuer's metadata document: RFC 8414, or else OpenID Connect
//     Discovery. The issuer in the document must be the client's in every character, and each URL in it https, of any
//     public host; under a loopback issuer they are of that same host, any port.
//   - A document is kept in memory for ten minutes, and however many calls wait for one, it is fetched once. A failure to
//     fetch it is [core.NotSent]: the token request was not made.
//   - An iss in the redirect (RFC 9207) must be the client's issuer, where it has one. It must be there where a document
//     in memory says that the server sends it.
//   - A code challenge is sent unless the client's settings say otherwise, and the verifier only with it.
//
// Nothing is known of the server beforehand, so the metadata says what is safe for all: refresh tokens are taken to
// rotate, and to have no end that could be seen coming. Every client's Revoke is asked; where the server has no
// revocation endpoint it returns errors.ErrUnsupported.
//
// AuthorizationURL, Token and Revoke may fetch the document, and so call the server twice; Metadata and Callback call
// nobody.
//
// It does not do what takes a key (private_key_jwt, mutual TLS, DPoP), nor read ID tokens.
package generic

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

// Config is what an Adapter is made of. Its zero value is right for production.
type Config struct {
	// OAuth configures the client of the server's endpoints.
	OAuth oauth.Config
	// Now is the clock by which a metadata document grows old. nil: time.Now.
	Now func() time.Time
}

// Adapter speaks to the server that a client's settings describe. It implements [core.Adapter].
type Adapter struct {
	client    *oauth.Client
	documents *documents
}

var _ core.Adapter = (*Adapter)(nil)

// New returns an Adapter. It does no I/O.
func New(cfg Config) *Adapter {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	client := oauth.NewClient(cfg.OAuth)
	return &Adapter{client: client, documents: newDocuments(discoverer{client}.fetch, cfg.Now)}
}

// Metadata implements [core.Adapter]. What differs between servers is what is safe for all of them.
func (a *Adapter) Metadata(context.Context) (core.Metadata, error) {
	return core.Metadata{
		Vendor:               "generic",
		Title:                "OAuth 2.0 server",
		Version:              "1.0.0",
		GrantTypes:           []core.GrantType{core.AuthorizationCode, core.ClientCredentials, core.RefreshToken},
		AccessLifetime:       time.Hour,
		RotatesRefreshTokens: true,
		RevokesTokens:        true,
		PKCE:                 true,
		SettingsSchema:       slices.Clone(settingsSchema),
	}, nil
}

// AuthorizationURL implements [core.Adapter]. It may fetch the issuer's metadata document.
func (a *Adapter) AuthorizationURL(ctx context.Context, r core.AuthorizationRequest) (string, error) {
	s, err := parseSettings(r.Client)
	if err != nil {
		return "", err
	}
	page, err := a.required(ctx, s, authorizationURL)
	if err != nil {
		return "", err
	}
	params := s.authorizationParams(r)
	if strings.Contains(page, "?") { // RFC 6749 §3.1: the query of the endpoint is retained
		return page + "&" + params.Encode(), nil
	}
	return page + "?" + params.Encode(), nil
}

// Callback implements [core.Adapter]. It refuses an answer of another issuer than the client's (RFC 9207 §2.4).
func (a *Adapter) Callback(_ context.Context, r core.CallbackRequest) (core.CallbackResult, error) {
	s, err := parseSettings(r.Client)
	if err != nil {
		return core.CallbackResult{}, err
	}
	if err := a.checkIssuer(s, r.Params); err != nil {
		return core.CallbackResult{}, err
	}
	return oauth.Callback(r.Params)
}

func (a *Adapter) checkIssuer(s settings, params url.Values) error {
	if s.issuer == "" {
		return nil
	}
	wrong := ""
	switch named := params["iss"]; {
	case len(named) > 1:
		wrong = "the redirect has the parameter iss more than once"
	case len(named) == 1 && named[0] != s.issuer:
		wrong = "the iss of the redirect is not the client's issuer"
	case len(named) == 0 && a.documents.kept(s.issuer).sendsIssuer:
		wrong = "the redirect has no iss, which the client's issuer says it sends"
	default:
		return nil
	}
	return &core.VendorError{Outcome: core.NotSent, Code: core.CodeInvalidRequest, Detail: wrong}
}

// Token implements [core.Adapter]. It may fetch the issuer's metadata document first. The answer's APIBaseURL is the
// setting api_base_url.
func (a *Adapter) Token(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
	s, err := parseSettings(r.Client)
	if err != nil {
		return core.TokenResponse{}, err
	}
	target := s.urls[refreshURL]
	if r.GrantType != core.RefreshToken || target == "" {
		if target, err = a.required(ctx, s, tokenURL); err != nil {
			return core.TokenResponse{}, err
		}
	}
	request, err := s.tokenRequest(target, r)
	if err != nil {
		return core.TokenResponse{}, err
	}
	answer, err := a.client.API(ctx, request)
	if err != nil {
		return core.TokenResponse{}, err
	}
	response, err := answer.Token(oauth.Endpoint{}, "")
	if err != nil {
		return core.TokenResponse{}, err
	}
	return s.complete(response.TokenResponse), nil
}

// Revoke implements [core.Adapter]. It may fetch the issuer's metadata document first.
func (a *Adapter) Revoke(ctx context.Context, r core.RevocationRequest) error {
	s, err := parseSettings(r.Client)
	if err != nil {
		return err
	}
	target, err := a.endpoint(ctx, s, revocationURL)
	if err != nil {
		return err
	}
	if target == "" {
		return errors.ErrUnsupported
	}
	e := oauth.Endpoint{RevocationURL: target, RevocationAuth: s.auth, DeadTokenCodes: []string{"invalid_token"}}
	if s.auth == oauth.AuthNone { // a public client says who it is, and proves nothing
		e.RevocationAuth, r.Client.ClientSecret = oauth.AuthBody, core.Secret{}
	}
	return a.client.Revoke(ctx, e, r)
}

// required is endpoint for one that there must be.
func (a *Adapter) required(ctx context.Context, s settings, name string) (string, error) {
	u, err := a.endpoint(ctx, s, name)
	if err == nil && u == "" {
		err = settingError(name, "not set, and no metadata document of an issuer names it")
	}
	return u, err
}

// endpoint returns the URL that the setting of that name has or that the issuer's document gives it; empty where neither
// names one.
func (a *Adapter) endpoint(ctx context.Context, s settings, name string) (string, error) {
	if u := s.urls[name]; u != "" || !s.discovers() {
		return u, nil
	}
	d, err := a.documents.get(ctx, s.issuer)
	return d.urls[name], err
}
