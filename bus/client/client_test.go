package client_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/trace"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// issue makes a token of a generation that tells its generation.
func issue(generation uint64, apiBaseURL string) wire.Token {
	return wire.TokenOf(core.Token{
		Grant: "g_1", Tenant: "default", Client: "main", Vendor: "acme", Account: "alice", TokenType: "bearer",
		AccessToken: core.NewSecret("token-" + string(rune('0'+generation))), ExpiresAt: at, ExpiresIn: time.Hour,
		Scope: []string{"a", "b"}, Generation: generation, APIBaseURL: apiBaseURL,
	})
}

func TestRequestsAreWhatTheContractSays(t *testing.T) {
	n := startNATS(t)
	d := startDaemon(t, n, func(e wire.Endpoint, _ *nats.Msg) (any, error) {
		switch e {
		case wire.TokenGet, wire.TokenRefresh, wire.TokenReport:
			return issue(1, ""), nil
		case wire.GrantAuthorize:
			return wire.Authorization{Grant: "g_1", ConnectURL: "https://c.example", ExpiresAt: wire.Time{Time: at}}, nil
		case wire.GrantList:
			return wire.GrantPage{Grants: []wire.Grant{{Grant: "g_1"}}, Cursor: "g_1"}, nil
		default:
			return wire.Grant{Grant: "g_1", State: core.Active}, nil
		}
	})
	c := newClient(t, dial(t, n))
	ctx := testContext(t)
	sel := client.Selector{Tenant: "ignored", Client: "main", Account: "alice"}
	grant := func(g client.Grant, err error) error {
		if err == nil && (g.Grant != "g_1" || g.State != core.Active) {
			t.Errorf("grant %+v", g)
		}
		return err
	}
	token := func(tok client.Token, err error) error {
		if err == nil && (tok.AccessToken.Reveal() != "token-1" || tok.ExpiresIn != time.Hour || !tok.ExpiresAt.Equal(at)) {
			t.Errorf("token %+v", tok)
		}
		return err
	}
	cases := []struct {
		subject string
		body    string
		call    func() error
	}{
		{"token.get", `{"client":"main","account":"alice"}`, func() error { return token(c.Token(ctx, sel)) }},
		{"token.get", `{"grant":"g_1","min_ttl":90}`, func() error {
			return token(c.Token(ctx, client.Selector{Grant: "g_1"}, client.MinTTL(90*time.Second)))
		}},
		{"token.get", `{"client":"app","min_ttl":0}`, func() error {
			return token(c.Token(ctx, client.Selector{Client: "app"}, client.MinTTL(0)))
		}},
		{"token.refresh", `{"client":"main","account":"alice"}`, func() error { return token(c.Refresh(ctx, sel)) }},
		{"token.report", `{"client":"main","account":"alice","generation":7}`, func() error { return token(c.Report(ctx, sel, 7)) }},
		{"token.revoke", `{"client":"main","account":"alice","reason":"r"}`, func() error { return grant(c.Revoke(ctx, sel, "r")) }},
		{"grant.get", `{"client":"main","account":"alice"}`, func() error { return grant(c.Grant(ctx, sel)) }},
		{"grant.forget", `{"client":"main","account":"alice"}`, func() error { return grant(c.Forget(ctx, sel)) }},
		{"grant.exchange", `{"params":{"code":"x","state":"y"}}`, func() error {
			return grant(c.Exchange(ctx, url.Values{"code": {"x"}, "state": {"y"}}))
		}},
		{"grant.import", `{"client":"main","account":"alice","refresh_token":"r","expires_at":"2026-01-02T03:04:05Z","replace":true}`, func() error {
			return grant(c.Import(ctx, client.ImportRequest{Client: "main", Account: "alice",
				RefreshToken: client.NewSecret("r"), ExpiresAt: at, Replace: true}))
		}},
		{"grant.list", `{"state":"active","limit":5,"cursor":"g_0"}`, func() error {
			grants, cursor, err := c.Grants(ctx, client.GrantFilter{State: core.Active, Limit: 5, Cursor: "g_0"})
			if len(grants) != 1 || cursor != "g_1" {
				t.Errorf("%v %q", grants, cursor)
			}
			return err
		}},
		{"grant.authorize", `{"client":"main","account":"alice","scopes":["a"],"return_to":"https://r.example"}`, func() error {
			a, err := c.Authorize(ctx, client.AuthorizeRequest{Client: "main", Account: "alice", Scopes: []string{"a"}, ReturnTo: "https://r.example"})
			if d := cmp.Diff(client.Authorization{Grant: "g_1", ConnectURL: "https://c.example", ExpiresAt: at}, a); d != "" {
				t.Error(d)
			}
			return err
		}},
	}
	for _, tc := range cases {
		if err := tc.call(); err != nil {
			t.Errorf("%s: %v", tc.subject, err)
			continue
		}
		m := d.last()
		if m.Subject != "esign.api.default."+tc.subject || string(m.Data) != tc.body {
			t.Errorf("got  %s %s\nwant %s %s", m.Subject, m.Data, tc.subject, tc.body)
		}
	}
}

func TestErrorsOfTheDaemonAreTyped(t *testing.T) {
	n := startNATS(t)
	sent := &core.Error{Code: core.ReauthorizationRequired, Description: "authorize again", Reason: core.ReasonInvalidGrant,
		RetryAfter: 3 * time.Second, ConnectURL: "https://c.example/connect/1"}
	startDaemon(t, n, func(wire.Endpoint, *nats.Msg) (any, error) { return nil, sent })
	_, err := newClient(t, dial(t, n)).Token(testContext(t), client.Selector{Grant: "g_1"})
	if !errors.Is(err, client.ReauthorizationRequired) || errors.Is(err, client.NotFound) {
		t.Errorf("got %v", err)
	}
	var e *client.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %T", err)
	}
	if e.Code != sent.Code || e.Description != sent.Description || e.Reason != sent.Reason || e.RetryAfter != sent.RetryAfter || e.ConnectURL != sent.ConnectURL {
		t.Errorf("got %+v", e)
	}
}

func TestNoDaemonIsTemporarilyUnavailable(t *testing.T) {
	_, err := newClient(t, dial(t, startNATS(t))).Token(testContext(t), client.Selector{Grant: "g_1"})
	var e *client.Error
	if !errors.As(err, &e) || e.Code != client.TemporarilyUnavailable || e.Reason != client.ReasonNoResponders || e.RetryAfter == 0 || !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("got %v", err)
	}
}

func TestWaitingEndsWithTheContextOrTheTimeout(t *testing.T) {
	n := startNATS(t)
	silent := dial(t, n)
	if _, err := silent.Subscribe("esign.api.>", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	if err := silent.Flush(); err != nil {
		t.Fatal(err)
	}
	nc := dial(t, n)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := newClient(t, nc).Token(ctx, client.Selector{Grant: "g_1"}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	c, err := client.New(client.Config{Conn: nc, Tenant: "default", Timeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Token(context.Background(), client.Selector{Grant: "g_1"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a deadline: %v", err)
	}
}

func TestAnUnreadableAnswerIsAnErrorWithoutItsText(t *testing.T) {
	n := startNATS(t)
	nc := dial(t, n)
	const canary = "canary-33"
	if _, err := nc.Subscribe("esign.api.>", func(m *nats.Msg) { _ = m.Respond([]byte(`{"access_token":"` + canary + `","expires_in":"x"}`)) }); err != nil {
		t.Fatal(err)
	}
	tok, err := newClient(t, nc).Token(testContext(t), client.Selector{Grant: "g_1"})
	if err == nil || strings.Contains(err.Error(), canary) || !tok.AccessToken.IsZero() {
		t.Errorf("%+v, %v", tok, err)
	}
}

func TestTheTraceGoesWithTheRequest(t *testing.T) {
	n := startNATS(t)
	d := startDaemon(t, n, func(wire.Endpoint, *nats.Msg) (any, error) { return issue(1, ""), nil })
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	ctx := trace.ContextWithSpanContext(testContext(t), sc)
	if _, err := newClient(t, dial(t, n)).Token(ctx, client.Selector{Grant: "g_1"}); err != nil {
		t.Fatal(err)
	}
	if got, want := d.last().Header.Get("traceparent"), "00-01000000000000000000000000000000-0200000000000000-01"; got != want {
		t.Errorf("traceparent %q, want %q", got, want)
	}
}

func TestNewChecksItsConfig(t *testing.T) {
	nc := dial(t, startNATS(t))
	for name, cfg := range map[string]client.Config{
		"Conn":   {Tenant: "t"},
		"tenant": {Conn: nc, Tenant: "a.b"},
		"prefix": {Conn: nc, Tenant: "t", Prefix: "a.>"},
	} {
		if _, err := client.New(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
