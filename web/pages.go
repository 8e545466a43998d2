package web

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"time"

	"github.com/esignd/esignd/core"
)

//go:embed assets pages
var files embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"relative": relative,
	"rfc3339":  func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"clock":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"since":    func(t, now time.Time) string { return span(max(0, now.Sub(t))) },
	"at":       func(t, now time.Time) moment { return moment{t, now} },
}).ParseFS(files, "pages/*.html"))

// moment is a time as the console shows it: as seen from now.
type moment struct{ T, Now time.Time }

// page is what a person is told: what happened, and what to do.
type page struct {
	Good  bool
	Title string
	Text  string
	Next  string
	On    string // the address at which it goes on by itself
}

var (
	pageConnected = page{Good: true, Title: "Connected",
		Text: "The account is connected.",
		Next: "You can close this window and go back to where you came from."}
	pageDenied = page{Title: "Not connected",
		Text: "Access was not granted, so nothing was connected and nothing was changed.",
		Next: "If you want to grant it after all, open the link you were given once more."}
	pageVendorFailed = page{Title: "Not connected yet",
		Text: "The e-signature service could not be reached, or did not finish.",
		Next: "Wait a minute, then open the link you were given once more."}
	pageFailed = page{Title: "Not connected",
		Text: "The e-signature service did not accept the connection.",
		Next: "Open the link you were given once more. If this page comes back, tell the people who gave it to you."}
	pageLinkEnded = page{Title: "This link has ended",
		Text: "It was used already, or it is more than ten minutes old.",
		Next: "Ask for a new link where you got this one."}
	pageOtherBrowser = page{Title: "This is not the browser you began in",
		Text: "For your safety a connection is finished only in the browser that began it. This is another one, or a private window, or it refuses cookies. Nothing was connected.",
		Next: "Open the link you were given once more, and stay in that browser until the end."}
	pageIncomplete = page{Title: "This connection cannot be finished",
		Text: "It was finished already, it was begun more than ten minutes ago, or something on the way changed the address.",
		Next: "Open the link you were given once more. If that has ended too, ask for a new one."}
	pageTryLater = page{Title: "Please try again in a minute",
		Text: "This cannot be done right now.",
		Next: "Wait a minute, then open the link you were given once more."}
	pageTooMany = page{Title: "Too many requests",
		Text: "There were very many requests from your network in a short time.",
		Next: "Wait a minute, then load this page again."}
	pageMisconfigured = page{Title: "Not connected",
		Text: "The connection to the e-signature service is not set up correctly here. It is not your fault.",
		Next: "Tell the people who gave you the link."}
	pageOurFault = page{Title: "Something went wrong here",
		Text: "It is not your fault.",
		Next: "Open the link you were given once more. If this page comes back, tell the people who gave it to you."}
	pageNoSession = page{Title: "Who is there?",
		Text: "The console can be reached from elsewhere than its own machine, so it wants a session, and this browser has none.",
		Next: "On the machine that esignd runs on, run: esignd console --config FILE. It prints a link that begins a session."}
	pageConsoleLinkEnded = page{Title: "This link has ended",
		Text: "It was used already, or it is more than a minute old.",
		Next: "Run esignd console --config FILE once more."}
	pageSignedIn = page{Good: true, Title: "You are signed in",
		Text: "The session lasts for eight hours, or until you log out or esignd ends.",
		Next: "The console opens by itself.", On: "/"}
	pageLoggedOut = page{Good: true, Title: "You are logged out",
		Text: "The session has ended.",
		Next: "To see the console again, run: esignd console --config FILE."}
	pageNotFound = page{Title: "There is nothing here",
		Text: "The address is wrong or no longer in use.",
		Next: "Use the link you were given, in full."}
)

// resultPage is the page for the status of a finished connect flow, which is "connected", an OAuth error code, or a
// code of ours. It comes out of the address, where anybody can write anything.
func resultPage(status string) page {
	switch status {
	case "connected":
		return pageConnected
	case core.CodeAccessDenied, "denied":
		return pageDenied
	case core.CodeUnavailable, core.CodeRateLimited, core.CodeNetwork, core.CodeTimeout, core.CodePlugin, core.CodeBreakerOpen,
		string(core.TemporarilyUnavailable), core.ReasonOutcomeUnknown:
		return pageVendorFailed
	case core.CodeInvalidClient, core.CodeUnauthorizedClient, core.CodeInvalidScope:
		return pageMisconfigured
	default:
		return pageFailed
	}
}

// show writes a page for a person on the public listener.
func (s *Server) show(w http.ResponseWriter, status int, p page) { s.message(w, status, p, s.prefix) }

// message writes a page for a person; what the page loads is below base.
func (s *Server) message(w http.ResponseWriter, status int, p page, base string) {
	s.render(w, status, "message.html", struct {
		page
		Base string
	}{p, base})
}

// render writes a template, whole or not at all.
func (s *Server) render(w http.ResponseWriter, status int, name string, data any) {
	var body bytes.Buffer
	if err := templates.ExecuteTemplate(&body, name, data); err != nil {
		s.cfg.Logger.Error("a page cannot be made; the browser is told to ask the operator", "page", name, "error", err)
		writeText(w, http.StatusInternalServerError, "This page cannot be made. The log says why.")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}

// assets serves the style sheets and scripts, whole: http.ServeContent takes our headers off an answer to a part that
// there is not.
func (s *Server) assets(w http.ResponseWriter, r *http.Request) {
	name := path.Clean(r.URL.Path)[1:]
	content, err := fs.ReadFile(files, name)
	if err != nil {
		s.notFound(w, r)
		return
	}
	kind := "text/css"
	if path.Ext(name) == ".js" {
		kind = "text/javascript"
	}
	w.Header().Set("Content-Type", kind+"; charset=utf-8")
	_, _ = w.Write(content) //nolint:gosec // a file of ours
}
