package e2e

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/client"
	adobe "github.com/esignd/esignd/plugins/adobesign/sandbox"
	"github.com/esignd/esignd/tests/system"
)

// service is a program in another language: it has NATS and the documents.
type service struct {
	t  testing.TB
	nc *nats.Conn
}

// answer is a reply as it comes over NATS.
type answer struct {
	code string // header Nats-Service-Error-Code; empty: no error
	body map[string]any
}

func (a answer) text(field string) string { s, _ := a.body[field].(string); return s }

// ask sends a request and checks that headers and body of the answer agree.
func (s service) ask(subject, request string) answer {
	s.t.Helper()
	m := system.Must(s.nc.Request(subject, []byte(request), 20*time.Second))(s.t)
	a := answer{code: m.Header.Get("Nats-Service-Error-Code")}
	if err := json.Unmarshal(m.Data, &a.body); err != nil {
		s.t.Fatalf("%s answers what is not JSON: %v", subject, err)
	}
	if a.code != a.text("error") || m.Header.Get("Nats-Service-Error") != a.text("error_description") {
		s.t.Errorf("%s: headers %v and body %v disagree", subject, m.Header, a.body)
	}
	if a.code != "" && a.text("error_description") == "" {
		s.t.Errorf("%s: %s without a description", subject, a.code)
	}
	return a
}

// get asks for a token of tenant default.
func (s service) get(clientName, account string) answer {
	s.t.Helper()
	return s.ask("esign.api.default.token.get", selector(clientName, account))
}

func selector(clientName, account string) string {
	b, _ := json.Marshal(map[string]string{"client": clientName, "account": account}) // strings always marshal
	return string(b)
}

// want checks an answer's code and reason.
func (a answer) want(t testing.TB, what, code, reason string) {
	t.Helper()
	if a.code != code || a.text("reason") != reason {
		delete(a.body, "access_token")
		t.Errorf("%s: answered %v, want %q with the reason %q", what, a.body, code, reason)
	}
}

// TestStatesAnswer asks for the token of grants in every state that a caller can meet.
func TestStatesAnswer(t *testing.T) {
	t.Parallel()
	w := system.World{Lifetime: 3 * time.Second}
	main := system.Registration{Name: "main", Vendor: "adobesign", Box: w.Open(t, "adobesign"), Policy: "lazy", Tenants: []string{"default", "other"}}
	refused := system.Registration{Name: "refused", Vendor: "adobesign", Box: w.Open(t, "adobesign"), Policy: "lazy"}
	failing := system.Registration{Name: "failing", Vendor: "dropboxsign", Box: w.Open(t, "dropboxsign"), Policy: "lazy"}
	d := startDaemon(t, system.Options{Clients: []system.Registration{main, refused, failing}})
	s, cl := service{t: t, nc: connectPlain(t, d)}, d.Dial()
	events := record(t, cl)

	pendingAnswer(t, s)
	revokedAnswer(t, s, cl)
	reauthorizationAnswer(t, s, cl, main)
	notFoundAnswers(t, s, cl)
	failingAnswer(t, s, cl, failing)
	suspendedAnswer(t, s, cl, refused, events)
}

func pendingAnswer(t *testing.T, s service) {
	t.Helper()
	s.get("main", "new@example.com").want(t, "an account that nobody knows", "not_found", "")
	s.ask("esign.api.default.grant.authorize", selector("main", "new@example.com")).want(t, "authorize", "", "")
	wantLink(t, s, "new@example.com", "pending")
}

// wantLink checks that the answers name a connect URL, the same each time, and that it works.
func wantLink(t *testing.T, s service, account, reason string) {
	t.Helper()
	first, second := s.get("main", account), s.get("main", account)
	first.want(t, account, "reauthorization_required", reason)
	link := first.text("connect_url")
	if link == "" || link != second.text("connect_url") {
		t.Errorf("%s: connect_url is %q and then %q", account, link, second.text("connect_url"))
	}
	if p := newBrowser(t).open(link); p.status != http.StatusSeeOther {
		t.Errorf("%s: connect_url answers %d", account, p.status)
	}
}

func revokedAnswer(t *testing.T, s service, cl *client.Client) {
	t.Helper()
	connect(t, cl, "main", "revoked@example.com")
	a := s.ask("esign.api.default.token.revoke", selector("main", "revoked@example.com"))
	a.want(t, "revoke", "", "")
	if a.body["vendor_revoked"] != true || a.text("state") != "revoked" {
		t.Errorf("revoke answers %v", a.body)
	}
	wantLink(t, s, "revoked@example.com", "revoked")
}

func reauthorizationAnswer(t *testing.T, s service, cl *client.Client, main system.Registration) {
	t.Helper()
	connect(t, cl, "main", "gone@example.com")
	if n := system.Must(main.Box.RevokeByUser("gone@example.com"))(t); n != 1 {
		t.Fatalf("%d grants ended at the vendor", n)
	}
	var a answer
	// Within a second of the exchange the answer is the token that this gave.
	system.Await(t, time.Minute, "a refresh meets the vendor", func() bool {
		a = s.ask("esign.api.default.token.refresh", selector("main", "gone@example.com"))
		return a.code != ""
	})
	a.want(t, "the owner removed us at the vendor", "reauthorization_required", "invalid_grant")
	wantLink(t, s, "gone@example.com", "invalid_grant")
}

func notFoundAnswers(t *testing.T, s service, cl *client.Client) {
	t.Helper()
	grant := connect(t, cl, "main", "ours@example.com").Grant
	byGrant := `{"grant":"` + grant + `"}`
	s.ask("esign.api.default.token.get", byGrant).want(t, "our grant", "", "")
	s.ask("esign.api.other.token.get", byGrant).want(t, "another tenant's grant", "not_found", "")
	s.ask("esign.api.other.token.revoke", byGrant).want(t, "revoking another tenant's grant", "not_found", "")
	s.ask("esign.api.other.token.get", selector("main", "ours@example.com")).want(t, "another tenant's account", "not_found", "")
	s.ask("esign.api.other.token.get", selector("refused", "ours@example.com")).want(t, "a client of another tenant", "not_found", "")
	s.get("nobody", "ours@example.com").want(t, "a client that is not configured", "not_found", "")
	s.ask("esign.api.default.token.get", `{"grant":"g_0000000000000000000000000000000000000000"}`).want(t, "a grant that never was", "not_found", "")
	s.ask("esign.api.default.grant.forget", byGrant).want(t, "forget", "", "forgotten")
	s.ask("esign.api.default.token.get", byGrant).want(t, "a forgotten grant", "not_found", "")
	s.get("main", "ours@example.com").want(t, "a forgotten account", "not_found", "")
}

func suspendedAnswer(t *testing.T, s service, cl *client.Client, refused system.Registration, events *recorder) {
	t.Helper()
	connect(t, cl, "refused", "waits@example.com")
	tok := system.Must(cl.Token(t.Context(), client.Selector{Client: "refused", Account: "waits@example.com"}))(t)
	importLive(t, cl, client.Selector{Client: "refused", Account: "lives@example.com"})
	refused.Box.SetClientSecret(newSecret)
	system.Await(t, time.Minute, "a live token comes with the warning client_suspended", func() bool {
		a := s.ask("esign.api.default.token.refresh", selector("refused", "lives@example.com"))
		warnings, _ := a.body["warnings"].([]any)
		return slices.Contains(warnings, any("client_suspended"))
	})
	awaitExpired(t, tok)
	first := s.get("refused", "waits@example.com")
	first.want(t, "the vendor refuses the client", "invalid_client", "invalid_client")
	asked := refused.Box.Stats().TokenRequests["refresh_token"]
	s.get("refused", "waits@example.com").want(t, "the client is suspended", "invalid_client", "invalid_client")
	if n := refused.Box.Stats().TokenRequests["refresh_token"]; n != asked {
		t.Errorf("a suspended client was presented %d more times", n-asked)
	}
	g := system.Must(cl.Grant(t.Context(), client.Selector{Client: "refused", Account: "waits@example.com"}))(t)
	if g.State != "active" {
		t.Errorf("the grant of a suspended client is %s", g.State)
	}
	events.await(t, "", client.ClientSuspended, 0)
}

// newSecret is what the vendor's people make of a client's secret.
const newSecret = "a-new-secret-of-the-client"

// TestNewSecretResumesClient suspends a client and then gives the daemon the secret that the vendor has now. Tokens are
// there again at once, and nobody has to authorize again.
func TestNewSecretResumesClient(t *testing.T) {
	t.Parallel()
	refused := system.Registration{Name: "refused", Vendor: "adobesign", Box: system.World{Lifetime: 4 * time.Second}.Open(t, "adobesign"), Policy: "lazy"}
	d := startDaemon(t, system.Options{Clients: []system.Registration{refused}})
	s, cl := service{t: t, nc: connectPlain(t, d)}, d.Dial()
	events := record(t, cl)
	connect(t, cl, "refused", "waits@example.com")
	tok := system.Must(cl.Token(t.Context(), client.Selector{Client: "refused", Account: "waits@example.com"}))(t)
	refused.Box.SetClientSecret(newSecret)
	awaitExpired(t, tok)
	s.get("refused", "waits@example.com").want(t, "the vendor refuses the client", "invalid_client", "invalid_client")
	events.await(t, "", client.ClientSuspended, 0)

	d.Stop()
	for i, kv := range d.Env {
		if strings.HasPrefix(kv, refused.SecretVariable()+"=") {
			d.Env[i] = refused.SecretVariable() + "=" + newSecret
		}
	}
	d.Start()
	system.Await(t, time.Minute, "the service is connected again", func() bool { return s.nc.Stats().Reconnects > 0 && s.nc.IsConnected() })
	a := s.get("refused", "waits@example.com")
	a.want(t, "the client has its new secret", "", "")
	if want := float64(tok.Generation + 1); a.body["generation"] != want {
		t.Fatalf("generation %v, want %v", a.body["generation"], want)
	}
	events.await(t, "", client.ClientResumed, 0)
}

func failingAnswer(t *testing.T, s service, cl *client.Client, failing system.Registration) {
	t.Helper()
	connect(t, cl, "failing", "later@example.com")
	tok := system.Must(cl.Token(t.Context(), client.Selector{Client: "failing", Account: "later@example.com"}))(t)
	importLive(t, cl, client.Selector{Client: "failing", Account: "lives@example.com"})
	failing.Box.FailNext(100, adobe.Fault{Status: http.StatusServiceUnavailable, Body: "down for now"})
	if live := s.get("failing", "lives@example.com"); live.code != "" {
		t.Errorf("a token that lives is not served while the vendor fails: %v", live.body["error"])
	}
	awaitExpired(t, tok)
	a := s.get("failing", "later@example.com")
	a.want(t, "the vendor is down and no token lives", "temporarily_unavailable", "vendor_unavailable")
	if after, _ := a.body["retry_after"].(float64); after < 1 {
		t.Errorf("retry_after is %v", a.body["retry_after"])
	}
	if strings.Contains(a.text("error_description"), "down for now") {
		t.Error("the answer repeats what the vendor said")
	}
}

// TestBadRequestsAreTold sends what no document allows.
func TestBadRequestsAreTold(t *testing.T) {
	t.Parallel()
	w := system.World{Lifetime: time.Minute}
	box := w.Open(t, "esignglobal")
	d := startDaemon(t, system.Options{Clients: []system.Registration{
		{Name: "people", Vendor: "esignglobal", Box: box}, {Name: "robot", Vendor: "esignglobal", Box: box, GrantType: "client_credentials"},
	}})
	s := service{t: t, nc: connectPlain(t, d)}
	for _, row := range []struct{ what, endpoint, request, code, names string }{
		{"not JSON", "token.get", `{"client":`, "invalid_request", ""},
		{"nothing", "token.get", ``, "invalid_request", ""},
		{"an array", "token.get", `[]`, "invalid_request", ""},
		{"two values", "token.get", `{"client":"people"}{}`, "invalid_request", ""},
		{"unknown field", "token.get", `{"client":"people","acount":"a"}`, "invalid_request", "acount"},
		{"unknown field of another endpoint", "token.get", `{"client":"people","reason":"a"}`, "invalid_request", "reason"},
		{"wrong type", "token.get", `{"client":"people","account":7}`, "invalid_request", "account"},
		{"fraction", "token.get", `{"client":"people","account":"a","min_ttl":1.5}`, "invalid_request", "min_ttl"},
		{"negative", "token.get", `{"client":"people","account":"a","min_ttl":-1}`, "invalid_request", "min_ttl"},
		{"no grant's id", "token.get", `{"grant":"a.b"}`, "invalid_request", "grant"},
		{"both selectors", "token.get", `{"grant":"g_0","client":"people"}`, "invalid_request", "grant"},
		{"no selector", "token.get", `{}`, "invalid_request", ""},
		{"oversize", "token.get", `{"client":"` + strings.Repeat("x", 64<<10) + `"}`, "invalid_request", ""},
		{"no account", "grant.authorize", `{"client":"people"}`, "invalid_request", "account"},
		{"return_to that is not allowed", "grant.authorize", `{"client":"people","account":"a","return_to":"https://evil.example"}`, "invalid_request", "return_to"},
		{"redirect_uri that is not registered", "grant.authorize", `{"client":"people","account":"a","redirect_uri":"https://evil.example"}`, "invalid_request", "redirect_uri"},
		{"wrong type below", "grant.authorize", `{"client":"people","account":"a","scopes":["a",1]}`, "invalid_request", "scopes"},
		{"wrong state", "grant.list", `{"state":"asleep"}`, "invalid_request", "state"},
		{"too many", "grant.list", `{"limit":1001}`, "invalid_request", "limit"},
		{"no refresh token", "grant.import", `{"client":"people","account":"a"}`, "invalid_request", "refresh_token"},
		{"consent for a robot", "grant.authorize", `{"client":"robot","account":"a"}`, "unsupported", ""},
	} {
		t.Run(row.what, func(t *testing.T) {
			a := service{t: t, nc: s.nc}.ask("esign.api.default."+row.endpoint, row.request)
			if a.code != row.code || !strings.Contains(a.text("error_description"), row.names) {
				t.Errorf("answered %v, want %s naming %q", a.body, row.code, row.names)
			}
		})
	}
	if a := s.ask("esign.api.a*b.token.get", `{"client":"people"}`); a.code != "invalid_request" {
		t.Errorf("a tenant that is no tenant: %v", a.body)
	}
}

// TestAccountEndpointsAnswer asks for what the vendor cannot do. The endpoints are in the contract, so they answer.
func TestAccountEndpointsAnswer(t *testing.T) {
	t.Parallel()
	box := system.World{Lifetime: time.Minute}.Open(t, "esignglobal")
	d := startDaemon(t, system.Options{Clients: []system.Registration{{Name: "people", Vendor: "esignglobal", Box: box}}})
	nc := connectPlain(t, d)
	for _, endpoint := range []string{"account.verify", "account.create"} {
		m, err := nc.Request("esign.api.default."+endpoint, []byte(`{"client":"people","email_address":"a@example.com"}`), 5*time.Second)
		if err != nil {
			t.Errorf("%s: %v; want the answer unsupported", endpoint, err)
			continue
		}
		if code := m.Header.Get("Nats-Service-Error-Code"); code != "unsupported" {
			t.Errorf("%s answers %q, want unsupported", endpoint, code)
		}
	}
}
