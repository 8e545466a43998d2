package web

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
)

const (
	maxTicket    = 256 // bytes; a ticket has about 90
	maxCookieAge = 10 * time.Minute
)

// grantID is the form of a grant's id, with which a ticket and an OAuth state begin.
var grantID = regexp.MustCompile(`^g_[0-9a-f]{40}$`)

// connect begins an authorization in this browser and sends it to the vendor.
func (s *Server) connect(w http.ResponseWriter, r *http.Request) {
	if !s.isMeant(w, r) {
		return
	}
	ticket := r.PathValue("ticket")
	grant, _, ok := strings.Cut(ticket, ".")
	if !ok || len(ticket) > maxTicket || !grantID.MatchString(grant) {
		s.show(w, http.StatusNotFound, pageLinkEnded)
		return
	}
	visit, err := s.cfg.Manager.Visit(r.Context(), ticket)
	if err != nil {
		s.showError(w, r, err)
		return
	}
	http.SetCookie(w, s.cookie(s.cookieName(grant, stateOf(visit.RedirectURL)), visit))
	redirect(w, visit.RedirectURL)
}

// isMeant reports whether a person opens an address. Reading it changes state, as every connect flow must, and a program
// that looks ahead does not mean that; it is answered here.
func (s *Server) isMeant(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		s.show(w, http.StatusMethodNotAllowed, pageNotFound)
		return false
	}
	if isPrefetch(r.Header) {
		w.WriteHeader(http.StatusNoContent)
		return false
	}
	return true
}

// isPrefetch reports whether a browser looks ahead at a page that nobody asked for yet.
func isPrefetch(h http.Header) bool {
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		if purpose := strings.ToLower(h.Get(name)); strings.Contains(purpose, "prefetch") || strings.Contains(purpose, "preview") {
			return true
		}
	}
	return false
}

// cookie binds the browser to the authorization. SameSite=Lax lets it come along when the vendor sends the browser
// back, which is a navigation from another site. Where there is https, its name keeps a host next to ours, and whoever
// changes plain http on its way, from setting it (RFC 6265bis §4.1.3.2); that takes the path of the whole host.
func (s *Server) cookie(name string, visit core.Visit) *http.Cookie {
	path := s.prefix + "/oauth/callback/"
	if s.secure {
		path = "/"
	}
	age := min(time.Until(visit.ExpiresAt), maxCookieAge)
	return &http.Cookie{ //nolint:gosec // Secure wherever public_url is https
		Name:     name,
		Value:    visit.Cookie.Reveal(),
		Path:     path,
		MaxAge:   max(1, int(age/time.Second)),
		HttpOnly: true,
		Secure:   s.secure,
		SameSite: http.SameSiteLaxMode,
	}
}

// cookieName is a cookie's name for each visit, so that authorizations in several tabs, of one grant too, keep apart.
func (s *Server) cookieName(grant, state string) string {
	sum := sha256.Sum256([]byte(state))
	name := "esignd_" + grant + "_" + hex.EncodeToString(sum[:4])
	if s.secure {
		return "__Host-" + name
	}
	return name
}

// stateOf is the OAuth state with which the vendor will send the browser back. Where the vendor's URL does not show
// it, the visits of one grant share a cookie.
func stateOf(redirectURL string) string {
	u, err := url.Parse(redirectURL)
	if err != nil {
		return ""
	}
	return u.Query().Get("state")
}

// findCookie returns the cookie of the visit that began the authorization with the given state.
func (s *Server) findCookie(r *http.Request, state string) (*http.Cookie, bool) {
	grant, _, ok := strings.Cut(state, ".")
	if !ok || !grantID.MatchString(grant) {
		return nil, false
	}
	for _, name := range []string{s.cookieName(grant, state), s.cookieName(grant, "")} {
		if cookie, err := r.Cookie(name); err == nil {
			return cookie, true
		}
	}
	return nil, false
}

// callback takes the vendor's answer and sends the browser on, to an address without code and state.
func (s *Server) callback(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		s.show(w, http.StatusMethodNotAllowed, pageNotFound)
		return
	}
	params, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		s.show(w, http.StatusBadRequest, pageIncomplete)
		return
	}
	answer := core.CallbackAnswer{Client: r.PathValue("client"), Params: params}
	cookie, found := s.findCookie(r, params.Get("state"))
	if found {
		answer.Cookie = core.NewSecret(cookie.Value)
	}
	// The code can be exchanged once. A browser that goes away must not end that half-way.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), callbackTimeout)
	defer cancel()
	reply, err := s.cfg.Manager.Callback(ctx, answer)
	if err != nil {
		s.showError(w, r, err)
		return
	}
	if found {
		spent := s.cookie(cookie.Name, core.Visit{}) //nolint:gosec // the same attributes as the cookie it ends
		spent.MaxAge = -1
		http.SetCookie(w, spent)
	}
	redirect(w, s.destination(reply))
}

// destination is where a connect flow ends: the result page, or return_to with status and grant added.
func (s *Server) destination(reply core.CallbackReply) string {
	back, err := url.Parse(reply.ReturnTo)
	if reply.ReturnTo == "" || err != nil {
		return s.prefix + "/connect/done?" + url.Values{"status": {reply.Status}}.Encode()
	}
	query := back.Query()
	query.Set("status", reply.Status)
	query.Set("grant", reply.Grant)
	back.RawQuery = query.Encode()
	return back.String()
}

// redirect is http.Redirect without its body, which repeats the URL.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// done is the page on which a connect flow ends. Nothing of its address is shown.
func (s *Server) done(w http.ResponseWriter, r *http.Request) {
	status := r.URL.Query().Get("status")
	if status == "" {
		s.notFound(w, r)
		return
	}
	s.show(w, http.StatusOK, resultPage(status))
}

func (s *Server) notFound(w http.ResponseWriter, _ *http.Request) {
	s.show(w, http.StatusNotFound, pageNotFound)
}

// showError answers for a Manager's error. The log gets the error; the browser, which may be anybody's, only its kind.
func (s *Server) showError(w http.ResponseWriter, r *http.Request, err error) {
	e := core.AsError(err)
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	if e.Code == core.ServerError {
		s.cfg.Logger.ErrorContext(r.Context(), "a connect page failed; the browser is told to try again later",
			"route", route(r), "error", cmp.Or(errors.Unwrap(e), error(e)))
	}
	status, page := errorPage(e.Code)
	s.show(w, status, page)
}

func errorPage(code core.Code) (int, page) {
	switch code {
	case core.InvalidRequest:
		return http.StatusBadRequest, pageIncomplete
	case core.NotFound, core.ReauthorizationRequired:
		return http.StatusNotFound, pageLinkEnded
	case core.AccessDenied:
		return http.StatusForbidden, pageOtherBrowser
	case core.TemporarilyUnavailable:
		return http.StatusServiceUnavailable, pageTryLater
	case core.InvalidClient, core.Unsupported:
		return http.StatusBadGateway, pageMisconfigured
	default:
		return http.StatusInternalServerError, pageOurFault
	}
}
