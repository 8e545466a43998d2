package sandbox

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/esignd/esignd/plugins/sdk/authserver"
)

// scopes are Adobe's; each may have a modifier.
const scopes = " user_read user_write user_login agreement_read agreement_write agreement_send agreement_sign" +
	" agreement_retention agreement_vault widget_read widget_write library_read library_write library_retention" +
	" workflow_read workflow_write webhook_read webhook_write webhook_retention application_read account_read" +
	" account_write "

// authorize checks the request and asks the person. Until client and redirect URI are known to be right, what is
// wrong is shown and nobody is redirected.
func (s *Server) authorize(version string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q, err := url.ParseQuery(r.URL.RawQuery)
		redirect := q.Get("redirect_uri")
		switch {
		case err != nil || authserver.Once(q) != nil:
			s.pages.Refuse(w, "The parameters cannot be read, or one is given twice.")
			return
		case !s.ledger.KnownClient(q.Get("client_id")):
			s.pages.Refuse(w, "The client_id is not that of an application.")
			return
		case !s.pages.RedirectAllowed(redirect):
			s.pages.Refuse(w, "The redirect_uri is missing or not one of the application's.")
			return
		}
		refusal := ""
		switch {
		case q.Get("response_type") != "code" || q.Get("scope") == "":
			refusal = "INVALID_REQUEST"
		case !validScope(q.Get("scope")):
			refusal = "INVALID_SCOPE"
		}
		if refusal != "" {
			authserver.Redirect(w, r, redirect, url.Values{"error": {refusal}}, q.Get("state"))
			return
		}
		s.pages.Ask(w, r, authserver.Asked{
			RedirectURI: redirect, State: q.Get("state"), Scope: strings.Fields(q.Get("scope")),
			Granted: func(code string) url.Values { return s.granted(version, code) },
			Denied:  url.Values{"error": {"ACCESS_DENIED"}},
		})
	}
}

// granted names the access points in the redirect of the older flow; v2 does it in the token answer.
func (s *Server) granted(version, code string) url.Values {
	v := url.Values{"code": {code}}
	if version == "v1" {
		v.Set("api_access_point", s.accessPoint())
		v.Set("web_access_point", s.accessPoint())
	}
	return v
}

// validScope takes names of Adobe's with one of its modifiers, or none, separated by single spaces.
func validScope(scope string) bool {
	for _, part := range strings.Split(scope, " ") {
		name, modifier, given := strings.Cut(part, ":")
		if name == "" || !strings.Contains(scopes, " "+name+" ") {
			return false
		}
		if given && modifier != "self" && modifier != "group" && modifier != "account" {
			return false
		}
	}
	return true
}
