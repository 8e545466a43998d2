package dropboxsign_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/dropboxsign/sandbox"
)

const apiKey = "api-key-CANARY"

func withKey(c core.Credentials, key string) core.Credentials {
	c.SecretSettings = map[string]core.Secret{"api_key": core.NewSecret(key)}
	return c
}

// The rows "account check" and "account creation flow", at the sandbox.
func TestAccountIsCheckedCreatedAndConfirmedAtTheSandbox(t *testing.T) {
	var delivered core.EventRequest
	events := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		delivered = core.EventRequest{Header: r.Header, Body: body, ReceivedAt: time.Now()}
		_, _ = io.WriteString(w, "Hello API Event Received")
	}))
	defer events.Close()
	server, client := start(t, sandbox.Config{Accounts: []string{"old@example.com"}, EventURL: events.URL})
	client = withKey(client, server.APIKey())
	ask := func(email string) core.AccountRequest {
		return core.AccountRequest{Client: client, EmailAddress: email}
	}

	if found, err := adapter().VerifyAccount(t.Context(), ask("new@example.com")); err != nil || found.Exists {
		t.Errorf("an account that is not there: %+v, %v", found, err)
	}
	if found, err := adapter().VerifyAccount(t.Context(), ask("old@example.com")); err != nil || !found.Exists || found.AccountID == "" {
		t.Errorf("an account that is there: %+v, %v", found, err)
	}
	_, err := adapter().CreateAccount(t.Context(), ask("old@example.com"))
	if e := core.AsVendorError(err); e.Outcome != core.Refused || e.Status != http.StatusBadRequest {
		t.Errorf("create an account that is there: %v", err)
	}
	created, err := adapter().CreateAccount(t.Context(), ask("new@example.com"))
	if err != nil || created.AccountID == "" || created.Tokens.RefreshToken.IsZero() || created.Tokens.APIBaseURL != server.URL() {
		t.Fatalf("create: %+v, %v", created, err)
	}
	if status := use(t, created.Tokens); status != http.StatusUnauthorized {
		t.Errorf("before the confirmation the token is answered %d", status)
	}
	if err := server.ConfirmAccount(t.Context(), "new@example.com"); err != nil {
		t.Fatal(err)
	}
	if status := use(t, created.Tokens); status != http.StatusOK {
		t.Errorf("after the confirmation the token is answered %d", status)
	}
	delivered.Client = client
	event, err := adapter().ReadEvent(t.Context(), delivered)
	want := core.VendorEvent{Type: core.VendorEventAccountConfirmed, AccountID: created.AccountID, Reply: "Hello API Event Received"}
	if err != nil || event != want {
		t.Errorf("the event: %+v, %v; want %+v", event, err, want)
	}
}

// The row "account check": what the vendor may answer.
func TestVerifyAccountReadsEveryAnswer(t *testing.T) {
	for name, tt := range map[string]struct {
		status  int
		body    string
		want    core.AccountLookup
		outcome core.Outcome
		code    string // empty: no error
	}{
		"found":                {200, `{"account":{"account_id":"1","email_address":"a@b"}}`, core.AccountLookup{Exists: true, AccountID: "1"}, 0, ""},
		"empty object":         {200, `{}`, core.AccountLookup{}, 0, ""},
		"not found in a 404":   {404, `{"error":{"error_msg":"Account not found","error_name":"not_found"}}`, core.AccountLookup{}, 0, ""},
		"not found in a 200":   {200, `{"error":{"error_msg":"Account not found","error_name":"not_found"}}`, core.AccountLookup{}, 0, ""},
		"API key refused":      {401, `{"error":{"error_msg":"x","error_name":"unauthorized"}}`, core.AccountLookup{}, core.Refused, core.CodeHTTPError},
		"throttled":            {429, `{"error":{"error_msg":"x","error_name":"exceeded_rate"}}`, core.AccountLookup{}, core.Refused, core.CodeRateLimited},
		"vendor is broken":     {500, `<html>`, core.AccountLookup{}, core.Unknown, core.CodeHTTPError},
		"HTML in a 200":        {200, `<html>`, core.AccountLookup{}, core.Unknown, core.CodeMalformedResponse},
		"account of odd types": {200, `{"account":{"account_id":1}}`, core.AccountLookup{}, core.Unknown, core.CodeMalformedResponse},
	} {
		c, last := vendor(t, tt.status, nil, tt.body)
		c.Settings["api_url"] = c.Settings["app_url"]
		got, err := adapter().VerifyAccount(t.Context(), core.AccountRequest{Client: withKey(c, apiKey), EmailAddress: "a@b"})
		if got != tt.want || (err == nil) != (tt.code == "") {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if err != nil {
			if e := core.AsVendorError(err); e.Outcome != tt.outcome || e.Code != tt.code || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if last.Target != "POST /v3/account/verify" || !last.Basic || last.JSON["email_address"] != "a@b" {
			t.Errorf("%s: the vendor saw %+v", name, *last)
		}
	}
}

// The row "account creation flow": what the vendor may answer.
func TestCreateAccountReadsEveryAnswer(t *testing.T) {
	const good = `{"account":{"account_id":"1"},"oauth_data":{"access_token":"at","token_type":"Bearer","refresh_token":"rt","expires_in":86400},"warnings":[{"x":1}]}`
	for name, tt := range map[string]struct {
		status  int
		body    string
		outcome core.Outcome
		code    string // empty: no error
	}{
		"made":                 {200, good, 0, ""},
		"no account":           {200, `{"oauth_data":{"access_token":"at"}}`, core.Unknown, core.CodeMalformedResponse},
		"no tokens":            {200, `{"account":{"account_id":"1"}}`, core.Unknown, core.CodeMalformedResponse},
		"tokens of odd types":  {200, `{"account":{"account_id":"1"},"oauth_data":{"access_token":7}}`, core.Unknown, core.CodeMalformedResponse},
		"account exists":       {400, `{"error":{"error_msg":"x","error_name":"bad_request"}}`, core.Refused, core.CodeHTTPError},
		"vendor is away":       {503, ``, core.Refused, core.CodeUnavailable},
		"vendor broke halfway": {500, ``, core.Unknown, core.CodeHTTPError},
	} {
		c, last := vendor(t, tt.status, nil, tt.body)
		c.Settings["api_url"] = c.Settings["app_url"]
		got, err := adapter().CreateAccount(t.Context(), core.AccountRequest{Client: withKey(c, apiKey), EmailAddress: "a@b"})
		switch e := core.AsVendorError(err); {
		case tt.code == "" && (err != nil || got.AccountID != "1" || got.Tokens.AccessToken.Reveal() != "at" || got.Tokens.ExpiresIn != 24*time.Hour):
			t.Errorf("%s: %+v, %v", name, got, err)
		case tt.code != "" && (err == nil || e.Outcome != tt.outcome || e.Code != tt.code):
			t.Errorf("%s: %v", name, err)
		}
		if last.JSON["client_id"] != "id" || last.JSON["client_secret"] != "secret" || last.JSON["email_address"] != "a@b" || !last.Basic {
			t.Errorf("%s: the vendor saw %+v", name, *last)
		}
	}
}

func TestAccountsAndEventsNeedTheAPIKey(t *testing.T) {
	c, last := vendor(t, 200, nil, `{}`)
	_, verify := adapter().VerifyAccount(t.Context(), core.AccountRequest{Client: c, EmailAddress: "a@b"})
	_, create := adapter().CreateAccount(t.Context(), core.AccountRequest{Client: c, EmailAddress: "a@b"})
	_, event := adapter().ReadEvent(t.Context(), core.EventRequest{Client: c})
	for _, err := range []error{verify, create, event} {
		if e := core.AsVendorError(err); e.Outcome != core.NotSent || e.Code != core.CodeInvalidRequest || !strings.Contains(e.Detail, "api_key") {
			t.Errorf("got %v", err)
		}
	}
	if last.Target != "" {
		t.Errorf("the vendor was asked %s", last.Target)
	}
}

// posted is an event as the vendor would post it, signed with the key.
type posted struct {
	kind, account, app string
	at                 time.Time
	key                string
	hash               string // in the place of the right one
}

func (p posted) json() string {
	when := fmt.Sprint(p.at.Unix())
	mac := hmac.New(sha256.New, []byte(p.key))
	_, _ = io.WriteString(mac, when+p.kind)
	hash := hex.EncodeToString(mac.Sum(nil))
	if p.hash != "" {
		hash = p.hash
	}
	raw, _ := json.Marshal(map[string]any{
		"event": map[string]any{"event_time": when, "event_type": p.kind, "event_hash": hash, "event_metadata": map[string]any{
			"related_signature_id": nil, "reported_for_account_id": nil, "reported_for_app_id": p.app,
		}},
		"account": map[string]string{"account_id": p.account},
	})
	return string(raw)
}

func inForm(field, content string) core.EventRequest {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	_ = form.WriteField("first", "something else")
	_ = form.WriteField(field, content)
	_ = form.Close()
	return core.EventRequest{Header: http.Header{"Content-Type": {form.FormDataContentType()}}, Body: body.Bytes()}
}

// The row "event callback".
func TestReadEventAcceptsWhatTheVendorSignedLately(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	good := posted{kind: "account_confirmed", account: "acc", app: "id", at: now, key: apiKey}
	with := func(change func(*posted)) posted {
		p := good
		change(&p)
		return p
	}
	const confirmed, ignored = core.VendorEventAccountConfirmed, core.VendorEventIgnored
	for name, tt := range map[string]struct {
		event posted
		want  core.VendorEventType
		code  string // empty: accepted
	}{
		"confirmed":               {good, confirmed, ""},
		"no app is named":         {with(func(p *posted) { p.app = "" }), confirmed, ""},
		"retried for three days":  {with(func(p *posted) { p.at = now.Add(-72 * time.Hour) }), confirmed, ""},
		"the vendor's clock":      {with(func(p *posted) { p.at = now.Add(4 * time.Minute) }), confirmed, ""},
		"another app's":           {with(func(p *posted) { p.app = "other" }), ignored, ""},
		"of another kind":         {with(func(p *posted) { p.kind = "signature_request_sent" }), ignored, ""},
		"without an account":      {with(func(p *posted) { p.account = "" }), ignored, ""},
		"stale":                   {with(func(p *posted) { p.at = now.Add(-74 * time.Hour) }), "", core.CodeAccessDenied},
		"from the future":         {with(func(p *posted) { p.at = now.Add(time.Hour) }), "", core.CodeAccessDenied},
		"signed by another":       {with(func(p *posted) { p.key = "other" }), "", core.CodeAccessDenied},
		"hash in upper case":      {with(func(p *posted) { p.hash = strings.Repeat("AB", 32) }), "", core.CodeAccessDenied},
		"hash of another length":  {with(func(p *posted) { p.hash = "ab" }), "", core.CodeAccessDenied},
		"a kind that was not it":  {with(func(p *posted) { p.hash = hashOf(now, "signature_request_sent") }), "", core.CodeAccessDenied},
		"a time that is no limit": {with(func(p *posted) { p.at = time.Unix(0, 0) }), "", core.CodeAccessDenied},
	} {
		for _, r := range []core.EventRequest{inForm("json", tt.event.json()), urlEncoded(tt.event.json())} {
			r.Client, r.ReceivedAt = withKey(client(nil), apiKey), now
			got, err := adapter().ReadEvent(t.Context(), r)
			if tt.code != "" {
				if e := core.AsVendorError(err); err == nil || e.Code != tt.code || e.Outcome != core.NotSent || strings.Contains(err.Error(), "CANARY") {
					t.Errorf("%s: %+v, %v", name, got, err)
				}
				continue
			}
			if err != nil || got.Type != tt.want || got.Reply != "Hello API Event Received" || got.Type == confirmed && got.AccountID != "acc" {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
	}
}

func hashOf(at time.Time, kind string) string {
	mac := hmac.New(sha256.New, []byte(apiKey))
	_, _ = io.WriteString(mac, fmt.Sprint(at.Unix())+kind)
	return hex.EncodeToString(mac.Sum(nil))
}

func urlEncoded(content string) core.EventRequest {
	return core.EventRequest{
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, Body: []byte(url.Values{"json": {content}}.Encode()),
	}
}

func TestReadEventRefusesWhatItCannotRead(t *testing.T) {
	good := posted{kind: "account_confirmed", account: "acc", at: time.Now(), key: apiKey}.json()
	for name, r := range map[string]core.EventRequest{
		"empty":               {},
		"no content type":     {Body: []byte(good)},
		"JSON without a form": {Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(good)},
		"another field":       inForm("event", good),
		"no JSON":             inForm("json", "CANARY"),
		"an array":            inForm("json", "[]"),
		"types":               inForm("json", `{"event":{"event_time":7}}`),
		"cut":                 {Header: inForm("json", good).Header, Body: inForm("json", good).Body[:60]},
		"endless":             inForm("json", `{"event":{"event_type":"`+strings.Repeat("x", 300<<10)+`"}}`),
		"two URL-encoded":     {Header: urlEncoded("").Header, Body: []byte("json=%7B%7D&json=%7B%7D")},
	} {
		r.Client, r.ReceivedAt = withKey(client(nil), apiKey), time.Now()
		_, err := adapter().ReadEvent(t.Context(), r)
		var e *core.VendorError
		if !errors.As(err, &e) || e.Code != core.CodeInvalidRequest || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReadEvent(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	good := posted{kind: "account_confirmed", account: "acc", app: "id", at: now, key: apiKey}
	for _, r := range []core.EventRequest{inForm("json", good.json()), urlEncoded(good.json()), inForm("json", "{}"), urlEncoded("null"), {}} {
		f.Add(r.Header.Get("Content-Type"), r.Body)
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		got, err := adapter().ReadEvent(t.Context(), core.EventRequest{
			Client: withKey(client(nil), apiKey), Header: http.Header{"Content-Type": {contentType}}, Body: body, ReceivedAt: now,
		})
		var e *core.VendorError
		switch {
		case err != nil && (!errors.As(err, &e) || e.Code != core.CodeAccessDenied && e.Code != core.CodeInvalidRequest):
			t.Errorf("got %v", err)
		case err == nil && got.Type != core.VendorEventIgnored && !bytes.Contains(body, []byte("account_confirmed")):
			t.Errorf("%q confirms %+v", body, got)
		case err == nil && got.Reply != "Hello API Event Received":
			t.Errorf("reply %q", got.Reply)
		}
	})
}

func FuzzCallback(f *testing.F) {
	for _, query := range []string{"state=st", "code=c&state=st", "error=server_error&state=st", "code=a&code=b", "error=CANARY", "%zz"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		params, _ := url.ParseQuery(query) // what net/http makes of it
		got, err := adapter().Callback(t.Context(), core.CallbackRequest{Client: client(nil), Params: params})
		if err != nil {
			return
		}
		if got.Code.IsZero() == (got.Denied == "") || got.APIBaseURL != "" {
			t.Errorf("%q is %+v", query, got)
		}
		if strings.Contains(got.Denied, "CANARY") {
			t.Errorf("the vendor's words went through: %q", got.Denied)
		}
	})
}
