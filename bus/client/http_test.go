package client_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
)

// api is a vendor's API that knows one live token, and a daemon that has the next one on a report.
type api struct {
	*httptest.Server
	daemon *daemon
	http   *http.Client

	mu     sync.Mutex
	accept string
	seen   []string // authorization and body of each request
}

func startAPI(t *testing.T, accept string, base func(*api) string) *api {
	t.Helper()
	a := &api{accept: accept}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	n := startNATS(t)
	a.daemon = startDaemon(t, n, func(e wire.Endpoint, _ *nats.Msg) (any, error) {
		if e == wire.TokenReport {
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
func anywhere(_ *api) string  { return "" }
func elsewhere(_ *api) string { return "https://api.elsewhere.example/" }

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	a.seen = append(a.seen, r.Header.Get("Authorization")+" "+string(body))
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
