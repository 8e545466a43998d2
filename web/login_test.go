package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/transcript"
)

const metricsToken = "0123456789abcdef0123456789abcdef"

// openConsole is a Server whose console can be reached from elsewhere.
func openConsole(t *testing.T, change ...func(*Config)) (*Server, *transcript.Transcript, string) {
	t.Helper()
	cfg := Config{
		Admin: "0.0.0.0:0", Manager: shelf(exampleGrants(3)),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "esign_x 1") }),
	}
	for _, f := range change {
		f(&cfg)
	}
	s, log := startServer(t, cfg)
	_, port, _ := strings.Cut(s.AdminAddr().String(), "]:")
	return s, log, "http://127.0.0.1:" + port
}

// signIn opens a link of the console in a browser and returns the link.
func signIn(t *testing.T, s *Server, b *http.Client) string {
	t.Helper()
	link, err := s.ConsoleLink()
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(link.ExpiresAt); left <= 0 || left > time.Minute {
		t.Errorf("the link lives %s", left)
	}
	if page := get(t, b, link.URL); page.StatusCode != http.StatusOK || !strings.Contains(page.text, `content="0;url=/"`) {
		t.Fatalf("%d %s", page.StatusCode, page.text)
	}
	return link.URL
}

// shows reports whether the console at base shows its grants to the browser.
func shows(t *testing.T, b *http.Client, base, path string) bool {
	t.Helper()
	page := get(t, b, base+path)
	seen := strings.Contains(page.text, "person-001@example.com")
	if (page.StatusCode == http.StatusOK) != seen || !seen && page.StatusCode != http.StatusForbidden {
		t.Errorf("%s: %d %s", path, page.StatusCode, page.text)
	}
	return seen
}

func TestConsoleOffTheLoopbackWantsASession(t *testing.T) {
	s, log, base := openConsole(t)
	b, stranger := browser(t), browser(t)
	for _, path := range []string{"/", "/live", "/?tenant=acme"} {
		if shows(t, b, base, path) {
			t.Errorf("%s is shown to a stranger", path)
		}
	}
	link := signIn(t, s, b)
	secret := link[strings.LastIndexByte(link, '/')+1:]
	for _, path := range []string{"/", "/live"} {
		if !shows(t, b, base, path) || shows(t, stranger, base, path) {
			t.Errorf("%s is not shown to who signed in, or to a stranger too", path)
		}
	}
	if again := get(t, stranger, link); again.StatusCode != http.StatusNotFound || len(again.Cookies()) != 0 {
		t.Errorf("the link opens twice: %d", again.StatusCode)
	}
	address, _ := url.Parse(base)
	cookie := b.Jar.Cookies(address)[0]
	if strings.Contains(log.String(), secret) || strings.Contains(log.String(), cookie.Value) {
		t.Error("the log holds the link or the session")
	}
	for _, forged := range []string{"", "x", secret, cookie.Value + "x"} {
		page := get(t, stranger, base+"/", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: cookie.Name, Value: forged}) })
		if page.StatusCode != http.StatusForbidden {
			t.Errorf("the cookie %q: %d", forged, page.StatusCode)
		}
	}
	out, err := b.PostForm(base+"/logout", nil)
	if err != nil || out.StatusCode != http.StatusOK {
		t.Fatalf("logout: %v", err)
	}
	_ = out.Body.Close()
	stolen := get(t, stranger, base+"/", func(r *http.Request) { r.AddCookie(cookie) })
	if stolen.StatusCode != http.StatusForbidden || shows(t, b, base, "/") {
		t.Errorf("the session outlives its logout: %d", stolen.StatusCode)
	}
}

func TestSessionCookieIsTheBrowsersAlone(t *testing.T) {
	for admin, secure := range map[string]bool{"https://esign.example.com": true, "http://127.0.0.1:8081": false} {
		s, _, base := openConsole(t, func(c *Config) { c.AdminURL = admin })
		link, err := s.ConsoleLink()
		if err != nil || !strings.HasPrefix(link.URL, admin+"/session/") || len(link.URL) != len(admin+"/session/")+43 {
			t.Fatalf("the link is %+v, %v", link, err)
		}
		page := get(t, browser(t), base+strings.TrimPrefix(link.URL, admin))
		c := page.Cookies()[0]
		if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure != secure || strings.HasPrefix(c.Name, "__Host-") != secure ||
			c.Path != "/" || c.Domain != "" || c.MaxAge != int(sessionLife/time.Second) {
			t.Errorf("%s: %+v", admin, c)
		}
		if hsts := page.Header.Get("Strict-Transport-Security") != ""; hsts != secure {
			t.Errorf("%s: HSTS is %t", admin, hsts)
		}
	}
}

func TestLookingAtALinkAheadSpendsNothing(t *testing.T) {
	s, _, base := openConsole(t)
	link, err := s.ConsoleLink()
	if err != nil {
		t.Fatal(err)
	}
	at := base + link.URL[strings.Index(link.URL, "/session/"):]
	b := browser(t)
	head, err := b.Head(at)
	if err != nil || head.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("HEAD: %v", err)
	}
	_ = head.Body.Close()
	if ahead := get(t, b, at, func(r *http.Request) { r.Header.Set("Sec-Purpose", "prefetch") }); ahead.StatusCode != http.StatusNoContent {
		t.Errorf("a prefetch: %d", ahead.StatusCode)
	}
	if page := get(t, b, at); page.StatusCode != http.StatusOK {
		t.Errorf("after that: %d", page.StatusCode)
	}
}

func TestLoopbackConsoleBehindAProxyWantsASession(t *testing.T) {
	for admin, login := range map[string]bool{"https://esign.example.com": true, "http://127.0.0.1:8081": false, "http://[::1]:8081": false, "": false} {
		s, _ := startServer(t, Config{Admin: "127.0.0.1:0", AdminURL: admin})
		at := "http://" + s.AdminAddr().String()
		got := get(t, browser(t), at+"/").StatusCode == http.StatusForbidden
		link, err := s.ConsoleLink()
		if got != login || err != nil || link.ExpiresAt.IsZero() == login {
			t.Errorf("%q: a session is wanted: %t; link %+v, %v", admin, got, link, err)
		}
		if named := get(t, browser(t), at+"/", func(r *http.Request) { r.Host = "esign.example.com" }); (named.StatusCode == http.StatusMisdirectedRequest) == login {
			t.Errorf("%q: asked by that name: %d", admin, named.StatusCode)
		}
		if admin == "" && link.URL != at+"/" {
			t.Errorf("the console is at %s, the link says %s", at, link.URL)
		}
	}
}

func TestHealthIsOpenAndItsReasonIsNot(t *testing.T) {
	s, _, base := openConsole(t, func(c *Config) {
		c.Ready = func() error { return core.Errorf(core.TemporarilyUnavailable, "the store is away") }
	})
	b := browser(t)
	if live := get(t, b, base+"/healthz"); live.StatusCode != http.StatusOK {
		t.Errorf("healthz: %d", live.StatusCode)
	}
	if ready := get(t, b, base+"/readyz"); ready.StatusCode != http.StatusServiceUnavailable || strings.Contains(ready.text, "store") {
		t.Errorf("readyz: %d %s", ready.StatusCode, ready.text)
	}
	signIn(t, s, b)
	if ready := get(t, b, base+"/readyz"); !strings.Contains(ready.text, "the store is away") {
		t.Errorf("who signed in is told %q", ready.text)
	}
}

func TestMetricsAreForWhoHasTheToken(t *testing.T) {
	with := func(c *Config) { c.MetricsToken = core.NewSecret(metricsToken) }
	loopback := func(c *Config) { c.Admin = "127.0.0.1:0" }
	for _, tc := range []struct {
		name          string
		change        []func(*Config)
		authorization string
		session       bool
		status        int
	}{
		{"off the loopback", nil, "", false, 401},
		{"off the loopback, a token where there is none", nil, "Bearer ", false, 401},
		{"off the loopback, session", nil, "", true, 200},
		{"token", []func(*Config){with}, "Bearer " + metricsToken, false, 200},
		{"token, none sent", []func(*Config){with}, "", false, 401},
		{"token, session instead", []func(*Config){with}, "", true, 200},
		{"token, wrong", []func(*Config){with}, "Bearer " + metricsToken + "x", false, 401},
		{"token, other scheme", []func(*Config){with}, "Basic " + metricsToken, false, 401},
		{"loopback", []func(*Config){loopback}, "", false, 200},
		{"loopback, token", []func(*Config){loopback, with}, "Bearer " + metricsToken, false, 200},
		{"loopback, token, none sent", []func(*Config){loopback, with}, "", false, 401},
	} {
		s, log, base := openConsole(t, tc.change...)
		if tc.change != nil && strings.HasPrefix(tc.name, "loopback") {
			base = "http://" + s.AdminAddr().String()
		}
		b := browser(t)
		if tc.session {
			signIn(t, s, b)
		}
		for _, host := range []string{"", "prometheus.internal:8081"} {
			got := get(t, b, base+"/metrics", func(r *http.Request) {
				r.Host = host
				if tc.authorization != "" {
					r.Header.Set("Authorization", tc.authorization)
				}
			})
			want := tc.status
			if host != "" && tc.status == 200 && tc.authorization == "" {
				want = map[bool]int{true: 401, false: 421}[tc.session] // a session, or this machine's user, by a foreign name
			}
			if got.StatusCode != want || (got.StatusCode == http.StatusOK) != strings.Contains(got.text, "esign_x") {
				t.Errorf("%s, host %q: %d %s, want %d", tc.name, host, got.StatusCode, got.text, want)
			}
			if got.StatusCode == http.StatusUnauthorized && got.Header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%s: WWW-Authenticate %q", tc.name, got.Header.Get("WWW-Authenticate"))
			}
		}
		if strings.Contains(log.String(), metricsToken) {
			t.Errorf("%s: the token is in the log", tc.name)
		}
	}
}

func TestLinkBeforeTheStartIsAnError(t *testing.T) {
	s, _ := newServer(t, Config{Admin: "0.0.0.0:0"})
	if link, err := s.ConsoleLink(); err == nil {
		t.Errorf("got %+v", link)
	}
}

func TestSessionsEndAndAreBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := newSessions(func() time.Time { return now })
	link, until := s.link()
	if until != now.Add(time.Minute) || len(link) != 43 {
		t.Errorf("the link %q lives until %s", link, until)
	}
	now = until
	if _, ok := s.begin(link); ok {
		t.Error("a link opens after a minute")
	}
	link, _ = s.link()
	session, ok := s.begin(link)
	if !ok || !s.lives(session) {
		t.Fatal("a link begins no session")
	}
	now = now.Add(sessionLife - time.Second)
	if !s.lives(session) {
		t.Error("the session ended early")
	}
	now = now.Add(time.Second)
	if s.lives(session) {
		t.Error("the session lives on")
	}
	var first, last string
	for i := range 2 * mostSessions {
		now = now.Add(time.Millisecond)
		link, _ := s.link()
		last, _ = s.begin(link)
		if i == 0 {
			first = last
		}
		_, _ = s.link() // that nobody opens
	}
	if len(s.links) > mostLinks || len(s.open) > mostSessions || s.lives(first) || !s.lives(last) {
		t.Errorf("%d links, %d sessions; the first lives: %t, the last: %t", len(s.links), len(s.open), s.lives(first), s.lives(last))
	}
}
