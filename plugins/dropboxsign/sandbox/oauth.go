package sandbox

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"

	"github.com/esignd/esignd/plugins/sdk/authserver"
)

// authorize checks the request and asks the person. Nothing that is wrong is redirected: the vendor documents no
// error parameter.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	redirect := cmp.Or(q.Get("redirect_uri"), s.pages.DefaultRedirect())
	switch {
	case err != nil || authserver.Once(q) != nil:
		s.pages.Refuse(w, "The parameters cannot be read, or one is given twice.")
	case !s.ledger.KnownClient(q.Get("client_id")):
		s.pages.Refuse(w, "The client_id is not that of an app.")
	case !s.pages.RedirectAllowed(redirect):
		s.pages.Refuse(w, "The redirect_uri is not the app's.")
	case q.Get("response_type") != "code":
		s.pages.Refuse(w, "The response_type has to be code.")
	case q.Get("state") == "":
		s.pages.Refuse(w, "The state is missing.")
	default:
		s.pages.Ask(w, r, authserver.Asked{
			RedirectURI: redirect, State: q.Get("state"), Scope: s.appScopes(),
			Granted: func(code string) url.Values { return url.Values{"code": {code}} },
			Denied:  nil, // the state alone is the denial
		})
	}
}

func (s *Server) appScopes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.scopes)
}

// tokenAnswer is a token set as Dropbox Sign words it.
type tokenAnswer struct {
	AccessToken  string  `json:"access_token"`
	TokenType    string  `json:"token_type"`
	ExpiresIn    int64   `json:"expires_in"`
	RefreshToken string  `json:"refresh_token"`
	State        *string `json:"state,omitempty"`
	AccountID    string  `json:"account_id,omitempty"`
}

// token is one path for both grants; the query decides which.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	query, grantType, h := "", "authorization_code", s.exchange
	if r.URL.RawQuery == "refresh" {
		query, grantType, h = "refresh", "refresh_token", s.refresh
	}
	s.TokenEndpoint(query, func(w http.ResponseWriter, r *http.Request, p url.Values, unreadable error) {
		if s.authenticated(w, r, p, unreadable, grantType) {
			h(w, p)
		}
	}, authserver.JSON, authserver.Form, authserver.Multipart).ServeHTTP(w, r)
}

// authenticated checks what comes before the grant itself, and has answered where it returns false.
func (s *Server) authenticated(w http.ResponseWriter, r *http.Request, p url.Values, unreadable error, grantType string) bool {
	// The vendor's own examples send an empty Basic header; one with credentials is refused.
	user, _, _ := r.BasicAuth()
	switch {
	case unreadable != nil:
		refuseToken(w, http.StatusBadRequest, "invalid_request", "parameters belong in the body, once each")
	case user != "":
		refuseToken(w, http.StatusBadRequest, "invalid_request", "client credentials belong in the body")
	case p.Has("redirect_uri"):
		refuseToken(w, http.StatusBadRequest, "invalid_request", "redirect_uri is not a parameter here")
	case p.Get("client_id") == "" || p.Get("client_secret") == "":
		refuseToken(w, http.StatusBadRequest, "invalid_request", "client_id and client_secret are required")
	case p.Get("grant_type") != grantType:
		refuseToken(w, http.StatusBadRequest, "unsupported_grant_type", "this endpoint takes grant_type="+grantType)
	case !s.ledger.KnownClient(p.Get("client_id")):
		refuseToken(w, http.StatusBadRequest, "invalid_request", "Invalid client_id")
	case !s.ledger.RightSecret(p.Get("client_secret")):
		refuseToken(w, http.StatusUnauthorized, "invalid_client", "Invalid client_secret")
	default:
		return true
	}
	return false
}

func (s *Server) exchange(w http.ResponseWriter, p url.Values) {
	if p.Get("code") == "" || p.Get("state") == "" {
		refuseToken(w, http.StatusBadRequest, "invalid_request", "code and state are required")
		return
	}
	set, approval, err := s.ledger.Redeem(p.Get("code"), func(a authserver.Approval) error {
		if a.State != p.Get("state") {
			return authserver.ErrMismatch
		}
		return nil
	})
	if err != nil {
		refuse(w, err, "invalid_request", "Invalid code")
		return
	}
	answer := s.tokens(set)
	answer.State = &approval.State
	authserver.WriteJSON(w, http.StatusOK, answer)
}

func (s *Server) refresh(w http.ResponseWriter, p url.Values) {
	if p.Get("refresh_token") == "" {
		refuseToken(w, http.StatusBadRequest, "invalid_request", "refresh_token is required")
		return
	}
	set, err := s.ledger.Refresh(p.Get("refresh_token"))
	if err != nil {
		refuse(w, err, "invalid_grant", "Invalid grant data (refresh token)")
		return
	}
	authserver.WriteJSON(w, http.StatusOK, s.tokens(set))
}

func (s *Server) tokens(set authserver.Tokens) tokenAnswer {
	expires := int64(set.ExpiresIn)
	if s.cfg.EpochExpiry {
		expires += s.cfg.Now().Unix()
	}
	return tokenAnswer{
		AccessToken: set.Access, TokenType: "Bearer", ExpiresIn: expires, RefreshToken: set.Refresh,
		AccountID: accountID(set.Account),
	}
}

func refuse(w http.ResponseWriter, err error, code, description string) {
	if !authserver.IsRefusal(err) {
		refuseToken(w, http.StatusInternalServerError, "server_error", "the sandbox cannot write its state file")
		return
	}
	refuseToken(w, http.StatusBadRequest, code, description)
}

func refuseToken(w http.ResponseWriter, status int, code, description string) {
	authserver.WriteJSON(w, status, map[string]string{"error": code, "error_description": description})
}
