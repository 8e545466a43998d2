package web

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/esignd/esignd/core"
)

func TestConnectBindsTheBrowserAndSendsItToTheVendor(t *testing.T) {
	for public, secure := range map[string]bool{"http://127.0.0.1:8080": false, "https://esign.example.com": true} {
		s, _ := newServer(t, Config{PublicURL: public})
		w := httptest.NewRecorder()
		s.PublicHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/connect/"+grantA+".x", nil))
		if got := w.Header().Get("Location"); w.Code != http.StatusSeeOther || got != "https://vendor.example/authorize?state="+grantA+".x" {
			t.Fatalf("%d to %q", w.Code, got)
		}
		if w.Body.Len() != 0 {
			t.Errorf("the redirect has a body: %s", w.Body)
		}
		cookies := w.Result().Cookies()
		if len(cookies) != 1 {
			t.Fatalf("cookies %v", cookies)
		}
		c := cookies[0]
		path := map[bool]string{true: "/", false: "/oauth/callback/"}[secure]
		if c.Name != s.cookieName(grantA, grantA+".x") || strings.HasPrefix(c.Name, "__Host-") != secure || !c.HttpOnly || c.Secure != secure || c.SameSite != http.SameSiteLaxMode ||
			c.Path != path || c.Domain != "" || c.MaxAge < 590 || c.MaxAge > 600 {
			t.Errorf("%s: cookie %+v", public, c)
		}
	}
}

func TestLookingAheadBeginsNothing(t *testing.T) {
	s, _ := newServer(t, Config{Manager: scripted{visit: func(string) (core.Visit, error) {
		t.Error("a visit was made")
		return core.Visit{}, errors.New("no")
	}}})
	path := "/connect/" + grantA + ".x"
	for _, r := range []*http.Request{
		httptest.NewRequest(http.MethodHead, path, nil),
		httptest.NewRequest(http.MethodPost, path, nil),
		httptest.NewRequest(http.MethodOptions, path, nil),
		withHeader(httptest.NewRequest(http.MethodGet, path, nil), "Sec-Purpose", "prefetch;prerender"),
		withHeader(httptest.NewRequest(http.MethodGet, path, nil), "Purpose", "prefetch"),
		withHeader(httptest.NewRequest(http.MethodGet, path, nil), "X-Moz", "prefetch"),
		httptest.NewRequest(http.MethodGet, "/connect/"+grantA, nil),
		httptest.NewRequest(http.MethodGet, "/connect/nonsense.x", nil),
		httptest.NewRequest(http.MethodGet, path+strings.Repeat("x", maxTicket), nil),
		httptest.NewRequest(http.MethodGet, "/connect/..%2f..%2fetc", nil),
	} {
		w := httptest.NewRecorder()
		s.PublicHandler().ServeHTTP(w, r)
		if w.Code == http.StatusSeeOther || len(w.Result().Cookies()) != 0 {
			t.Errorf("%s %s: %d", r.Method, r.URL, w.Code)
		}
	}
}

func withHeader(r *http.Request, name, value string) *http.Request {
	r.Header.Set(name, value)
	return r
}

func TestCallbackEndsOnACleanPage(t *testing.T) {
	s, log := newServer(t, Config{})
	base, b := serve(t, s.PublicHandler()), browser(t)
	get(t, b, base+"/connect/"+grantA+"."+canary)
	back := get(t, b, base+"/oauth/callback/adobe-main?code="+canary+"&state="+grantA+"."+canary)
	location := back.Header.Get("Location")
	if back.StatusCode != http.StatusSeeOther || location != "/connect/done?status=connected" {
		t.Fatalf("%d to %q", back.StatusCode, location)
	}
	if c := back.Cookies(); len(c) != 1 || c[0].MaxAge >= 0 {
		t.Errorf("the cookie was left: %v", c)
	}
	done := get(t, b, base+location)
	if done.StatusCode != http.StatusOK || !strings.Contains(done.text, "The account is connected.") {
		t.Errorf("%d %s", done.StatusCode, done.text)
	}
	for what, text := range map[string]string{"log": log.String(), "page": done.text, "redirect": back.text + location} {
		if strings.Contains(text, canary) {
			t.Errorf("the %s holds the canary: %s", what, text)
		}
	}
	if !strings.Contains(log.String(), "/oauth/callback/{client}") {
		t.Errorf("the route was not logged: %s", log)
	}
}

func TestEveryParameterReachesTheManager(t *testing.T) {
	var got core.CallbackAnswer
	s, _ := newServer(t, Config{Manager: scripted{callback: func(ctx context.Context, a core.CallbackAnswer) (core.CallbackReply, error) {
		got = a
		if _, ok := ctx.Deadline(); !ok {
			t.Error("the callback has no deadline")
		}
		return core.CallbackReply{Grant: grantA, Status: "access_denied"}, nil
	}}})
	query := "state=" + grantA + ".s&code=c&api_access_point=https%3A%2F%2Fapi.na1.adobesign.com%2F&x=1&x=2"
	r := httptest.NewRequest(http.MethodGet, "/oauth/callback/adobe-main?"+query, nil)
	r.AddCookie(&http.Cookie{Name: s.cookieName(grantA, grantA+".other"), Value: "other visit"})
	r.AddCookie(&http.Cookie{Name: s.cookieName(grantA, grantA+".s"), Value: "mine"})
	r.AddCookie(&http.Cookie{Name: s.cookieName(grantB, grantB+".s"), Value: "other grant"})
	ctx, cancel := context.WithCancel(r.Context())
	cancel() // the browser went away
	w := httptest.NewRecorder()
	s.PublicHandler().ServeHTTP(w, r.WithContext(ctx))
	want, _ := url.ParseQuery(query)
	if got.Client != "adobe-main" || got.Params.Encode() != want.Encode() || got.Cookie.Reveal() != "mine" {
		t.Errorf("got %+v, cookie %q", got, got.Cookie.Reveal())
	}
	if w.Header().Get("Location") != "/connect/done?status=access_denied" {
		t.Errorf("went to %q", w.Header().Get("Location"))
	}
}

func TestCallbackRunsOnWhenTheBrowserGoesAway(t *testing.T) {
	s, _ := newServer(t, Config{Manager: scripted{callback: func(ctx context.Context, _ core.CallbackAnswer) (core.CallbackReply, error) {
		return core.CallbackReply{Grant: grantA, Status: "connected"}, ctx.Err()
	}}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	s.PublicHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/oauth/callback/c", nil).WithContext(ctx))
	if w.Code != http.StatusSeeOther {
		t.Errorf("got %d", w.Code)
	}
}

func TestTabsDoNotDisturbEachOther(t *testing.T) {
	s, _ := newServer(t, Config{})
	base, b := serve(t, s.PublicHandler()), browser(t)
	states := []string{grantA + ".one", grantB + ".two", grantA + ".three"}
	for _, state := range states {
		get(t, b, base+"/connect/"+state)
	}
	for _, state := range states {
		back := get(t, b, base+"/oauth/callback/c?code=x&state="+state)
		if back.Header.Get("Location") != "/connect/done?status=connected" {
			t.Errorf("%s: %d", state, back.StatusCode)
		}
	}
}

func TestVendorURLWithoutAStateWorksToo(t *testing.T) {
	m := bound()
	visit := m.visit
	m.visit = func(ticket string) (core.Visit, error) {
		v, err := visit(ticket)
		v.RedirectURL = "https://vendor.example/pushed?request_uri=x"
		return v, err
	}
	s, _ := newServer(t, Config{Manager: m})
	base, b := serve(t, s.PublicHandler()), browser(t)
	get(t, b, base+"/connect/"+grantA+".one")
	if back := get(t, b, base+"/oauth/callback/c?state="+grantA+".one"); back.StatusCode != http.StatusSeeOther {
		t.Errorf("got %d", back.StatusCode)
	}
}

func TestAnotherBrowserIsRefused(t *testing.T) {
	s, _ := newServer(t, Config{})
	base := serve(t, s.PublicHandler())
	get(t, browser(t), base+"/connect/"+grantA+".one")
	back := get(t, browser(t), base+"/oauth/callback/c?code="+canary+"&state="+grantA+".one")
	if back.StatusCode != http.StatusForbidden || !strings.Contains(back.text, "not the browser you began in") {
		t.Errorf("%d %s", back.StatusCode, back.text)
	}
	if strings.Contains(back.text, canary) {
		t.Error("the page holds the code")
	}
}

func TestReturnToGetsStatusAndGrant(t *testing.T) {
	for returnTo, want := range map[string]string{
		"https://app.example/done":              "https://app.example/done?grant=" + grantA + "&status=connected",
		"https://app.example/done?a=b&status=x": "https://app.example/done?a=b&grant=" + grantA + "&status=connected",
		"":                                      "/connect/done?status=connected",
	} {
		s, _ := newServer(t, Config{Manager: scripted{callback: func(context.Context, core.CallbackAnswer) (core.CallbackReply, error) {
			return core.CallbackReply{Grant: grantA, Status: "connected", ReturnTo: returnTo}, nil
		}}})
		w := httptest.NewRecorder()
		s.PublicHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/oauth/callback/c?code=x&state=y", nil))
		if got := w.Header().Get("Location"); got != want {
			t.Errorf("%q: went to %q", returnTo, got)
		}
	}
}

func TestErrorsHaveTheirStatusAndTellNothing(t *testing.T) {
	later := core.Errorf(core.TemporarilyUnavailable, canary)
	later.RetryAfter = 1500 * time.Millisecond
	for _, tc := range []struct {
		err    error
		status int
		text   string
	}{
		{core.Errorf(core.InvalidRequest, canary), 400, "cannot be finished"},
		{core.Errorf(core.NotFound, canary), 404, "link has ended"},
		{core.Errorf(core.AccessDenied, canary), 403, "not the browser"},
		{later, 503, "try again"},
		{core.Errorf(core.InvalidClient, canary), 502, "not set up correctly"},
		{core.Errorf(core.ServerError, canary), 500, "went wrong here"},
		{errors.New("plain"), 500, "went wrong here"},
	} {
		s, log := newServer(t, Config{Manager: scripted{
			visit: func(string) (core.Visit, error) { return core.Visit{}, tc.err },
			callback: func(context.Context, core.CallbackAnswer) (core.CallbackReply, error) {
				return core.CallbackReply{}, tc.err
			},
		}})
		for _, path := range []string{"/connect/" + grantA + ".x", "/oauth/callback/c?code=SECRETCODE&state=" + grantA + ".SECRETSTATE"} {
			w := httptest.NewRecorder()
			s.PublicHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.text) {
				t.Errorf("%v: %d %s", tc.err, w.Code, w.Body)
			}
			if strings.Contains(w.Body.String(), canary) || strings.Contains(w.Body.String()+log.String(), "SECRET") {
				t.Errorf("%v: leaked: %s %s", tc.err, w.Body, log)
			}
			if tc.status == 503 && w.Header().Get("Retry-After") != "2" {
				t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
			}
		}
		if tc.status == 500 && !strings.Contains(log.String(), "connect page failed") {
			t.Errorf("%v was not logged: %s", tc.err, log)
		}
	}
}

func TestBrokenQueryIsRefused(t *testing.T) {
	s, _ := newServer(t, Config{Manager: scripted{callback: func(context.Context, core.CallbackAnswer) (core.CallbackReply, error) {
		t.Error("the Manager was asked")
		return core.CallbackReply{}, nil
	}}})
	w := httptest.NewRecorder()
	s.PublicHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/oauth/callback/c?code=%zz", nil))
	if w.Code != http.StatusBadRequest {
		t.Errorf("got %d", w.Code)
	}
}

func TestResultPageShowsNothingOfItsAddress(t *testing.T) {
	s, _ := newServer(t, Config{})
	for status, text := range map[string]string{
		"connected":         "The account is connected.",
		"access_denied":     "Access was not granted",
		"timeout":           "could not be reached",
		"invalid_client":    "not set up correctly",
		"<script>" + canary: "did not accept",
		"":                  "nothing here",
	} {
		w := httptest.NewRecorder()
		s.PublicHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/connect/done?"+url.Values{"status": {status}}.Encode(), nil))
		if !strings.Contains(w.Body.String(), text) || strings.Contains(w.Body.String(), canary) {
			t.Errorf("%q: %s", status, w.Body)
		}
	}
}

func TestSpansNameTheRouteAndNoSecret(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	s, _ := newServer(t, Config{TracerProvider: provider})
	handler := s.PublicHandler()
	for _, path := range []string{"/connect/" + grantA + "." + canary, "/oauth/callback/c?code=" + canary, "/" + canary + "?" + canary, "/healthz"} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		handler.ServeHTTP(httptest.NewRecorder(), r)
	}
	var names []string
	for _, span := range spans.Ended() {
		names = append(names, span.Name())
		if span.Parent().IsValid() {
			t.Errorf("%s took over the trace of the request", span.Name())
		}
		for _, a := range span.Attributes() {
			if strings.Contains(a.Value.String(), canary) {
				t.Errorf("%s: %s=%s", span.Name(), a.Key, a.Value.String())
			}
		}
	}
	want := "GET /connect/{ticket},GET /oauth/callback/{client},GET /"
	if got := strings.Join(names, ","); got != want {
		t.Errorf("spans %q, want %q", got, want)
	}
}
