package sandbox

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/esignd/esignd/plugins/sdk/authserver"
)

// tokenAnswer is a token set as Adobe words it. A refresh leaves the last three out.
type tokenAnswer struct {
	AccessToken    string `json:"access_token"`
	TokenType      string `json:"token_type"`
	ExpiresIn      int    `json:"expires_in"`
	RefreshToken   string `json:"refresh_token,omitempty"`
	APIAccessPoint string `json:"api_access_point,omitempty"`
	WebAccessPoint string `json:"web_access_point,omitempty"`
}

func (s *Server) exchange(version string) authserver.TokenHandler {
	return func(w http.ResponseWriter, _ *http.Request, p url.Values, unreadable error) {
		if !s.authenticated(w, p, unreadable, "authorization_code", "code", "redirect_uri") {
			return
		}
		set, _, err := s.ledger.Redeem(p.Get("code"), func(a authserver.Approval) error {
			if a.RedirectURI != p.Get("redirect_uri") {
				return authserver.ErrMismatch
			}
			return nil
		})
		if err != nil {
			refuseGrant(w, err, "the code is wrong, expired, used, or of another redirect_uri")
			return
		}
		answer := tokenAnswer{
			AccessToken: set.Access, TokenType: "Bearer", ExpiresIn: set.ExpiresIn, RefreshToken: set.Refresh,
		}
		if version == "v2" {
			answer.APIAccessPoint, answer.WebAccessPoint = s.accessPoint(), s.accessPoint()
		}
		authserver.WriteJSON(w, http.StatusOK, answer)
	}
}

func (s *Server) refresh(w http.ResponseWriter, r *http.Request, p url.Values, unreadable error) {
	if !s.authenticated(w, p, unreadable, "refresh_token", "refresh_token") {
		return
	}
	if s.left(r) && !s.oldShardRefreshes {
		refuseShard(w)
		return
	}
	set, err := s.ledger.Refresh(p.Get("refresh_token"))
	if err != nil {
		refuseGrant(w, err, "the refresh token is wrong, expired or revoked")
		return
	}
	authserver.WriteJSON(w, http.StatusOK, tokenAnswer{
		AccessToken: set.Access, TokenType: "Bearer", ExpiresIn: set.ExpiresIn,
	})
}

// authenticated checks all that comes before the grant itself, and has answered where it returns false.
func (s *Server) authenticated(w http.ResponseWriter, p url.Values, unreadable error, grantType string, required ...string) bool {
	if unreadable != nil {
		refuseToken(w, http.StatusBadRequest, "invalid_request", "parameters belong in the body, once each, as a form")
		return false
	}
	if p.Get("grant_type") != grantType {
		refuseToken(w, http.StatusBadRequest, "unsupported_grant_type", "this endpoint takes grant_type="+grantType)
		return false
	}
	for _, name := range append(required, "client_id", "client_secret") {
		if p.Get(name) == "" {
			refuseToken(w, http.StatusBadRequest, "invalid_request", "missing parameter "+name)
			return false
		}
	}
	if !s.ledger.KnownClient(p.Get("client_id")) || !s.ledger.RightSecret(p.Get("client_secret")) {
		refuseToken(w, http.StatusUnauthorized, "invalid_client", "client_id or client_secret is wrong")
		return false
	}
	return true
}

func refuseToken(w http.ResponseWriter, status int, code, description string) {
	authserver.WriteJSON(w, status, map[string]string{"error": code, "error_description": description})
}

func refuseGrant(w http.ResponseWriter, err error, description string) {
	if !authserver.IsRefusal(err) {
		refuseToken(w, http.StatusInternalServerError, "server_error", "the sandbox cannot write its state file")
		return
	}
	refuseToken(w, http.StatusBadRequest, "invalid_grant", description)
}

// revoke needs no client authentication: Adobe documents none.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	p, err := authserver.ReadParams(r, "", authserver.Form)
	if err != nil || p.Get("token") == "" {
		refuseREST(w, http.StatusBadRequest, "INVALID_REQUEST", "Empty or missing token")
		return
	}
	switch err := s.ledger.Revoke(p.Get("token")); {
	case err == nil:
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusOK)
	case errors.Is(err, authserver.ErrUnknown):
		refuseREST(w, http.StatusBadRequest, "INVALID_TOKEN", "This is not a valid OAuth access or refresh token")
	case authserver.IsRefusal(err):
		refuseREST(w, http.StatusBadRequest, "EXPIRED_TOKEN", "The token is expired or already revoked")
	default:
		refuseREST(w, http.StatusInternalServerError, "MISC_SERVER_ERROR", "The sandbox cannot write its state file")
	}
}
