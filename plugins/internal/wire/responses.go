package wire

import (
	"errors"
	"slices"
	"strings"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/internal/wire/pluginv1"
)

// EncodeMetadata is the inverse of DecodeMetadata. hostChecker says that the adapter is a [core.HostChecker].
func EncodeMetadata(m core.Metadata, hostChecker bool) *pluginv1.MetadataResponse {
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
	}
	for _, t := range m.GrantTypes {
		r.GrantTypes = append(r.GrantTypes, string(t))
	}
	if hostChecker {
		r.Abilities = append(r.Abilities, pluginv1.Ability_ABILITY_CHECK_API_BASE_URL)
	}
	return r
}

// DecodeMetadata is the inverse of EncodeMetadata. Abilities that it does not know are left out.
func DecodeMetadata(r *pluginv1.MetadataResponse) (m core.Metadata, hostChecker bool) {
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
	return m, slices.Contains(r.GetAbilities(), pluginv1.Ability_ABILITY_CHECK_API_BASE_URL)
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
	return &pluginv1.TokenResponse{Result: &pluginv1.TokenResponse_TokenSet{TokenSet: &pluginv1.TokenSet{
		AccessToken:  t.AccessToken.Reveal(),
		TokenType:    t.TokenType,
		RefreshToken: t.RefreshToken.Reveal(),
		ExpiresIn:    encodeDuration(t.ExpiresIn),
		Scope:        encodeScope(t.Scope),
		ApiBaseUrl:   t.APIBaseURL,
		AccountId:    t.AccountID,
	}}}
}

// DecodeTokenResponse is the inverse of EncodeTokenResponse.
func DecodeTokenResponse(r *pluginv1.TokenResponse) (core.TokenResponse, error) {
	switch result := r.GetResult().(type) {
	case *pluginv1.TokenResponse_TokenSet:
		return core.TokenResponse{
			AccessToken:  core.NewSecret(result.TokenSet.GetAccessToken()),
			TokenType:    result.TokenSet.GetTokenType(),
			RefreshToken: core.NewSecret(result.TokenSet.GetRefreshToken()),
			ExpiresIn:    decodeDuration(result.TokenSet.GetExpiresIn()),
			Scope:        decodeScope(result.TokenSet.GetScope()),
			APIBaseURL:   result.TokenSet.GetApiBaseUrl(),
			AccountID:    result.TokenSet.GetAccountId(),
		}, nil
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

// EncodeHostCheckResult is the inverse of DecodeHostCheckResult.
func EncodeHostCheckResult(url string, err error) *pluginv1.CheckAPIBaseURLResponse {
	if err != nil {
		return &pluginv1.CheckAPIBaseURLResponse{
			Result: &pluginv1.CheckAPIBaseURLResponse_Error{Error: encodeVendorError(err)},
		}
	}
	return &pluginv1.CheckAPIBaseURLResponse{Result: &pluginv1.CheckAPIBaseURLResponse_Url{Url: url}}
}

// DecodeHostCheckResult is the inverse of EncodeHostCheckResult.
func DecodeHostCheckResult(r *pluginv1.CheckAPIBaseURLResponse) (string, error) {
	switch result := r.GetResult().(type) {
	case *pluginv1.CheckAPIBaseURLResponse_Url:
		return result.Url, nil
	case *pluginv1.CheckAPIBaseURLResponse_Error:
		return "", decodeVendorError(result.Error)
	default:
		return "", errEmptyResponse()
	}
}
