package web

import (
	"cmp"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
)

// ConsoleLink is where an operator opens the console.
type ConsoleLink struct {
	URL string `json:"url"`
	// ExpiresAt is when the link ends, which begins one session. Zero: the console asks nobody who they are.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// ConsoleLink makes a link to the console. Where that wants a session, the link begins one, once and within a minute: it
// is for the operator alone. It is an error while the admin listener does not listen.
func (s *Server) ConsoleLink() (ConsoleLink, error) {
	bound := s.adminBound.Load()
	if bound == nil {
		return ConsoleLink{}, errors.New("the console does not listen: esignd is starting or stopping, or has no http.admin")
	}
	scheme := "http://"
	if s.files != nil {
		scheme = "https://"
	}
	base := strings.TrimRight(cmp.Or(s.cfg.AdminURL, scheme+reachable(*bound)), "/")
	if !s.login {
		return ConsoleLink{URL: base + "/"}, nil
	}
	secret, until := s.sessions.link()
	s.cfg.Logger.Info("a link to the console was made")
	return ConsoleLink{URL: base + "/session/" + secret, ExpiresAt: until.UTC()}, nil
}

// reachable is a listener's address as a browser on this machine opens it.
func reachable(bound string) string {
	ap, err := netip.ParseAddrPort(bound)
	if err != nil || !ap.Addr().IsUnspecified() {
		return bound
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), ap.Port()).String()
}

// wantsLogin reports whether others than this machine's users can reach the console.
func (cfg *Config) wantsLogin() bool {
	url, err := url.Parse(cfg.AdminURL)
	if err != nil || url.Host != "" && !isLoopbackHost(url.Hostname()) {
		return true
	}
	host, _, err := net.SplitHostPort(cfg.Admin)
	return cfg.Admin != "" && (err != nil || !isLoopbackHost(host))
}

func isLoopbackHost(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// adminSecure reports whether an operator's browser speaks https.
func (s *Server) adminSecure(r *http.Request) bool {
	return r.TLS != nil || strings.HasPrefix(s.cfg.AdminURL, "https:")
}

// sessionCookie holds a session. Where there is https, its name keeps other hosts and plain http from setting it.
func (s *Server) sessionCookie(r *http.Request, session string) *http.Cookie {
	c := &http.Cookie{ //nolint:gosec // Secure wherever operators come by https
		Name: "esignd_console", Value: session, Path: "/", MaxAge: int(sessionLife / time.Second),
		HttpOnly: true, Secure: s.adminSecure(r), SameSite: http.SameSiteStrictMode,
	}
	if c.Secure {
		c.Name = "__Host-" + c.Name
	}
	return c
}

// session returns the session of a request's browser, empty where there is none that lives.
func (s *Server) session(r *http.Request) string {
	cookie, err := r.Cookie(s.sessionCookie(r, "").Name)
	if err != nil || !s.sessions.lives(cookie.Value) {
		return ""
	}
	return cookie.Value
}

// signedIn refuses who has no session, where the console wants one.
func (s *Server) signedIn(next http.HandlerFunc) http.Handler {
	if !s.login {
		return s.sameHost(next)
	}
	return s.limitedBy(s.adminLimits, "", s.sameHost(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.session(r) == "" {
			s.message(w, http.StatusForbidden, pageNoSession, "")
			return
		}
		next(w, r)
	})).ServeHTTP)
}

// openSession begins a session for who has a link. It answers with a page that goes on by itself: a browser does not
// send a new SameSite=Strict cookie along a redirect that began on another site.
func (s *Server) openSession(w http.ResponseWriter, r *http.Request) {
	if !s.isMeant(w, r) {
		return
	}
	session, ok := s.sessions.begin(r.PathValue("link"))
	if !ok {
		s.message(w, http.StatusNotFound, pageConsoleLinkEnded, "")
		return
	}
	s.cfg.Logger.InfoContext(r.Context(), "a console session began", "peer", s.proxies.peer(r).String())
	http.SetCookie(w, s.sessionCookie(r, session))
	s.message(w, http.StatusOK, pageSignedIn, "")
}

// logout ends this browser's session. Another site cannot ask for it: the cookie does not come along from there.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	s.sessions.end(s.session(r))
	ended := s.sessionCookie(r, "") //nolint:gosec // the same attributes as the cookie it ends
	ended.MaxAge = -1
	http.SetCookie(w, ended)
	s.message(w, http.StatusOK, pageLoggedOut, "")
}

// metrics answers scrapers. With a token it is for who sends that, or has a session; without one it is for who may see
// the console.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	wanted := !s.cfg.MetricsToken.IsZero()
	switch {
	case wanted && bearer && s.cfg.MetricsToken.Equal(core.NewSecret(token)), s.login && s.session(r) != "" && s.isOwnHost(r.Host):
		s.cfg.Metrics.ServeHTTP(w, r)
	case wanted || s.login:
		w.Header().Set("WWW-Authenticate", "Bearer")
		writeText(w, http.StatusUnauthorized, "Metrics are for who sends the token of http.metrics_token: Authorization: Bearer TOKEN.")
	default:
		s.sameHost(s.cfg.Metrics).ServeHTTP(w, r)
	}
}
