package connect

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/system"
)

// with returns an address with its query changed.
func with(u *url.URL, change func(url.Values)) string {
	q := u.Query()
	change(q)
	v := *u
	v.RawQuery = q.Encode()
	return v.String()
}

// TestSessionFixation hands the answer to an authorization to another browser than the one that began it, both ways.
func TestSessionFixation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	t.Run("the attacker's answer in the victim's browser", func(t *testing.T) {
		// With it the victim would go on with the attacker's account.
		back := w.consented(w.browser(), w.link("a", "fixed"), "attacker")
		w.refused(w.open(w.browser(), back.String()), http.StatusForbidden)
		w.exchanges(0, 0)
		w.holds("a", "fixed", "")
	})
	t.Run("the victim's answer in the attacker's browser", func(t *testing.T) {
		link := w.link("a", "stolen")
		victim, attacker := w.browser(), w.browser()
		_ = w.open(attacker, link) // the attacker has opened it first, and has a cookie of the same grant
		back := w.consented(victim, link, "victim")
		w.refused(w.open(attacker, back.String()), http.StatusForbidden)
		w.exchanges(0, 0)
		w.finish(victim, back, "connected")
		w.holds("a", "stolen", "victim")
		w.refused(w.open(attacker, link), http.StatusNotFound) // the link is spent, and the attacker's visit with it
	})
	t.Run("the attacker's visit after the victim has connected", func(t *testing.T) {
		link := w.link("a", "late")
		victim, attacker := w.browser(), w.browser()
		late := w.consented(attacker, link, "attacker")
		w.finish(victim, w.consented(victim, link, "victim"), "connected")
		w.refused(w.open(attacker, late.String()), http.StatusBadRequest)
		w.holds("a", "late", "victim")
	})
}

// TestCookieThatIsNotOfThisFlow brings the right state with no cookie, and with another flow's.
func TestCookieThatIsNotOfThisFlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	first, second := w.consented(b, w.link("a", "one"), "one"), w.consented(b, w.link("a", "two"), "two")
	cookies := map[string]*http.Cookie{}
	for _, c := range b.Jar.Cookies(first) {
		grant, _, _ := strings.Cut(second.Query().Get("state"), ".")
		cookies[map[bool]string{true: "second", false: "first"}[strings.Contains(c.Name, grant)]] = c
	}
	for name, value := range map[string]string{"none": "", "another flow's": cookies["second"].Value, "no cookie's": "x"} {
		p := w.open(w.browser(), first.String(), func(r *http.Request) {
			r.AddCookie(&http.Cookie{Name: cookies["first"].Name, Value: value})
			r.AddCookie(cookies["second"])
		})
		if w.refused(p, http.StatusForbidden); t.Failed() {
			t.Fatalf("with the value %s", name)
		}
	}
	w.exchanges(0, 0)
	w.finish(b, first, "connected")
	w.finish(b, second, "connected")
	w.holds("a", "one", "one")
	w.holds("a", "two", "two")
}

// TestMixUp brings the answer of one vendor where another's is awaited.
func TestMixUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	ofA, ofB := w.consented(b, w.link("a", "x"), "x"), w.consented(b, w.link("b", "x"), "x")
	// At the other client's callback; with the other's state there; and in a client that there is not.
	moved := *ofA
	moved.Path = ofB.Path
	w.refused(w.open(b, moved.String()), http.StatusBadRequest)
	nowhere := *ofA
	nowhere.Path = "/oauth/callback/c"
	w.refused(w.open(b, nowhere.String()), http.StatusBadRequest)
	w.exchanges(0, 0)
	w.finish(b, ofB, "connected")
	w.exchanges(0, 1)
	// The code of A at B's callback with B's state, as a vendor that is hostile sends it: the iss tells, and where it is
	// forged the code is no code of B's. A's code is in no case sent to B twice, and B gets no verifier of A's.
	for _, tc := range []struct {
		name, iss, status string
		sent              int
	}{
		{"iss of the other", ofA.Query().Get("iss"), "invalid_request", 1},
		{"no iss", "", "invalid_request", 1},
		{"iss twice", "twice", "invalid_request", 1},
		{"iss forged", ofB.Query().Get("iss"), "invalid_grant", 2},
	} {
		honest := w.consented(b, w.link("b", "y"), "y")
		mixed := with(honest, func(q url.Values) {
			q.Set("code", ofA.Query().Get("code"))
			switch tc.iss {
			case "":
				q.Del("iss")
			case "twice":
				q.Add("iss", q.Get("iss"))
			default:
				q.Set("iss", tc.iss)
			}
		})
		if p := w.open(b, mixed); p.to() != "/connect/done?status="+tc.status {
			t.Errorf("%s: %d to %q", tc.name, p.status, p.to())
		}
		w.exchanges(0, tc.sent)
	}
	w.holds("b", "y", "")
}

// TestCodeInjection brings the attacker's code, of the same vendor and client, with the victim's state and cookie: the
// victim's verifier does not fit it.
func TestCodeInjection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	victim := w.browser()
	stolen := w.consented(w.browser(), w.link("a", "attacker"), "attacker").Query().Get("code")
	back := w.consented(victim, w.link("a", "victim"), "victim")
	injected := with(back, func(q url.Values) { q.Set("code", stolen) })
	if p := w.open(victim, injected); p.to() != "/connect/done?status=invalid_grant" {
		t.Errorf("%d to %q", p.status, p.to())
	}
	w.exchanges(1, 0)
	w.holds("a", "victim", "")
	w.refused(w.open(victim, back.String()), http.StatusBadRequest) // the state is spent
	w.finish(victim, w.consented(victim, w.link("a", "victim"), "victim"), "connected")
	w.holds("a", "victim", "victim")
}

func TestReplayOfACallback(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	back := w.consented(b, w.link("a", "x"), "x")
	cookies := b.Jar.Cookies(back)
	w.finish(b, back, "connected")
	for range 3 {
		w.refused(w.open(b, back.String()), http.StatusBadRequest)
		w.refused(w.open(w.browser(), back.String(), func(r *http.Request) { r.AddCookie(cookies[0]) }), http.StatusBadRequest)
	}
	w.exchanges(1, 0)
	if n := w.a.Stats().CodesPresentedAgain; n != 0 {
		t.Errorf("the code was presented again, %d times", n)
	}
}

// TestHundredCallbacksAtOnce brings one answer a hundred times at once: the vendor is asked once.
func TestHundredCallbacksAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	back := w.consented(b, w.link("a", "x"), "x")
	cookie := b.Jar.Cookies(back)[0]
	var connected, refused atomic.Int32
	together(100, func() {
		p := w.open(w.browser(), back.String(), func(r *http.Request) { r.AddCookie(cookie) })
		switch {
		case p.to() == "/connect/done?status=connected":
			connected.Add(1)
		case p.status == http.StatusBadRequest:
			refused.Add(1)
		default:
			t.Errorf("answered %d, to %q", p.status, p.to())
		}
	})
	if connected.Load() != 1 || refused.Load() != 99 {
		t.Errorf("%d connected, %d refused", connected.Load(), refused.Load())
	}
	w.exchanges(1, 0)
	w.holds("a", "x", "x")
}

// together runs f so many times at once.
func together(n int, f func()) {
	var all sync.WaitGroup
	begin := make(chan struct{})
	for range n {
		all.Go(func() {
			<-begin
			f()
		})
	}
	close(begin)
	all.Wait()
}

// TestOpenRedirect asks for a return_to that is almost one of the list, and for one by the callback's own parameters.
func TestOpenRedirect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, to := range []string{
		"https://app.example/Connected", "https://APP.example/connected", "HTTPS://app.example/connected", "https://app.example/connected/",
		"https://app.example//connected", "https://app.example/connected?", "https://app.example/connected#", "https://app.example/connected#x",
		"https://app.example/connected?next=//evil.example", "https://app.example@evil.example/connected", "https://x@app.example/connected",
		"https://app.example:443/connected", "https://app.example./connected", "https://app.example\\@evil.example/connected",
		"//app.example/connected", "//evil.example", "\\\\evil.example", "/\\evil.example", "https:app.example/connected", "/connected",
		"https%3A%2F%2Fapp.example%2Fconnected", "https://app.example/%63onnected", "https://app.example/./connected", "https://app.example/x/../connected",
		" https://app.example/connected", "https://app.example/connected ", "https://app.example/connected\r\nSet-Cookie: a=b", "https://app.example/connected\x00",
		"javascript:alert(1)", "https://app.example/connectedx", "https://app.example/connecte", "https://app.exаmple/connected", "https://evil.example/connected",
	} {
		_, err := w.services.Authorize(t.Context(), client.AuthorizeRequest{Client: "a", Account: "x", ReturnTo: to})
		if e := core.AsError(err); err == nil || e.Code != core.InvalidRequest || e.Field != "return_to" && !strings.Contains(e.Description, "return_to") {
			t.Errorf("%q: %v", to, err)
		}
	}
	a := system.Must(w.services.Authorize(t.Context(), client.AuthorizeRequest{Client: "a", Account: "x", ReturnTo: returnTo}))(t)
	b := w.browser()
	back := w.consented(b, a.ConnectURL, "x")
	p := w.open(b, with(back, func(q url.Values) {
		for _, name := range []string{"return_to", "redirect_uri", "next", "url", "status", "grant"} {
			q.Set(name, "https://evil.example")
		}
	}))
	if want := returnTo + "?grant=" + a.Grant + "&status=connected"; p.to() != want {
		t.Errorf("went to %q, want %q", p.to(), want)
	}
	// What looks like a path and is a host, in the paths that are served themselves.
	for _, path := range []string{"//evil.example/..", "//evil.example/connect/done", "/%2f%2fevil.example", "/\\evil.example/", "/connect/done?status=//evil.example"} {
		if p := w.open(b, w.public+path); strings.HasPrefix(p.to(), "//") || strings.Contains(p.to(), "\\") || strings.Contains(p.to(), "://") {
			t.Errorf("%s: to %q", path, p.to())
		}
	}
}
