package bus

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

func TestServiceAnswersTheWholeLifeOfAGrant(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, openBus(t, embeddedConfig(t.TempDir())), nil)
	c, _ := d.caller(t, "default")
	ctx := testContext(t)
	sel := client.Selector{Client: "main", Account: "alice"}

	auth, err := c.Authorize(ctx, client.AuthorizeRequest{Client: "main", Account: "alice", RedirectURI: "https://app.example/callback"})
	if err != nil {
		t.Fatal(err)
	}
	if auth.Grant != core.GrantID("default", "main", "alice") || auth.State == "" || auth.AuthorizationURL == "" {
		t.Fatalf("authorization %+v", auth)
	}
	g, err := c.Exchange(ctx, url.Values{"code": {"the-code"}, "state": {auth.State}})
	if err != nil || g.State != core.Active || g.Generation != 1 {
		t.Fatalf("exchange: %+v, %v", g, err)
	}
	tok, err := c.Token(ctx, sel)
	if err != nil || tok.AccessToken.Reveal() != "access-authorization_code-1" || tok.ExpiresIn <= 0 || tok.Vendor != "acme" {
		t.Fatalf("token: %+v, %v", tok, err)
	}
	if _, err := c.Token(ctx, client.Selector{Grant: tok.Grant}, client.MinTTL(time.Minute)); err != nil {
		t.Errorf("token by grant: %v", err)
	}
	next, err := c.Report(ctx, sel, tok.Generation)
	if err != nil || next.Generation < tok.Generation {
		t.Errorf("report: %+v, %v", next, err)
	}
	if _, err := c.Refresh(ctx, sel); err != nil {
		t.Errorf("refresh: %v", err)
	}
	grants, cursor, err := c.Grants(ctx, client.GrantFilter{Client: "main"})
	if err != nil || len(grants) != 1 || cursor != "" || grants[0].Grant != tok.Grant {
		t.Errorf("grants: %+v %q %v", grants, cursor, err)
	}
	if g, err = c.Revoke(ctx, sel, "left the company"); err != nil || g.State != core.Revoked || g.VendorRevoked == nil || !*g.VendorRevoked {
		t.Errorf("revoke: %+v, %v", g, err)
	}
	if g, err = c.Import(ctx, client.ImportRequest{Client: "main", Account: "alice", RefreshToken: client.NewSecret("r")}); err != nil || g.State != core.Active {
		t.Errorf("import: %+v, %v", g, err)
	}
	if _, err := c.Forget(ctx, sel); err != nil {
		t.Errorf("forget: %v", err)
	}
	if _, err := c.Grant(ctx, sel); !errors.Is(err, client.NotFound) {
		t.Errorf("a forgotten grant: %v", err)
	}
}

func TestServiceAnswersByTheTable(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, openBus(t, embeddedConfig(t.TempDir())), nil)
	ctx := testContext(t)
	mine, _ := d.caller(t, "default")
	others, _ := d.caller(t, "other")
	nobodys, _ := d.caller(t, "nobody")

	alice := d.seed(t, "default", "alice")
	if _, err := mine.Authorize(ctx, client.AuthorizeRequest{Client: "main", Account: "pending"}); err != nil {
		t.Fatal(err)
	}
	d.seed(t, "default", "revoked")
	if _, err := mine.Revoke(ctx, client.Selector{Client: "main", Account: "revoked"}, "x"); err != nil {
		t.Fatal(err)
	}
	d.seed(t, "default", "forgotten")
	if _, err := mine.Forget(ctx, client.Selector{Client: "main", Account: "forgotten"}); err != nil {
		t.Fatal(err)
	}
	dead := d.seed(t, "default", "dead")
	d.kill(t, dead)

	cases := []struct {
		name   string
		c      *client.Client
		sel    client.Selector
		code   core.Code
		reason string
		link   bool // there is a connect_url
	}{
		{"pending", mine, client.Selector{Client: "main", Account: "pending"}, core.ReauthorizationRequired, "pending", true},
		{"revoked", mine, client.Selector{Client: "main", Account: "revoked"}, core.ReauthorizationRequired, "", true},
		{"dead", mine, client.Selector{Grant: dead.Grant}, core.ReauthorizationRequired, core.ReasonInvalidGrant, true},
		{"forgotten", mine, client.Selector{Client: "main", Account: "forgotten"}, core.NotFound, "", false},
		{"unknown grant", mine, client.Selector{Grant: "g_none"}, core.NotFound, "", false},
		{"unknown account", mine, client.Selector{Client: "main", Account: "x"}, core.NotFound, "", false},
		{"unknown client", mine, client.Selector{Client: "nope", Account: "x"}, core.NotFound, "", false},
		{"client of another tenant", mine, client.Selector{Client: "theirs", Account: "x"}, core.NotFound, "", false},
		{"grant of another tenant", others, client.Selector{Grant: alice.Grant}, core.NotFound, "", false},
		{"unknown tenant", nobodys, client.Selector{Grant: alice.Grant}, core.NotFound, "", false},
		{"unknown tenant, by client", nobodys, client.Selector{Client: "main", Account: "alice"}, core.NotFound, "", false},
		{"grant and client", mine, client.Selector{Grant: alice.Grant, Client: "main"}, core.InvalidRequest, "", false},
		{"nothing", mine, client.Selector{}, core.InvalidRequest, "", false},
		{"no account", mine, client.Selector{Client: "main"}, core.InvalidRequest, "", false},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			tok, err := tc.c.Token(ctx, tc.sel)
			e := asError(t, err)
			if e.Code != tc.code || (tc.reason != "" && e.Reason != tc.reason) || (e.ConnectURL != "") != tc.link {
				t.Errorf("got %v, %+v", tok, e)
			}
			if e.Description == "" {
				t.Error("no description")
			}
		})
	}
}

// kill makes the vendor refuse the grant's refresh token for good.
func (d *daemon) kill(t *testing.T, g core.GrantInfo) {
	t.Helper()
	d.vendor.refuse(core.VendorError{Outcome: core.Refused, Code: core.CodeInvalidGrant, Status: 400})
	defer d.vendor.answer(nil)
	sel := core.Selector{Tenant: g.Tenant, Grant: g.Grant}
	eventually(t, "the grant is dead", func() bool {
		// A forced refresh within a second of another gets that one's token.
		_, err := d.manager.Report(testContext(t), sel, g.Generation)
		return errors.Is(err, core.ReauthorizationRequired)
	})
}

func asError(t *testing.T, err error) *client.Error {
	t.Helper()
	var e *client.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v (%T), want an error of the daemon", err, err)
	}
	return e
}

func TestServiceAnswersForAFailingVendor(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		vendor core.VendorError
		code   core.Code
		reason string
	}{
		{"unavailable", core.VendorError{Outcome: core.Refused, Code: core.CodeUnavailable, Status: 503}, core.TemporarilyUnavailable, core.CodeUnavailable},
		{"rate limited", core.VendorError{Outcome: core.Refused, Code: core.CodeRateLimited, Status: 429, RetryAfter: 7 * time.Second}, core.TemporarilyUnavailable, core.CodeRateLimited},
		{"client refused", core.VendorError{Outcome: core.Refused, Code: core.CodeInvalidClient, Status: 401}, core.InvalidClient, ""},
		{"unsupported", core.VendorError{Outcome: core.NotSent, Code: core.CodeUnsupportedGrantType}, core.Unsupported, ""},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			d := startDaemon(t, openBus(t, embeddedConfig(t.TempDir())), nil)
			c, _ := d.caller(t, "default")
			tc.vendor.Detail = "a detail for the operator"
			d.vendor.refuse(tc.vendor)
			_, err := c.Token(testContext(t), client.Selector{Client: "app"})
			e := asError(t, err)
			if e.Code != tc.code || (tc.reason != "" && e.Reason != tc.reason) {
				t.Fatalf("got %+v", e)
			}
			if tc.code == core.TemporarilyUnavailable && e.RetryAfter < max(time.Second, tc.vendor.RetryAfter) {
				t.Errorf("retry_after %s", e.RetryAfter)
			}
		})
	}
}

func TestServiceRefusesMalformedRequests(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, openBus(t, embeddedConfig(t.TempDir())), nil)
	_, nc := d.caller(t, "default")
	cases := []struct{ name, subject, body, names string }{
		{"malformed", "default.token.get", `{"grant"`, ""},
		{"trailing", "default.token.get", `{} {}`, ""},
		{"array", "default.grant.list", `[]`, ""},
		{"unknown field", "default.token.get", `{"grnat":"g"}`, "grnat"},
		{"wrong type", "default.token.get", `{"grant":1}`, "grant"},
		{"given twice", "default.token.get", `{"grant":"a","grant":"b"}`, "grant"},
		{"missing", "default.token.report", `{"grant":"g_1"}`, "generation"},
		{"missing in an empty body", "default.grant.import", ``, "client"},
		{"oversize", "default.token.get", `{"account":"` + strings.Repeat("x", wire.MaxRequest) + `"}`, ""},
		{"limit", "default.grant.list", `{"limit":5000}`, "limit"},
		{"tenant", "é.token.get", `{}`, "tenant"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			m, err := nc.Request("esign.api."+tc.subject, []byte(tc.body), 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Header.Get("Nats-Service-Error-Code"); got != "invalid_request" {
				t.Errorf("code %q: %s", got, m.Data)
			}
			var body map[string]any
			if err := json.Unmarshal(m.Data, &body); err != nil {
				t.Fatal(err)
			}
			description, _ := body["error_description"].(string)
			if body["error"] != "invalid_request" || !strings.Contains(description, tc.names) || m.Header.Get("Nats-Service-Error") != description {
				t.Errorf("headers %v, body %s", m.Header, m.Data)
			}
		})
	}
}

func TestServiceRefreshesOnceForFiftyCallers(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, openBus(t, embeddedConfig(t.TempDir())), nil)
	const callers = 50
	connected := make([]*client.Client, callers)
	for i := range connected {
		connected[i], _ = d.caller(t, "default")
	}
	// From here on all has to be done within the ten seconds that the engine waits for the vendor.
	entered, release := d.vendor.hold()
	defer release()
	got := make(chan client.Token, callers)
	var all sync.WaitGroup
	for i, c := range connected {
		all.Go(func() {
			tok, err := c.Token(testContext(t), client.Selector{Client: "app"})
			if err != nil {
				t.Errorf("caller %d: %v", i, err)
			}
			got <- tok
		})
	}
	<-entered
	eventually(t, "all callers are waiting", func() bool { return d.endpoint(wire.TokenGet).count.pending.Load() == callers })
	release()
	all.Wait()
	for range callers {
		if tok := <-got; tok.AccessToken.Reveal() != "held" || tok.Generation != 1 {
			t.Errorf("token %+v", tok)
		}
	}
	if n := d.vendor.count(core.ClientCredentials); n != 1 {
		t.Errorf("the vendor was asked %d times", n)
	}
}

func (d *daemon) endpoint(name wire.Endpoint) *endpoint {
	for _, e := range d.service.endpoints {
		if e.name == name {
			return e
		}
	}
	return nil
}

func TestServiceIsDiscovered(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, openBus(t, embeddedConfig(t.TempDir())), func(c *ServiceConfig) { c.Version = "v1.2.3" })
	c, nc := d.caller(t, "default")
	if _, err := c.Token(testContext(t), client.Selector{Client: "app"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Token(testContext(t), client.Selector{Client: "app"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Token(testContext(t), client.Selector{Client: "nope"}); err == nil {
		t.Fatal("an unknown client has a token")
	}
	var info micro.Info
	ask(t, nc, "$SRV.INFO.esignd", &info)
	if info.Version != "1.2.3" || len(info.Endpoints) != len(d.service.endpoints) {
		t.Errorf("info %+v", info)
	}
	var stats micro.Stats
	ask(t, nc, "$SRV.STATS.esignd", &stats)
	for _, e := range stats.Endpoints {
		if e.Name != "token-get" {
			continue
		}
		var own EndpointStats
		if err := json.Unmarshal(e.Data, &own); err != nil {
			t.Fatal(err)
		}
		if e.QueueGroup != "esignd" || own.Answered != 3 || own.Cached != 1 || own.Errors[core.NotFound] != 1 {
			t.Errorf("stats %+v, %+v", e, own)
		}
		return
	}
	t.Errorf("no stats of token-get: %+v", stats)
}

func ask(t *testing.T, nc *nats.Conn, subject string, into any) {
	t.Helper()
	m, err := nc.Request(subject, nil, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(m.Data, into); err != nil {
		t.Fatal(err)
	}
}

func TestServicePagesFitTheServer(t *testing.T) {
	t.Parallel()
	e := startExternal(t, func(o *server.Options) { o.MaxPayload = 16 << 10 })
	d := startDaemon(t, openBus(t, externalConfig(t, e.ClientURL())), nil)
	c, _ := d.caller(t, "default")
	ctx := testContext(t)
	const grants = 30
	for i := range grants {
		d.seed(t, "default", strings.Repeat(string(rune('a'+i)), 300))
	}
	seen := map[string]bool{}
	pages := 0
	for cursor := ""; ; pages++ {
		page, next, err := c.Grants(ctx, client.GrantFilter{Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range page {
			seen[g.Grant] = true
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	if len(seen) != grants || pages == 0 {
		t.Errorf("%d grants on %d pages", len(seen), pages+1)
	}
}

func TestNewServiceChecksItsConfig(t *testing.T) {
	t.Parallel()
	m, err := core.New(core.Config{Adapters: core.AdapterMap{}, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	conn := func() *nats.Conn { return nil }
	for name, cfg := range map[string]ServiceConfig{
		"Conn":    {Manager: m},
		"Manager": {Conn: conn},
		"prefix":  {Conn: conn, Manager: m, Prefix: "a..b"},
		"Pending": {Conn: conn, Manager: m, Pending: -1},
	} {
		if _, err := NewService(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, err := NewService(ServiceConfig{Conn: conn, Manager: m})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(context.Background()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without a connection: %v", err)
	}
	if err := s.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
