package plugintest_test

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/oauth"
)

// example is the adapter of the example vendor, as its author writes it.
type example struct{ client *oauth.Client }

func newExample() example { return example{client: oauth.NewClient(oauth.Config{})} }

const exampleSettings = `{
  "type": "object", "additionalProperties": false,
  "properties": {
    "url": {"type": "string", "format": "uri", "default": "https://sign.example.com", "description": "Where the vendor is."},
    "api_key": {"type": "string", "writeOnly": true, "description": "Signs events."}
  }
}`

func (example) Metadata(context.Context) (core.Metadata, error) {
	return core.Metadata{
		Vendor: "example", Title: "Example Sign", Version: "1.0.0",
		GrantTypes:     []core.GrantType{core.AuthorizationCode, core.ClientCredentials, core.RefreshToken},
		AccessLifetime: time.Hour, RefreshIdleLifetime: 30 * 24 * time.Hour,
		RotatesRefreshTokens: true, RevokesTokens: true, PKCE: true,
		SettingsSchema: json.RawMessage(exampleSettings),
	}, nil
}

// endpoint says where the vendor is, and how it issues tokens.
func endpoint(c core.Credentials) (*url.URL, oauth.Endpoint, error) {
	u, err := oauth.URLSetting(c, "url", "https://sign.example.com")
	if err != nil {
		return nil, oauth.Endpoint{}, err
	}
	return u, oauth.Endpoint{TokenURL: u.JoinPath("token").String(), RevocationURL: u.JoinPath("revoke").String()}, nil
}

func (example) AuthorizationURL(_ context.Context, r core.AuthorizationRequest) (string, error) {
	u, _, err := endpoint(r.Client)
	if err != nil {
		return "", err
	}
	return oauth.AuthorizationURL(u.JoinPath("authorize"), url.Values{
		"response_type": {"code"}, "client_id": {r.Client.ClientID}, "redirect_uri": {r.RedirectURI}, "state": {r.State},
		"scope": {strings.Join(r.Scope, " ")}, "code_challenge": {r.CodeChallenge}, "code_challenge_method": {"S256"},
	}), nil
}

func (example) Callback(_ context.Context, r core.CallbackRequest) (core.CallbackResult, error) {
	return oauth.Callback(r.Params)
}

func (e example) Token(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
	u, endpoint, err := endpoint(r.Client)
	if err != nil {
		return core.TokenResponse{}, err
	}
	response, err := e.client.Token(ctx, endpoint, r)
	if err != nil {
		return core.TokenResponse{}, err
	}
	response.APIBaseURL = u.String()
	return response.TokenResponse, nil
}

func (e example) Revoke(ctx context.Context, r core.RevocationRequest) error {
	_, endpoint, err := endpoint(r.Client)
	if err != nil {
		return err
	}
	return e.client.Revoke(ctx, endpoint, r)
}

// CheckAPIBaseURL implements core.HostChecker.
func (example) CheckAPIBaseURL(_ context.Context, c core.Credentials, rawURL string) (string, error) {
	u, _, err := endpoint(c)
	if err != nil {
		return "", err
	}
	if strings.TrimSuffix(rawURL, "/") != u.String() {
		return "", oauth.HostRefused("only the vendor's own host is called")
	}
	return u.String(), nil
}

// ReadEvent implements core.EventReader.
func (example) ReadEvent(_ context.Context, r core.EventRequest) (core.VendorEvent, error) {
	if r.Header.Get("X-Api-Key") != r.Client.SecretSettings["api_key"].Reveal() {
		return core.VendorEvent{}, &core.VendorError{Outcome: core.NotSent, Code: core.CodeAccessDenied, Detail: "the event is not the vendor's"}
	}
	return core.VendorEvent{}, nil
}

// bad is example with methods that a defect puts in the place of its own; nil is its own.
type bad struct {
	example
	metadata  func(*core.Metadata)
	authorize func(context.Context, core.AuthorizationRequest) (string, error)
	callback  func(context.Context, core.CallbackRequest) (core.CallbackResult, error)
	token     func(context.Context, core.TokenRequest) (core.TokenResponse, error)
	revoke    func(context.Context, core.RevocationRequest) error
	checkHost func(string) (string, error)
	readEvent func() (core.VendorEvent, error)
}

func (b bad) Metadata(ctx context.Context) (core.Metadata, error) {
	m, err := b.example.Metadata(ctx)
	if b.metadata != nil {
		b.metadata(&m)
	}
	return m, err
}

func (b bad) AuthorizationURL(ctx context.Context, r core.AuthorizationRequest) (string, error) {
	if b.authorize != nil {
		return b.authorize(ctx, r)
	}
	return b.example.AuthorizationURL(ctx, r)
}

func (b bad) Callback(ctx context.Context, r core.CallbackRequest) (core.CallbackResult, error) {
	if b.callback != nil {
		return b.callback(ctx, r)
	}
	return b.example.Callback(ctx, r)
}

func (b bad) Token(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
	if b.token != nil {
		return b.token(ctx, r)
	}
	return b.example.Token(ctx, r)
}

func (b bad) Revoke(ctx context.Context, r core.RevocationRequest) error {
	if b.revoke != nil {
		return b.revoke(ctx, r)
	}
	return b.example.Revoke(ctx, r)
}

func (b bad) CheckAPIBaseURL(ctx context.Context, c core.Credentials, rawURL string) (string, error) {
	if b.checkHost != nil {
		return b.checkHost(rawURL)
	}
	return b.example.CheckAPIBaseURL(ctx, c, rawURL)
}

func (b bad) ReadEvent(ctx context.Context, r core.EventRequest) (core.VendorEvent, error) {
	if b.readEvent != nil {
		return b.readEvent()
	}
	return b.example.ReadEvent(ctx, r)
}
