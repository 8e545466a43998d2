package generic

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/oauth"
)

// authorizationParams returns the parameters of the consent page (RFC 6749 §4.1.1, RFC 7636 §4.3).
func (s settings) authorizationParams(r core.AuthorizationRequest) url.Values {
	params := maps.Clone(s.extra)
	set := func(name, value string) {
		if value != "" {
			params.Set(name, value)
		}
	}
	set("response_type", "code")
	set("client_id", r.Client.ClientID)
	set("redirect_uri", r.RedirectURI)
	set("scope", strings.Join(r.Scope, s.separator))
	set("state", r.State)
	for name, value := range s.target {
		set(name, value)
	}
	if s.challenge && r.CodeChallenge != "" {
		set("code_challenge", r.CodeChallenge)
		set("code_challenge_method", "S256")
	}
	return params
}

// tokenRequest returns the request for a token set (RFC 6749 §4.1.3, §4.4.2, §6). It is one to an API, since only those
// have room for the parameters audience and resource.
func (s settings) tokenRequest(target string, r core.TokenRequest) (oauth.APIRequest, error) {
	params := map[string]core.Secret{"grant_type": core.NewSecret(string(r.GrantType))}
	switch r.GrantType {
	case core.AuthorizationCode:
		params["code"] = r.Code
		params["redirect_uri"] = core.NewSecret(r.RedirectURI)
		if s.challenge {
			params["code_verifier"] = r.CodeVerifier
		}
	case core.RefreshToken:
		// No scope: RFC 6749 §6 then keeps the scope of the grant.
		params["refresh_token"] = r.RefreshToken
	case core.ClientCredentials:
		params["scope"] = core.NewSecret(strings.Join(r.Scope, s.separator))
	default:
		return oauth.APIRequest{}, &core.VendorError{
			Outcome: core.NotSent, Code: core.CodeUnsupportedGrantType, Detail: "there is no such grant type",
		}
	}
	for name, value := range s.target {
		params[name] = core.NewSecret(value)
	}
	request := oauth.APIRequest{Method: http.MethodPost, URL: target, Body: s.body, Params: params}
	s.authenticate(&request, r.Client)
	maps.DeleteFunc(params, func(_ string, value core.Secret) bool { return value.IsZero() })
	return request, nil
}

// authenticate adds who the client is, and what proves it (RFC 6749 §2.3.1).
func (s settings) authenticate(request *oauth.APIRequest, c core.Credentials) {
	id := core.NewSecret(c.ClientID)
	switch s.auth {
	case oauth.AuthBasic:
		request.Username = core.NewSecret(url.QueryEscape(c.ClientID))
		request.Password = core.NewSecret(url.QueryEscape(c.ClientSecret.Reveal()))
	case oauth.AuthBody:
		request.Params["client_id"], request.Params["client_secret"] = id, c.ClientSecret
	default:
		request.Params["client_id"] = id
	}
}

// complete adds to a token set what the settings say of it.
func (s settings) complete(t core.TokenResponse) core.TokenResponse {
	t.APIBaseURL = s.apiBase
	if t.ExpiresIn == 0 {
		t.ExpiresIn = s.lifetime
	}
	if s.separator != " " {
		t.Scope = splitScopes(t.Scope, s.separator)
	}
	return t
}

// splitScopes splits further what was split at spaces, nil where nothing is left.
func splitScopes(scopes []string, separator string) []string {
	var all []string
	for _, s := range scopes {
		all = append(all, strings.Split(s, separator)...)
	}
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}
