package connect

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
)

// TestParameterPollution repeats what counts once.
func TestParameterPollution(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	back := w.consented(b, w.link("a", "x"), "x")
	state := back.Query().Get("state")
	for _, other := range []string{state, "x", ""} {
		w.refused(w.open(b, with(back, func(q url.Values) { q.Add("state", other) })), http.StatusBadRequest)
		w.refused(w.open(b, with(back, func(q url.Values) { q["state"] = []string{other, state} })), http.StatusBadRequest)
	}
	for _, query := range []string{"", "state=" + url.QueryEscape(state) + ";code=x", "STATE=" + url.QueryEscape(state), "state[]=" + url.QueryEscape(state), "code=x&state=" + url.QueryEscape(state+"\x00")} {
		w.refused(w.open(b, w.public+back.Path+"?"+query), http.StatusBadRequest)
	}
	w.exchanges(0, 0)
	for _, name := range []string{"code", "error"} {
		p := w.open(b, with(back, func(q url.Values) { q.Add(name, "x"); q.Add(name, "y") }))
		if p.to() != "/connect/done?status=invalid_request" {
			t.Errorf("%s repeated: %d to %q", name, p.status, p.to())
		}
		back = w.consented(b, w.link("a", "x"), "x")
	}
	w.exchanges(0, 0)
	w.finish(b, back, "connected")
}

// TestMethodsOtherThanGET bring a good answer and take nothing.
func TestMethodsOtherThanGET(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	link := w.link("a", "x")
	back := w.consented(b, link, "x")
	for _, method := range []string{"HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"} {
		for _, address := range []string{link, back.String()} {
			p := w.open(b, address, func(r *http.Request) { r.Method = method })
			if p.status/100 != 4 || p.to() != "" || len(p.header.Values("Set-Cookie")) != 0 {
				t.Errorf("%s: %d to %q", method, p.status, p.to())
			}
		}
	}
	// As a form, and by a header that some servers heed.
	w.refused(w.open(b, w.public+back.Path, func(r *http.Request) {
		r.Method = "POST"
		r.Header.Set("X-HTTP-Method-Override", "GET")
	}), http.StatusNotFound)
	w.exchanges(0, 0)
	w.finish(b, back, "connected")
}

// TestHostHeader says that esignd is somebody else.
func TestHostHeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	evil := func(r *http.Request) {
		r.Host = "evil.example"
		for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Server", "X-Host", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix"} {
			r.Header.Set(name, "evil.example")
		}
		r.Header.Set("Forwarded", "host=evil.example;proto=https")
		r.Header.Set("X-Forwarded-Proto", "https")
	}
	p := w.open(b, w.link("a", "x"), evil)
	to, err := url.Parse(p.to())
	if err != nil || !strings.HasPrefix(p.to(), w.a.URL()+"/") || to.Query().Get("redirect_uri") != w.public+"/oauth/callback/a" {
		t.Errorf("to %q", p.to())
	}
	back := w.consented(b, w.link("a", "x"), "x")
	cookie := b.Jar.Cookies(back)[0] // the jar would look for those of evil.example
	end := w.open(w.browser(), back.String(), evil, func(r *http.Request) { r.AddCookie(cookie) })
	if end.to() != "/connect/done?status=connected" {
		t.Errorf("%d to %q", end.status, end.to())
	}
	for _, path := range []string{"/connect/done?status=connected", "/nothing", "//connect/done"} {
		if p := w.open(b, w.public+path, evil); strings.Contains(p.text+p.to(), "evil") {
			t.Errorf("%s repeats the host: %s %s", path, p.to(), p.text)
		}
	}
}

// TestHugeAndHostileQueries are refused, end in an error, or are read as what they are; none adds a header.
func TestHugeAndHostileQueries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	back := w.consented(b, w.link("a", "x"), "x")
	for _, query := range []string{
		"code=" + strings.Repeat("x", 100<<10), "state=" + strings.Repeat("x", 100<<10), strings.Repeat("a=b&", 20<<10),
	} {
		// The server may hang up before it has read all.
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.public+back.Path+"?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := b.Do(r); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("%d bytes: %d", len(query), resp.StatusCode)
			}
		}
	}
	const split = "x\r\nSet-Cookie: evil=1\r\nX-Evil: 1\r\n\r\n<script>"
	for _, address := range []string{
		with(back, func(q url.Values) { q.Set("state", split) }), w.public + "/connect/" + url.PathEscape(split),
		w.public + "/connect/done?status=" + url.QueryEscape(split), w.public + "/oauth/callback/" + url.PathEscape(split) + "?state=x",
		w.public + "/" + url.PathEscape(split), w.public + "/x//" + url.PathEscape(split), strings.Replace(back.String(), "/callback/a", "/callback//a", 1) + "&x=" + url.QueryEscape(split),
	} {
		p := w.open(w.browser(), address)
		if p.header.Get("X-Evil") != "" || strings.Contains(strings.Join(p.header.Values("Set-Cookie"), " "), "evil") || strings.Contains(p.text, "<script>") {
			t.Errorf("%q: %v %s", address, p.header, p.text)
		}
	}
	// A code that holds them goes to the vendor as a code does, and is none.
	if p := w.open(b, with(back, func(q url.Values) { q.Set("code", split) })); p.to() != "/connect/done?status=invalid_grant" || p.header.Get("X-Evil") != "" {
		t.Errorf("%d to %q", p.status, p.to())
	}
}

// TestExchangeOfAnOwnCallback holds grant.exchange to the rules of the connect flow.
func TestExchangeOfAnOwnCallback(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wantRefused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, core.InvalidRequest) {
			t.Errorf("%s: %v", what, err)
		}
	}
	params := w.own("x")
	_, err := w.dial("acme").Exchange(t.Context(), params)
	wantRefused("another tenant", err)
	_, err = w.services.ExchangeAt(t.Context(), otherURI, params)
	wantRefused("an answer that arrived at another client's callback", err)
	twice := url.Values{"state": {params.Get("state"), "x"}, "code": params["code"]}
	_, err = w.services.Exchange(t.Context(), twice)
	wantRefused("two states", err)
	b := w.browser()
	w.refused(w.open(b, w.public+"/oauth/callback/a?"+params.Encode()), http.StatusBadRequest)
	w.exchanges(0, 0)

	// The state of the connect flow is bound to a browser, and no service ends it.
	back := w.consented(b, w.link("a", "y"), "y")
	_, err = w.services.Exchange(t.Context(), back.Query())
	wantRefused("the connect flow's answer", err)
	w.exchanges(0, 0)
	w.finish(b, back, "connected")

	var connected atomic.Int32
	together(100, func() {
		g, err := w.services.ExchangeAt(t.Context(), ownURI, params)
		switch {
		case err == nil && g.State == core.Active:
			connected.Add(1)
		case !errors.Is(err, core.InvalidRequest) && !errors.Is(err, core.TemporarilyUnavailable):
			t.Errorf("%+v, %v", g, err)
		}
	})
	if connected.Load() != 1 {
		t.Errorf("%d of a hundred exchanges connected", connected.Load())
	}
	w.exchanges(2, 0)
	_, err = w.services.Exchange(t.Context(), params)
	wantRefused("once more", err)
	w.holds("a", "x", "x")

	stolen := w.own("attacker").Get("code")
	injected := w.own("victim")
	injected.Set("code", stolen)
	_, err = w.services.Exchange(t.Context(), injected)
	wantRefused("an injected code", err)
	w.holds("a", "victim", "")
	mixed := w.own("victim")
	mixed.Set("iss", w.b.URL())
	if _, err := w.services.Exchange(t.Context(), mixed); err == nil {
		t.Error("an answer with another's iss was taken")
	}
	w.exchanges(3, 0)
	var e *client.Error
	if _, err := w.services.Authorize(t.Context(), client.AuthorizeRequest{Client: "a", Account: "x", RedirectURI: otherURI}); !errors.As(err, &e) || e.Code != core.InvalidRequest {
		t.Errorf("another client's callback: %v", err)
	}
}
