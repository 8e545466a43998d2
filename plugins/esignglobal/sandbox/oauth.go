package sandbox

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/esignd/esignd/plugins/sdk/authserver"
)

// authorize checks the request and asks the person. Until client and redirect URI are known to be right, what is
// wrong is shown and nobody is redirected; after that it is sent back as RFC 6749 §4.1.2.1 has it, since the vendor
// does not say.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	redirect, state := q.Get("redirectUri"), q.Get("state")
	switch {
	case err != nil || authserver.Once(q) != nil:
		s.pages.Refuse(w, "The parameters cannot be read, or one is given twice.")
		return
	case !s.ledger.KnownClient(q.Get("clientId")):
		s.pages.Refuse(w, "The clientId is missing or not that of an app.")
		return
	case !s.pages.RedirectAllowed(redirect):
		s.pages.Refuse(w, "The redirectUri is missing or not the app's.")
		return
	}
	refusal := ""
	switch {
	case q.Get("response_type") != "code" || q.Get("scope") == "":
		refusal = "invalid_request"
	case !validScope(q.Get("scope")):
		refusal = "invalid_scope"
	}
	if refusal != "" {
		authserver.Redirect(w, r, redirect, url.Values{"error": {refusal}}, state)
		return
	}
	s.pages.Ask(w, r, authserver.Asked{
		RedirectURI: redirect, State: state, Scope: strings.Fields(q.Get("scope")),
		Granted: func(code string) url.Values { return url.Values{"code": {code}} },
		Denied:  url.Values{"error": {"access_denied"}},
	})
}

func validScope(scope string) bool {
	for _, name := range strings.Split(scope, " ") {
		if !slices.Contains([]string{"signature", "stamp", "comparisons"}, name) {
			return false
		}
	}
	return true
}

// tokenAnswer is a token set as eSignGlobal words it.
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	ExpiresIn    int    `json:"expires_in"`
	Scope        string `json:"scope"`
	TokenType    string `json:"token_type"`
	RefreshToken string `json:"refresh_token,omitempty"`
}

// The codes of refusals are the sandbox's own: the vendor's are not known, but for 0, which is success.
const (
	codeUnreadable = "1000001"
	codeParameter  = "1000002"
	codeClient     = "1000003"
	codeGrant      = "1000004"
	codeToken      = "1000005"
	codeServer     = "1000006"
)

// token answers all three grants.
func (s *Server) token(w http.ResponseWriter, _ *http.Request, p url.Values, unreadable error) {
	switch {
	case unreadable != nil:
		s.refuse(w, codeUnreadable, "parameters belong in the body, once each, as multipart/form-data")
	case p.Has("redirect_uri"):
		s.refuse(w, codeParameter, "redirect_uri is not a parameter")
	case p.Get("client_id") == "" || p.Get("client_secret") == "":
		s.refuse(w, codeParameter, "client_id and client_secret are required")
	case !s.ledger.KnownClient(p.Get("client_id")) || !s.ledger.RightSecret(p.Get("client_secret")):
		s.refuse(w, codeClient, "client_id or client_secret is wrong")
	default:
		s.grant(w, p)
	}
}

func (s *Server) grant(w http.ResponseWriter, p url.Values) {
	var set authserver.Tokens
	var err error
	switch grantType := p.Get("grant_type"); {
	case grantType == "client_credentials":
		set, err = s.ledger.ClientToken("read-write")
	case grantType == "authorization_code" && p.Get("code") != "":
		set, _, err = s.ledger.Redeem(p.Get("code"), func(authserver.Approval) error { return nil })
	case grantType == "refresh_token" && p.Get("refresh_token") != "":
		set, err = s.ledger.Refresh(p.Get("refresh_token"))
	default:
		s.refuse(w, codeParameter, "grant_type, code or refresh_token is missing or unknown")
		return
	}
	switch {
	case err == nil:
		authserver.WriteJSON(w, http.StatusOK, tokenAnswer{
			AccessToken: set.Access, ExpiresIn: set.ExpiresIn, Scope: strings.Join(set.Scope, " "),
			TokenType: "bearer", RefreshToken: set.Refresh,
		})
	case authserver.IsRefusal(err):
		s.refuse(w, codeGrant, "the code or refresh token is wrong, expired or used")
	default:
		business(w, http.StatusInternalServerError, codeServer, "the sandbox cannot write its state file", nil)
	}
}

func (s *Server) refuse(w http.ResponseWriter, code, message string) {
	business(w, s.cfg.RefusalStatus, code, message, nil)
}

// business answers as the vendor's business APIs do.
func business(w http.ResponseWriter, status int, code, message string, data any) {
	authserver.WriteJSON(w, status, map[string]any{"code": code, "message": message, "data": data})
}

// envelopeDetail answers a live access token with an envelope that is always a draft.
func (s *Server) envelopeDetail(w http.ResponseWriter, r *http.Request) {
	token, _ := authserver.Bearer(r)
	holder, err := s.ledger.Holder(token)
	if err != nil {
		business(w, http.StatusUnauthorized, codeToken, "the access token is missing, wrong or expired", nil)
		return
	}
	id := r.URL.Query().Get("envelopeId")
	if id == "" {
		business(w, http.StatusOK, codeParameter, "envelopeId is missing", nil)
		return
	}
	business(w, http.StatusOK, "0", "success", map[string]any{
		"envelopeId": id, "envelopeStatus": 0, "subject": "Sandbox envelope", "remark": "", "signerInfos": []any{},
		"initiatorInfo": map[string]string{"userName": holder.Account},
	})
}
