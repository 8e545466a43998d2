package sandbox

import (
	"context"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"github.com/esignd/esignd/plugins/sdk/authserver"
)

const confirmedEvent = "account_confirmed"

// ConfirmAccount is the person who confirms the account that was created for them and authorizes the app. The tokens
// work from then on, and the event account_confirmed goes to the event URL as [Server.SendEvent] sends it. An error of
// that sending does not take the confirmation back.
func (s *Server) ConfirmAccount(ctx context.Context, email string) error {
	found, err := s.ledger.Confirm(email)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("dropboxsign sandbox: no account waits to be confirmed by %s", email)
	}
	return s.SendEvent(ctx, confirmedEvent, email)
}

// confirmation is well-formed XML too, so that a scripted browser can read its form with the standard library.
var confirmation = template.Must(template.New("confirmation").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8" />
<title>Dropbox Sign (sandbox)</title>
</head>
<body>
<header><strong>Dropbox Sign</strong>: a sandbox on this machine, not the vendor</header>
{{if .Said}}<p>{{.Said}}</p>
{{else}}<h1>Confirm your account?</h1>
<p>The application <code>{{.Client}}</code> made an account for you, and asks to act for you. The vendor would have sent
you here by a mail.</p>
<form method="post" action="/account/confirm">
<p><label>E-mail address <input type="text" name="account" value="{{.Account}}" maxlength="254" /></label></p>
<button type="submit" name="decision" value="accept">Confirm and allow access</button>
<button type="submit" name="decision" value="deny">Not now</button>
</form>
{{end}}</body>
</html>
`))

// confirmPage is what a person gets by mail from the vendor. Its query may name the account, or what was decided.
func (s *Server) confirmPage(w http.ResponseWriter, r *http.Request) {
	said := map[string]string{
		"accept": "The account is confirmed, and the application may act for you.",
		"deny":   "The account stays unconfirmed. You can confirm it later.",
	}[r.URL.Query().Get("decided")]
	s.showConfirmation(w, http.StatusOK, said, r.URL.Query().Get("account"))
}

// confirmed takes the person's decision.
func (s *Server) confirmed(w http.ResponseWriter, r *http.Request) {
	p, err := authserver.ReadParams(r, "", authserver.Form)
	email, decision := strings.TrimSpace(p.Get("account")), p.Get("decision")
	if err != nil || decision != "accept" && decision != "deny" {
		s.showConfirmation(w, http.StatusBadRequest, "The decision could not be read.", "")
		return
	}
	if decision == "accept" {
		found, err := s.ledger.Confirm(email)
		switch {
		case err != nil:
			http.Error(w, "the sandbox cannot write its state file", http.StatusInternalServerError)
			return
		case !found:
			s.showConfirmation(w, http.StatusNotFound, "No account waits to be confirmed by this e-mail address.", "")
			return
		}
		s.sendInBackground(r.Context(), confirmedEvent, email)
	}
	http.Redirect(w, r, "/account/confirm?decided="+decision, http.StatusSeeOther)
}

func (s *Server) showConfirmation(w http.ResponseWriter, status int, said, account string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'")
	w.WriteHeader(status)
	// The browser may be gone.
	_ = confirmation.Execute(w, struct{ Said, Client, Account string }{said, s.cfg.ClientID, account})
}
