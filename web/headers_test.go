package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/esignd/esignd/core"
)

// outcome is a request, and the status of its answer.
type outcome struct {
	request string // method and path
	status  int
	change  func(*http.Request)
}

// failing is a Manager whose answer is what the ticket, the code or the event's client says.
func failing() scripted {
	fail := func(what string) error {
		switch code := core.Code(what); code {
		case "panic":
			panic(what)
		case "ok":
			return nil
		default:
			return core.Errorf(code, "%s", canary)
		}
	}
	m := bound()
	visit := m.visit
	m.visit = func(ticket string) (core.Visit, error) {
		_, what, _ := strings.Cut(ticket, ".")
		if err := fail(what); err != nil {
			return core.Visit{}, err
		}
		return visit(ticket)
	}
	m.callback = func(_ context.Context, a core.CallbackAnswer) (core.CallbackReply, error) {
		return core.CallbackReply{Grant: grantA, Status: "connected"}, fail(a.Params.Get("code"))
	}
	m.event = func(client string, _ core.EventRequest) (string, error) { return "ok", fail(client) }
	m.grants = func(f core.GrantFilter) ([]core.GrantInfo, string, error) {
		if f.State == "" {
			return nil, "", nil
		}
		return nil, "", fail(string(f.State))
	}
	return m
}

// outcomes of both listeners: each route with each kind of answer that it has.
func publicOutcomes() []outcome {
	prefetch := func(r *http.Request) { r.Header.Set("Sec-Purpose", "prefetch") }
	list := []outcome{
		{"GET /connect/" + grantA + ".ok", 303, nil},
		{"GET /connect/" + grantA + ".ok", 204, prefetch},
		{"HEAD /connect/" + grantA + ".ok", 405, nil},
		{"POST /connect/" + grantA + ".ok", 404, nil},
		{"GET /connect/" + grantA + ".panic", 500, nil},
		{"GET /connect/nonsense", 404, nil},
		{"GET /connect/done?status=connected", 200, nil},
		{"GET /connect/done", 404, nil},
		{"GET /oauth/callback/c?code=ok", 303, nil},
		{"GET /oauth/callback/c?code=panic", 500, nil},
		{"GET /oauth/callback/c?code=%zz", 400, nil},
		{"HEAD /oauth/callback/c?code=ok", 405, nil},
		{"DELETE /oauth/callback/c?code=ok", 404, nil},
		{"POST /events/ok", 200, nil},
		{"POST /events/ok", 413, func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat("x", maxEvent+1))), maxEvent+1
		}},
		{"POST /events/access_denied", 403, nil},
		{"POST /events/invalid_request", 400, nil},
		{"POST /events/not_found", 404, nil},
		{"POST /events/temporarily_unavailable", 503, nil},
		{"POST /events/server_error", 500, nil},
		{"POST /events/panic", 500, nil},
		{"GET /events/ok", 404, nil},
		{"GET /assets/message.css", 200, nil},
		{"GET /assets/message.css", 200, func(r *http.Request) { r.Header.Set("Range", "bytes=9999999-") }},
		{"GET /assets/nothing", 404, nil},
		{"GET /assets/../pages/console.html", 307, nil},
		{"GET //connect/done?status=connected", 307, nil},
		{"GET /healthz", 200, nil},
		{"GET /readyz", 503, nil},
		{"GET /", 404, nil},
		{"GET /session/x", 404, nil},
		{"OPTIONS /", 404, nil},
		{"PROPFIND /connect/done", 404, nil},
	}
	for code, status := range map[core.Code]int{
		core.InvalidRequest: 400, core.NotFound: 404, core.ReauthorizationRequired: 404, core.AccessDenied: 403,
		core.TemporarilyUnavailable: 503, core.InvalidClient: 502, core.Unsupported: 502, core.ServerError: 500,
	} {
		list = append(list,
			outcome{"GET /connect/" + grantA + "." + string(code), status, nil},
			outcome{"GET /oauth/callback/c?code=" + string(code), status, nil})
	}
	return list
}

func adminOutcomes() []outcome {
	return []outcome{
		{"GET /", 200, nil},
		{"GET /?state=invalid_request", 400, nil},
		{"GET /?state=server_error", 500, nil},
		{"GET /?state=panic", 500, nil},
		{"GET /live", 200, nil},
		{"GET /", 421, func(r *http.Request) { r.Host = "evil.example" }},
		{"GET /assets/console.js", 200, nil},
		{"GET /metrics", 404, nil},
		{"GET /healthz", 200, nil},
		{"GET /readyz", 503, nil},
		{"GET /nothing", 404, nil},
		{"POST /", 404, nil},
	}
}

func strangerOutcomes() []outcome {
	return []outcome{
		{"GET /", 403, nil},
		{"GET /live", 403, nil},
		{"GET /metrics", 401, nil},
		{"GET /session/x", 404, nil},
		{"HEAD /session/x", 405, nil},
		{"POST /logout", 200, nil},
		{"GET /assets/message.css", 200, nil},
		{"GET /healthz", 200, nil},
		{"GET /readyz", 503, nil},
		{"GET /nothing", 404, nil},
	}
}

// TestEveryAnswerCarriesItsHeaders asks, over HTTP, for each outcome of each route.
func TestEveryAnswerCarriesItsHeaders(t *testing.T) {
	notReady := func() error { return core.Errorf(core.TemporarilyUnavailable, "%s", canary) }
	for public, hsts := range map[string]string{"": "", "http://127.0.0.1:8080": "", "https://esign.example.com/x": "max-age=31536000"} {
		cfg := Config{Manager: failing(), PublicURL: public, Ready: notReady}
		s, _ := newServer(t, cfg)
		cfg.Admin = "0.0.0.0:0" // not listened on
		if hsts != "" {
			cfg.AdminURL = "https://esign.example.com:8081"
		}
		open, _ := newServer(t, cfg)
		check(t, s.PublicHandler(), publicPolicy, hsts, publicOutcomes())
		check(t, s.AdminHandler(), adminPolicy, "", adminOutcomes())
		check(t, open.AdminHandler(), adminPolicy, hsts, strangerOutcomes())
		cfg.RequestsPerMinute = 1
		hasty, _ := newServer(t, cfg)
		check(t, hasty.PublicHandler(), publicPolicy, hsts, []outcome{{"GET /nothing", 404, nil}, {"GET /connect/done?status=x", 429, nil}, {"GET /nothing", 429, nil}})
		check(t, hasty.AdminHandler(), adminPolicy, hsts, []outcome{{"GET /", 403, nil}, {"GET /", 429, nil}, {"GET /session/x", 429, nil}, {"GET /healthz", 200, nil}})
	}
}

func check(t *testing.T, h http.Handler, policy, hsts string, outcomes []outcome) {
	t.Helper()
	base, b := serve(t, h), browser(t)
	for _, o := range outcomes {
		method, path, _ := strings.Cut(o.request, " ")
		got := get(t, b, base+path, func(r *http.Request) {
			r.Method = method
			if o.change != nil {
				o.change(r)
			}
		})
		if got.StatusCode != o.status {
			t.Errorf("%s: %d, want %d", o.request, got.StatusCode, o.status)
		}
		if strings.Contains(got.text, canary) && (policy == publicPolicy || got.StatusCode == http.StatusForbidden) {
			t.Errorf("%s: the answer holds the error's text: %s", o.request, got.text)
		}
		for name, want := range map[string]string{
			"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Strict-Transport-Security": hsts,
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if list := got.Header.Values(name); strings.Join(list, "|") != want {
				t.Errorf("%s, %d: %s is %q, want %q", o.request, got.StatusCode, name, list, want)
			}
		}
	}
}

// TestPoliciesForbidWhatPagesDoNotNeed reads the policies themselves.
func TestPoliciesForbidWhatPagesDoNotNeed(t *testing.T) {
	for policy, form := range map[string]string{publicPolicy: "'none'", adminPolicy: "'self'"} {
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action " + form} {
			if !strings.Contains("; "+policy+";", "; "+want+";") {
				t.Errorf("%q lacks %s", policy, want)
			}
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
			t.Errorf("%q", policy)
		}
	}
}

// TestAnswerOfTheServerItselfIsOurs asks for what net/http would answer by itself.
func TestAnswerOfTheServerItselfIsOurs(t *testing.T) {
	s, _ := startServer(t, Config{Listen: "127.0.0.1:0"})
	got := exchange(t, s.PublicAddr().String(), "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.Contains(got, fmt.Sprintf("Content-Security-Policy: %s\r\n", publicPolicy)) {
		t.Errorf("OPTIONS *: %s", got)
	}
}
