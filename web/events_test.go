package web

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
)

func post(s *Server, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/events/main", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-test")
	w := httptest.NewRecorder()
	s.PublicHandler().ServeHTTP(w, r)
	return w
}

func TestVendorEventGoesToTheManagerAsItCame(t *testing.T) {
	var got core.EventRequest
	s, log := newServer(t, Config{Manager: scripted{event: func(client string, r core.EventRequest) (string, error) {
		if client != "main" {
			t.Errorf("client %q", client)
		}
		got = r
		return "Hello <b>API</b> Event Received", nil
	}}})
	w := post(s, "event "+canary)
	if w.Code != http.StatusOK || w.Body.String() != "Hello <b>API</b> Event Received" {
		t.Errorf("answered %d %q", w.Code, w.Body)
	}
	if h := w.Header(); !strings.HasPrefix(h.Get("Content-Type"), "text/plain") || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers %v", h)
	}
	if string(got.Body) != "event "+canary || got.Header.Get("Content-Type") != "application/x-test" {
		t.Errorf("the manager got %q with %v", got.Body, got.Header)
	}
	if strings.Contains(log.String(), canary) {
		t.Errorf("the log has the event: %s", log)
	}
}

func TestVendorEventIsRefusedWithAStatusThatSaysWhetherToSendItAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		err    error
		status int
	}{
		"forged":         {&core.Error{Code: core.AccessDenied, Description: canary}, http.StatusForbidden},
		"unreadable":     {&core.Error{Code: core.InvalidRequest, Description: canary}, http.StatusBadRequest},
		"unknown client": {&core.Error{Code: core.NotFound, Description: canary}, http.StatusNotFound},
		"no events":      {&core.Error{Code: core.Unsupported, Description: canary}, http.StatusNotFound},
		"store away":     {&core.Error{Code: core.TemporarilyUnavailable, RetryAfter: 3 * time.Second, Description: canary}, http.StatusServiceUnavailable},
		"our fault":      {errors.New("disk"), http.StatusInternalServerError},
	} {
		s, _ := newServer(t, Config{Manager: scripted{event: func(string, core.EventRequest) (string, error) { return "", tt.err }}})
		w := post(s, "x")
		if w.Code != tt.status || strings.Contains(w.Body.String(), canary) || w.Body.Len() == 0 {
			t.Errorf("%s: answered %d %q, want %d", name, w.Code, w.Body, tt.status)
		}
		if retry := w.Header().Get("Retry-After"); (retry == "3") != (tt.status == http.StatusServiceUnavailable) {
			t.Errorf("%s: Retry-After %q", name, retry)
		}
	}
}

func TestVendorEventIsBounded(t *testing.T) {
	s, _ := newServer(t, Config{RequestsPerMinute: 2, Manager: scripted{event: func(string, core.EventRequest) (string, error) { return "ok", nil }}})
	if w := post(s, strings.Repeat("x", maxEvent+1)); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a body that is too large: %d", w.Code)
	}
	limited := false
	for range 30 {
		limited = limited || post(s, "x").Code == http.StatusTooManyRequests
	}
	if !limited {
		t.Error("events are not limited")
	}
	r := httptest.NewRequest(http.MethodGet, "/events/main", nil)
	w := httptest.NewRecorder()
	s.PublicHandler().ServeHTTP(w, r)
	if w.Code == http.StatusOK {
		t.Error("GET is answered")
	}
}
