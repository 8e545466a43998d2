package sandbox

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"

	"github.com/esignd/esignd/plugins/sdk/authserver"
)

func accountID(email string) string {
	sum := sha256.Sum256([]byte(email))
	return hex.EncodeToString(sum[:20])
}

func accountObject(email string) map[string]any {
	return map[string]any{
		"account_id": accountID(email), "email_address": email, "is_locked": false, "is_paid_hs": true,
		"is_paid_hf": false, "callback_url": nil, "role_code": nil, "locale": "en-US",
	}
}

// mayManage takes the API key as user name of HTTP Basic, and has answered where it returns false.
func (s *Server) mayManage(w http.ResponseWriter, r *http.Request) bool {
	user, _, given := r.BasicAuth()
	switch {
	case !given:
		refuseAPI(w, http.StatusUnauthorized, "unauthorized", "Unauthorized user. No credentials supplied.")
	case subtle.ConstantTimeCompare([]byte(user), []byte(s.cfg.APIKey)) != 1:
		refuseAPI(w, http.StatusUnauthorized, "unauthorized", "Unauthorized api key.")
	default:
		return true
	}
	return false
}

func (s *Server) exists(email string) bool {
	s.mu.Lock()
	known := s.accounts[email]
	s.mu.Unlock()
	return known || s.ledger.HasAccount(email)
}

func (s *Server) verifyAccount(w http.ResponseWriter, r *http.Request) {
	if _, bearer := authserver.Bearer(r); bearer {
		s.bearer(func(w http.ResponseWriter, r *http.Request, _ authserver.Holder) { s.verified(w, r) })(w, r)
		return
	}
	if s.mayManage(w, r) {
		s.verified(w, r)
	}
}

func (s *Server) verified(w http.ResponseWriter, r *http.Request) {
	p, err := authserver.ReadParams(r, "", authserver.JSON, authserver.Form, authserver.Multipart)
	email := p.Get("email_address")
	switch {
	case err != nil || !strings.Contains(email, "@"):
		refuseAPI(w, http.StatusBadRequest, "bad_request", "email_address is missing or invalid.")
	case s.exists(email):
		authserver.WriteJSON(w, http.StatusOK, map[string]any{"account": map[string]string{
			"account_id": accountID(email), "email_address": email,
		}})
	default:
		authserver.WriteJSON(w, http.StatusOK, struct{}{})
	}
}

// createAccount issues tokens that do not work before ConfirmAccount.
func (s *Server) createAccount(w http.ResponseWriter, r *http.Request) {
	if !s.mayManage(w, r) {
		return
	}
	p, err := authserver.ReadParams(r, "", authserver.JSON, authserver.Form, authserver.Multipart)
	email := p.Get("email_address")
	switch {
	case err != nil || !strings.Contains(email, "@"):
		refuseAPI(w, http.StatusBadRequest, "bad_request", "email_address is missing or invalid.")
		return
	case !s.ledger.KnownClient(p.Get("client_id")) || !s.ledger.RightSecret(p.Get("client_secret")):
		refuseAPI(w, http.StatusBadRequest, "bad_request", "client_id or client_secret is wrong.")
		return
	case s.exists(email):
		refuseAPI(w, http.StatusBadRequest, "bad_request", "There is an account with this e-mail address already.")
		return
	}
	set, err := s.ledger.Create(email, s.appScopes())
	if err != nil {
		refuseAPI(w, http.StatusInternalServerError, "unknown", "The sandbox cannot write its state file.")
		return
	}
	data := s.tokens(set)
	data.AccountID = ""
	authserver.WriteJSON(w, http.StatusOK, map[string]any{"account": accountObject(email), "oauth_data": data})
}

// updateApp changes where the app wants its events, and nothing else.
func (s *Server) updateApp(w http.ResponseWriter, r *http.Request) {
	if !s.mayManage(w, r) {
		return
	}
	if !s.ledger.KnownClient(r.PathValue("client_id")) {
		refuseAPI(w, http.StatusNotFound, "not_found", "Not found.")
		return
	}
	p, err := authserver.ReadParams(r, "", authserver.JSON, authserver.Form, authserver.Multipart)
	target, perr := url.Parse(p.Get("callback_url"))
	if err != nil || perr != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" {
		refuseAPI(w, http.StatusBadRequest, "bad_request", "callback_url is missing or invalid.")
		return
	}
	s.SetEventURL(target.String())
	authserver.WriteJSON(w, http.StatusOK, map[string]any{"api_app": map[string]any{
		"client_id": s.cfg.ClientID, "callback_url": target.String(), "is_approved": true,
		"oauth": map[string]any{"scopes": s.appScopes()},
	}})
}
