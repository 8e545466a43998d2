package sandbox

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/esignd/esignd/plugins/sdk/authserver"
)

// authorize checks the request and asks the person. Until client and redirect URI are known to be right, what is wrong
// is shown and nobody is redirected; after that it is sent back (RFC 6749 §4.1.2.1).
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	redirect, state := q.Get("redirect_uri"), q.Get("state")
	switch {
	case err != nil || authserver.Once(q) != nil:
		s.pages.Refuse(w, "The parameters cannot be read, or one is given twice.")
		return
	case !s.ledger.KnownClient(q.Get("client_id")):
		s.pages.Refuse(w, "The client_id is missing or not that of an app.")
		return
	case !s.pages.RedirectAllowed(redirect):
		s.pages.Refuse(w, "The redirect_uri is missing or not the app's.")
		return
	}
	challenge, err := authserver.Challenge(q)
	if refusal := wrong(q, err); refusal != "" {
		authserver.Redirect(w, r, redirect, url.Values{"error": {refusal}}, state)
		return
	}
	s.pages.Ask(w, r, authserver.Asked{
		RedirectURI: redirect, State: state, Scope: strings.Fields(q.Get("scope")), CodeChallenge: challenge,
		Granted: func(code string) url.Values { return url.Values{"code": {code}} },
		Denied:  url.Values{"error": {"access_denied"}},
	})
}

// wrong returns the error code of an authorization request, "" where it is in order.
func wrong(q url.Values, challenge error) string {
	known := []string{"signature", "extended", "impersonation", "openid", "email", "profile"}
	scope := strings.Fields(q.Get("scope"))
	switch {
	case q.Get("response_type") != "code":
		return "unsupported_response_type"
	case challenge != nil:
		return "invalid_request"
	case len(scope) == 0 || slices.ContainsFunc(scope, func(name string) bool { return !slices.Contains(known, name) }):
		return "invalid_scope"
	default:
		return ""
	}
}

// token answers both grants.
func (s *Server) token(w http.ResponseWriter, r *http.Request, p url.Values, unreadable error) {
	switch {
	case unreadable != nil:
		refuse(w, http.StatusBadRequest, "invalid_request", "parameters belong in the body, once each, as a form")
	case p.Has("client_secret"):
		refuse(w, http.StatusBadRequest, "invalid_request", "the client proves itself by HTTP Basic")
	case !s.authenticated(r):
		w.Header().Set("WWW-Authenticate", `Basic realm="sandbox"`)
		refuse(w, http.StatusUnauthorized, "invalid_client", "the integration key or its secret is wrong")
	default:
		s.grant(w, p)
	}
}

// authenticated checks the client's Basic credentials, which are form-encoded (RFC 6749 §2.3.1).
func (s *Server) authenticated(r *http.Request) bool {
	user, password, _ := r.BasicAuth()
	id, err := url.QueryUnescape(user)
	if err != nil {
		return false
	}
	secret, err := url.QueryUnescape(password)
	return err == nil && s.ledger.KnownClient(id) && s.ledger.RightSecret(secret)
}

func (s *Server) grant(w http.ResponseWriter, p url.Values) {
	var set authserver.Tokens
	var err error
	switch grantType := p.Get("grant_type"); {
	case grantType == "authorization_code" && p.Get("code") != "":
		set, err = s.redeem(p)
	case grantType == "refresh_token" && p.Get("refresh_token") != "":
		set, err = s.ledger.Refresh(p.Get("refresh_token"))
	case grantType == "authorization_code" || grantType == "refresh_token":
		refuse(w, http.StatusBadRequest, "invalid_request", "code or refresh_token is missing")
		return
	default:
		refuse(w, http.StatusBadRequest, "unsupported_grant_type", "grant_type is missing or unknown")
		return
	}
	switch {
	case err == nil:
		authserver.WriteJSON(w, http.StatusOK, map[string]any{
			"access_token": set.Access, "token_type": "Bearer", "refresh_token": set.Refresh, "expires_in": set.ExpiresIn,
		})
	case authserver.IsRefusal(err):
		refuse(w, http.StatusBadRequest, "invalid_grant", "the code or refresh token is wrong, expired or used")
	default:
		refuse(w, http.StatusInternalServerError, "server_error", "the sandbox cannot write its state file")
	}
}

func (s *Server) redeem(p url.Values) (authserver.Tokens, error) {
	set, _, err := s.ledger.Redeem(p.Get("code"), func(a authserver.Approval) error {
		if p.Has("redirect_uri") && p.Get("redirect_uri") != a.RedirectURI || !a.Proven(p.Get("code_verifier")) {
			return authserver.ErrMismatch
		}
		return nil
	})
	return set, err
}

func refuse(w http.ResponseWriter, status int, code, description string) {
	authserver.WriteJSON(w, status, map[string]string{"error": code, "error_description": description})
}
