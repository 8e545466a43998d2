package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// api is a vendor's API that knows one live token, and a daemon that has the next one on a report.
type api struct {
	*httptest.Server
	daemon *daemon
	http   *http.Client
	report func() (any, error) // what a report is answered; nil: the next token

	mu     sync.Mutex
	accept string
	seen   []string // authorization and body of each request
	paths  []string // and its path and query
}

func startAPI(t *testing.T, accept string, base func(*api) string) *api {
	t.Helper()
	a := &api{accept: accept}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	n := startNATS(t)
	a.daemon = startDaemon(t, n, func(e wire.Endpoint, _ *nats.Msg) (any, error) {
		switch {
		case e == wire.TokenReport && a.report != nil:
			return a.report()
		case e == wire.TokenReport:
			return issue(2, base(a)), nil
		}
		return issue(1, base(a)), nil
	})
	pool := &http.Transport{}
	t.Cleanup(pool.CloseIdleConnections)
	a.http = &http.Client{Transport: newClient(t, dial(t, n)).Transport(client.Selector{Grant: "g_1"}, pool)}
	return a
}

func own(a *api) string       { return a.URL + "/" }
func below(a *api) string     { return a.URL + "/api/v6" }
func anywhere(_ *api) string  { return "" }
func elsewhere(_ *api) string { return "https://api.elsewhere.example/" }

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	a.seen = append(a.seen, r.Header.Get("Authorization")+" "+string(body))
	a.paths = append(a.paths, r.URL.RequestURI())
	a.mu.Unlock()
	if to := r.URL.Query().Get("to"); to != "" {
		http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+a.accept {
		w.WriteHeader(http.StatusUnauthorized)
	}
	_, _ = w.Write(body)
}

// do sends a request and returns the status and the body of the answer.
func (a *api) do(t *testing.T, body io.Reader) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(testContext(t), http.MethodPost, a.URL+"/x", body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := a.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if req.Header.Get("Authorization") != "" {
		t.Error("the caller's request was changed")
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func (a *api) requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen
}

func TestTransportAddsTheToken(t *testing.T) {
	for name, base := range map[string]func(*api) string{"named host": own, "any host": anywhere} {
		t.Run(name, func(t *testing.T) {
			a := startAPI(t, "token-1", base)
			if status, _ := a.do(t, strings.NewReader("body")); status != http.StatusOK {
				t.Errorf("status %d", status)
			}
			if got := a.requests(); len(got) != 1 || got[0] != "Bearer token-1 body" {
				t.Errorf("the API saw %q", got)
			}
		})
	}
}

func TestTransportSetsTheBaseURLOfARequestWithoutAHost(t *testing.T) {
	for name, tc := range map[string]struct {
		base func(*api) string
		url  string
		want []string
	}{
		"the root":        {own, "/agreements?page=2&x=%2F", []string{"/agreements?page=2&x=%2F"}},
		"below the root":  {below, "/agreements", []string{"/api/v6/agreements"}},
		"no slash":        {below, "agreements/a%2Fb", []string{"/api/v6/agreements/a%2Fb"}},
		"a redirect":      {below, "/old?to=/new", []string{"/api/v6/old?to=/new", "/new"}},
		"no base":         {anywhere, "/agreements", nil},
		"a host, instead": {elsewhere, "//127.0.0.1/agreements", nil},
	} {
		t.Run(name, func(t *testing.T) {
			a := startAPI(t, "token-1", tc.base)
			resp, err := a.http.Get(tc.url)
			if err == nil {
				_ = resp.Body.Close()
			}
			if (err == nil) != (tc.want != nil) || !slices.Equal(a.paths, tc.want) {
				t.Fatalf("%v; the API saw %q, want %q", err, a.paths, tc.want)
			}
			for _, saw := range a.requests() {
				if saw != "Bearer token-1 " {
					t.Errorf("the API saw %q", saw)
				}
			}
		})
	}
}

// Whether a request can be sent again after a 401: without a body, or where the body can be had again.
func TestTransportRepeatsWhatCanBeRepeated(t *testing.T) {
	broken := errors.New("the body cannot be had again")
	for name, tc := range map[string]struct {
		body    io.Reader
		getBody func() (io.ReadCloser, error) // instead of the body's own
		again   bool
	}{
		"no body":          {nil, nil, true},
		"http.NoBody":      {http.NoBody, nil, true},
		"a string":         {strings.NewReader("body"), nil, true},
		"a stream":         {io.MultiReader(strings.NewReader("body")), nil, false},
		"a broken GetBody": {strings.NewReader("body"), func() (io.ReadCloser, error) { return nil, broken }, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := startAPI(t, "token-2", below)
			req, err := http.NewRequestWithContext(testContext(t), http.MethodPost, "/x", tc.body)
			if err != nil {
				t.Fatal(err)
			}
			if tc.getBody != nil {
				req.GetBody = tc.getBody
			}
			resp, err := a.http.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			want := []string{"/api/v6/x"}
			if tc.again {
				want = append(want, want[0])
			}
			if (resp.StatusCode == http.StatusOK) != tc.again || !slices.Equal(a.paths, want) || a.daemon.count(wire.TokenReport) != 1 {
				t.Errorf("status %d, the API saw %q, %d reports", resp.StatusCode, a.paths, a.daemon.count(wire.TokenReport))
			}
		})
	}
}

// A report that fails, or brings no other token, leaves the vendor's answer to the caller.
func TestTransportReturnsTheVendorsAnswerWhereNoOtherTokenIsHad(t *testing.T) {
	for name, report := range map[string]func() (any, error){
		"the report fails": func() (any, error) { return nil, core.Errorf(core.ReauthorizationRequired, "the owner must authorize") },
		"the same token":   func() (any, error) { return issue(1, ""), nil },
	} {
		t.Run(name, func(t *testing.T) {
			a := startAPI(t, "another", anywhere)
			a.report = report
			if status, b := a.do(t, strings.NewReader("body")); status != http.StatusUnauthorized || b != "body" {
				t.Errorf("status %d, %q", status, b)
			}
			if n := len(a.requests()); n != 1 {
				t.Errorf("the API saw %d requests", n)
			}
		})
	}
}

func TestTransportReportsAndTriesOnceMore(t *testing.T) {
	a := startAPI(t, "token-2", own)
	if status, b := a.do(t, strings.NewReader("body")); status != http.StatusOK || b != "body" {
		t.Errorf("status %d, %q", status, b)
	}
	if got := a.requests(); len(got) != 2 || got[0] != "Bearer token-1 body" || got[1] != "Bearer token-2 body" {
		t.Errorf("the API saw %q", got)
	}
	if body := string(a.daemon.last().Data); body != `{"grant":"g_1","generation":1}` {
		t.Errorf("reported %s", body)
	}
}

func TestTransportTriesOnlyOnce(t *testing.T) {
	a := startAPI(t, "another", own)
	if status, _ := a.do(t, nil); status != http.StatusUnauthorized {
		t.Errorf("status %d", status)
	}
	if got := a.requests(); len(got) != 2 {
		t.Errorf("the API saw %q", got)
	}
	if n := a.daemon.count(wire.TokenReport); n != 1 {
		t.Errorf("%d reports", n)
	}
}

func TestTransportDoesNotRepeatABodyItCannot(t *testing.T) {
	a := startAPI(t, "token-2", own)
	if status, b := a.do(t, io.MultiReader(strings.NewReader("body"))); status != http.StatusUnauthorized || b != "body" {
		t.Errorf("status %d, %q", status, b)
	}
	if n := a.daemon.count(wire.TokenReport); n != 1 {
		t.Errorf("%d reports; the next request needs a better token", n)
	}
}

func TestTransportSendsTheTokenNowhereElse(t *testing.T) {
	t.Run("a direct request", func(t *testing.T) {
		a := startAPI(t, "token-1", elsewhere)
		resp, err := a.http.Get(a.URL)
		if err == nil {
			_ = resp.Body.Close()
		}
		if err == nil || strings.Contains(err.Error(), "token-1") || len(a.requests()) != 0 {
			t.Errorf("%v; the API saw %q", err, a.requests())
		}
	})
	t.Run("not encrypted", func(t *testing.T) {
		a := startAPI(t, "token-1", anywhere)
		resp, err := a.http.Get("http://api.example.invalid/")
		if err == nil {
			_ = resp.Body.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "not sent there") {
			t.Errorf("got %v", err)
		}
	})
	for name, base := range map[string]func(*api) string{"a redirect, named host": own, "a redirect, any host": anywhere} {
		t.Run(name, func(t *testing.T) {
			var leaked string
			other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { leaked = r.Header.Get("Authorization") }))
			defer other.Close()
			a := startAPI(t, "token-1", base)
			resp, err := a.http.Get(a.URL + "/?to=" + other.URL)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK || leaked != "" {
				t.Errorf("status %s; the other host saw %q", resp.Status, leaked)
			}
		})
	}
}

func TestTokenSourceCountsFromItsOwnClock(t *testing.T) {
	n := startNATS(t)
	startDaemon(t, n, func(wire.Endpoint, *nats.Msg) (any, error) { return issue(3, "https://api.example/"), nil })
	before := time.Now()
	tok, err := newClient(t, dial(t, n)).TokenSource(context.Background(), client.Selector{Grant: "g_1"}).Token()
	if err != nil {
		t.Fatal(err)
	}
	// expires_at in the answer is long past: the daemon's clock does not count.
	if tok.Expiry.Before(before.Add(time.Hour)) || tok.Expiry.After(time.Now().Add(time.Hour)) || !tok.Valid() {
		t.Errorf("expiry %s", tok.Expiry)
	}
	if tok.AccessToken != "token-3" || tok.Type() != "Bearer" || tok.Extra("api_base_url") != "https://api.example/" || tok.Extra("generation") != uint64(3) {
		t.Errorf("token %v", tok.Type())
	}
}
