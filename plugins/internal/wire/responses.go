package wire

import (
	"errors"
	"strings"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/internal/wire/pluginv1"
)

// EncodeMetadata is the inverse of DecodeMetadata.
func EncodeMetadata(m core.Metadata, abilities []Ability) *pluginv1.MetadataResponse {
	r := &pluginv1.MetadataResponse{
		Vendor:               strings.ToValidUTF8(m.Vendor, "\uFFFD"),
		Title:                strings.ToValidUTF8(m.Title, "\uFFFD"),
		Version:              strings.ToValidUTF8(m.Version, "\uFFFD"),
		AccessLifetime:       encodeDuration(m.AccessLifetime),
		RefreshIdleLifetime:  encodeDuration(m.RefreshIdleLifetime),
		ConsentLifetime:      encodeDuration(m.ConsentLifetime),
		RotatesRefreshTokens: m.RotatesRefreshTokens,
		RevokesTokens:        m.RevokesTokens,
		Pkce:                 m.PKCE,
		SettingsSchema:       m.SettingsSchema,
		Abilities:            abilities,
	}
	for _, t := range m.GrantTypes {
		r.GrantTypes = append(r.GrantTypes, string(t))
	}
	return r
}

// DecodeMetadata is the inverse of EncodeMetadata.
func DecodeMetadata(r *pluginv1.MetadataResponse) (m core.Metadata, abilities []Ability) {
	m = core.Metadata{
		Vendor:               r.GetVendor(),
		Title:                r.GetTitle(),
		Version:              r.GetVersion(),
		AccessLifetime:       decodeDuration(r.GetAccessLifetime()),
		RefreshIdleLifetime:  decodeDuration(r.GetRefreshIdleLifetime()),
		ConsentLifetime:      decodeDuration(r.GetConsentLifetime()),
		RotatesRefreshTokens: r.GetRotatesRefreshTokens(),
		RevokesTokens:        r.GetRevokesTokens(),
		PKCE:                 r.GetPkce(),
		SettingsSchema:       r.GetSettingsSchema(),
	}
	for _, t := range r.GetGrantTypes() {
		m.GrantTypes = append(m.GrantTypes, core.GrantType(t))
	}
	return m, r.GetAbilities()
}

// EncodeAuthorizationURL is the inverse of DecodeAuthorizationURL.
func EncodeAuthorizationURL(url string, err error) *pluginv1.AuthorizationURLResponse {
	if err != nil {
		return &pluginv1.AuthorizationURLResponse{
			Result: &pluginv1.AuthorizationURLResponse_Error{Error: encodeVendorError(err)},
		}
	}
	return &pluginv1.AuthorizationURLResponse{Result: &pluginv1.AuthorizationURLResponse_Url{Url: url}}
}

// DecodeAuthorizationURL is the inverse of EncodeAuthorizationURL.
func DecodeAuthorizationURL(r *pluginv1.AuthorizationURLResponse) (string, error) {
	switch result := r.GetResult().(type) {
	case *pluginv1.AuthorizationURLResponse_Url:
		return result.Url, nil
	case *pluginv1.AuthorizationURLResponse_Error:
		return "", decodeVendorError(result.Error)
	default:
		return "", errEmptyResponse()
	}
}

// EncodeCallback is the inverse of DecodeCallback.
func EncodeCallback(c core.CallbackResult, err error) *pluginv1.CallbackResponse {
	if err != nil {
		return &pluginv1.CallbackResponse{Result: &pluginv1.CallbackResponse_Error{Error: encodeVendorError(err)}}
	}
	return &pluginv1.CallbackResponse{Result: &pluginv1.CallbackResponse_Callback{Callback: &pluginv1.CallbackResult{
		Code:       c.Code.Reveal(),
		ApiBaseUrl: c.APIBaseURL,
		Denied:     c.Denied,
	}}}
}

// DecodeCallback is the inverse of EncodeCallback.
func DecodeCallback(r *pluginv1.CallbackResponse) (core.CallbackResult, error) {
	switch result := r.GetResult().(type) {
	case *pluginv1.CallbackResponse_Callback:
		return core.CallbackResult{
			Code:       core.NewSecret(result.Callback.GetCode()),
			APIBaseURL: result.Callback.GetApiBaseUrl(),
			Denied:     result.Callback.GetDenied(),
		}, nil
	case *pluginv1.CallbackResponse_Error:
		return core.CallbackResult{}, decodeVendorError(result.Error)
	default:
		return core.CallbackResult{}, errEmptyResponse()
	}
}

// EncodeTokenResponse is the inverse of DecodeTokenResponse.
func EncodeTokenResponse(t core.TokenResponse, err error) *pluginv1.TokenResponse {
	if err != nil {
		return &pluginv1.TokenResponse{Result: &pluginv1.TokenResponse_Error{Error: encodeVendorError(err)}}
	}
	return &pluginv1.TokenResponse{Result: &pluginv1.TokenResponse_TokenSet{TokenSet: encodeTokenSet(t)}}
}

func encodeTokenSet(t core.TokenResponse) *pluginv1.TokenSet {
	return &pluginv1.TokenSet{
		AccessToken:  t.AccessToken.Reveal(),
		TokenType:    t.TokenType,
		RefreshToken: t.RefreshToken.Reveal(),
		ExpiresIn:    encodeDuration(t.ExpiresIn),
		Scope:        encodeScope(t.Scope),
		ApiBaseUrl:   t.APIBaseURL,
		AccountId:    t.AccountID,
	}
}

func decodeTokenSet(m *pluginv1.TokenSet) core.TokenResponse {
	return core.TokenResponse{
		AccessToken:  core.NewSecret(m.GetAccessToken()),
		TokenType:    m.GetTokenType(),
		RefreshToken: core.NewSecret(m.GetRefreshToken()),
		ExpiresIn:    decodeDuration(m.GetExpiresIn()),
		Scope:        decodeScope(m.GetScope()),
		APIBaseURL:   m.GetApiBaseUrl(),
		AccountID:    m.GetAccountId(),
	}
}

// DecodeTokenResponse is the inverse of EncodeTokenResponse.
func DecodeTokenResponse(r *pluginv1.TokenResponse) (core.TokenResponse, error) {
	switch result := r.GetResult().(type) {
	case *pluginv1.TokenResponse_TokenSet:
		return decodeTokenSet(result.TokenSet), nil
	case *pluginv1.TokenResponse_Error:
		return core.TokenResponse{}, decodeVendorError(result.Error)
	default:
		return core.TokenResponse{}, errEmptyResponse()
	}
}

// EncodeRevocation is the inverse of DecodeRevocation.
func EncodeRevocation(err error) *pluginv1.RevokeResponse {
	switch {
	case err == nil:
		return &pluginv1.RevokeResponse{Result: &pluginv1.RevokeResponse_Revoked{Revoked: true}}
	case errors.Is(err, errors.ErrUnsupported):
		return &pluginv1.RevokeResponse{Result: &pluginv1.RevokeResponse_Unsupported{Unsupported: true}}
	default:
		return &pluginv1.RevokeResponse{Result: &pluginv1.RevokeResponse_Error{Error: encodeVendorError(err)}}
	}
}

// DecodeRevocation is the inverse of EncodeRevocation. A vendor without revocation is [errors.ErrUnsupported].
func DecodeRevocation(r *pluginv1.RevokeResponse) error {
	switch result := r.GetResult().(type) {
	case *pluginv1.RevokeResponse_Revoked:
		return nil
	case *pluginv1.RevokeResponse_Unsupported:
		return errors.ErrUnsupported
	case *pluginv1.RevokeResponse_Error:
		return decodeVendorError(result.Error)
	default:
		return errEmptyResponse()
	}
}
