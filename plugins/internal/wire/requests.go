package wire

import (
	"maps"
	"net/url"
	"slices"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/internal/wire/pluginv1"
)

// EncodeAuthorizationRequest is the inverse of DecodeAuthorizationRequest.
func EncodeAuthorizationRequest(r core.AuthorizationRequest) *pluginv1.AuthorizationURLRequest {
	return &pluginv1.AuthorizationURLRequest{
		Client:        encodeCredentials(r.Client),
		RedirectUri:   r.RedirectURI,
		State:         r.State,
		Scope:         encodeScope(r.Scope),
		CodeChallenge: r.CodeChallenge,
	}
}

// DecodeAuthorizationRequest is the inverse of EncodeAuthorizationRequest.
func DecodeAuthorizationRequest(m *pluginv1.AuthorizationURLRequest) core.AuthorizationRequest {
	return core.AuthorizationRequest{
		Client:        decodeCredentials(m.GetClient()),
		RedirectURI:   m.GetRedirectUri(),
		State:         m.GetState(),
		Scope:         decodeScope(m.GetScope()),
		CodeChallenge: m.GetCodeChallenge(),
	}
}

// EncodeCallbackRequest is the inverse of DecodeCallbackRequest. Parameters come in the order of their names.
func EncodeCallbackRequest(r core.CallbackRequest) *pluginv1.CallbackRequest {
	m := &pluginv1.CallbackRequest{Client: encodeCredentials(r.Client)}
	for _, name := range slices.Sorted(maps.Keys(r.Params)) {
		m.Params = append(m.Params, &pluginv1.Param{Name: name, Values: r.Params[name]})
	}
	return m
}

// DecodeCallbackRequest is the inverse of EncodeCallbackRequest.
func DecodeCallbackRequest(m *pluginv1.CallbackRequest) core.CallbackRequest {
	r := core.CallbackRequest{Client: decodeCredentials(m.GetClient()), Params: url.Values{}}
	for _, p := range m.GetParams() {
		r.Params[p.GetName()] = append(r.Params[p.GetName()], p.GetValues()...)
	}
	return r
}

// EncodeTokenRequest is the inverse of DecodeTokenRequest.
func EncodeTokenRequest(r core.TokenRequest) *pluginv1.TokenRequest {
	return &pluginv1.TokenRequest{
		Client:       encodeCredentials(r.Client),
		GrantType:    string(r.GrantType),
		Code:         r.Code.Reveal(),
		RedirectUri:  r.RedirectURI,
		State:        r.State.Reveal(),
		CodeVerifier: r.CodeVerifier.Reveal(),
		RefreshToken: r.RefreshToken.Reveal(),
		Scope:        encodeScope(r.Scope),
		ApiBaseUrl:   r.APIBaseURL,
		AccessToken:  r.AccessToken.Reveal(),
		Reported:     r.Reported,
	}
}

// DecodeTokenRequest is the inverse of EncodeTokenRequest.
func DecodeTokenRequest(m *pluginv1.TokenRequest) core.TokenRequest {
	return core.TokenRequest{
		Client:       decodeCredentials(m.GetClient()),
		GrantType:    core.GrantType(m.GetGrantType()),
		Code:         core.NewSecret(m.GetCode()),
		RedirectURI:  m.GetRedirectUri(),
		State:        core.NewSecret(m.GetState()),
		CodeVerifier: core.NewSecret(m.GetCodeVerifier()),
		RefreshToken: core.NewSecret(m.GetRefreshToken()),
		Scope:        decodeScope(m.GetScope()),
		APIBaseURL:   m.GetApiBaseUrl(),
		AccessToken:  core.NewSecret(m.GetAccessToken()),
		Reported:     m.GetReported(),
	}
}

// EncodeRevocationRequest is the inverse of DecodeRevocationRequest.
func EncodeRevocationRequest(r core.RevocationRequest) *pluginv1.RevokeRequest {
	return &pluginv1.RevokeRequest{
		Client:        encodeCredentials(r.Client),
		Token:         r.Token.Reveal(),
		TokenTypeHint: r.TokenTypeHint,
		ApiBaseUrl:    r.APIBaseURL,
	}
}

// DecodeRevocationRequest is the inverse of EncodeRevocationRequest.
func DecodeRevocationRequest(m *pluginv1.RevokeRequest) core.RevocationRequest {
	return core.RevocationRequest{
		Client:        decodeCredentials(m.GetClient()),
		Token:         core.NewSecret(m.GetToken()),
		TokenTypeHint: m.GetTokenTypeHint(),
		APIBaseURL:    m.GetApiBaseUrl(),
	}
}
