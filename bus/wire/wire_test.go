package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

func TestTokenComesBackFromItsMessage(t *testing.T) {
	b, err := json.Marshal(wire.TokenOf(fullToken()))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"grant":"g_1","tenant":"default","client":"c","vendor":"adobesign","account":"a","access_token":"at",` +
		`"token_type":"Bearer","expires_at":"2026-01-02T03:04:05Z","expires_in":3600,"scope":"x y",` +
		`"api_base_url":"https://api.example/","generation":3,"warnings":["min_ttl_unmet"]}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	var m wire.Token
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(fullToken(), m.Core(), secretsEqual); d != "" {
		t.Error(d)
	}
}

func TestGrantComesBackFromItsMessage(t *testing.T) {
	b, err := json.Marshal(wire.GrantOf(fullGrant()))
	if err != nil {
		t.Fatal(err)
	}
	var m wire.Grant
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(fullGrant(), m.Core()); d != "" {
		t.Error(d)
	}
}

func TestTimesAreWholeSecondsInUTC(t *testing.T) {
	zone := time.FixedZone("x", 3600)
	b, err := json.Marshal(wire.Time{Time: time.Date(2026, 1, 2, 4, 4, 5, 999_999_999, zone)})
	if err != nil || string(b) != `"2026-01-02T03:04:05Z"` {
		t.Errorf("%s %v", b, err)
	}
}

func TestErrorComesBackFromHeadersAndBody(t *testing.T) {
	e := &core.Error{Code: core.ReauthorizationRequired, Description: "two\nlines", Reason: "invalid_grant",
		RetryAfter: 1500 * time.Millisecond, ConnectURL: "https://c.example/connect/1"}
	header, body := wire.EncodeError(e)
	if got := header[wire.HeaderError]; got != "two lines" {
		t.Errorf("description in the header: %q", got)
	}
	asHeader := map[string][]string{}
	for k, v := range header {
		asHeader[k] = []string{v}
	}
	got := wire.DecodeError(asHeader, body)
	if got == nil || !errors.Is(got, core.ReauthorizationRequired) {
		t.Fatalf("got %v", got)
	}
	if got.Description != e.Description || got.Reason != e.Reason || got.RetryAfter != 2*time.Second || got.ConnectURL != e.ConnectURL {
		t.Errorf("got %+v", got)
	}
	if got := wire.DecodeError(asHeader, []byte("<html>")); got == nil || got.Code != e.Code || got.Description != "two lines" {
		t.Errorf("with an unreadable body: %+v", got)
	}
	if got := wire.DecodeError(nil, body); got != nil {
		t.Errorf("without the header: %+v", got)
	}
}

func TestSecretsPrintNowhereButInJSON(t *testing.T) {
	const canary = "canary-51"
	values := []any{
		wire.NewSecret(canary),
		wire.Token{AccessToken: wire.NewSecret(canary)},
		wire.ImportRequest{RefreshToken: wire.NewSecret(canary), AccessToken: wire.NewSecret(canary)},
		wire.ExchangeRequest{Params: wire.Params{"code": {wire.NewSecret(canary)}}},
	}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if s := fmt.Sprintf(verb, v); strings.Contains(s, canary) || strings.Contains(s, fmt.Sprintf("%x", canary)) {
				t.Errorf("%s of a %T: %s", verb, v, s)
			}
		}
		var out bytes.Buffer
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		if strings.Contains(out.String(), canary) {
			t.Errorf("slog of a %T: %s", v, out.String())
		}
		if b, err := json.Marshal(v); err != nil || !bytes.Contains(b, []byte(canary)) {
			t.Errorf("JSON of a %T has no secret: %s %v", v, b, err)
		}
	}
}

func TestEventIsACloudEventOnItsSubject(t *testing.T) {
	e := fullEvent()
	subject, header, body, err := wire.EncodeEvent("esign", e)
	if err != nil {
		t.Fatal(err)
	}
	if want := "esign.event.default.token.revoked.adobesign.g_1"; subject != want {
		t.Errorf("subject %s, want %s", subject, want)
	}
	wantHeader := map[string]string{"Nats-Msg-Id": "e1", "Content-Type": "application/cloudevents+json", "traceparent": e.TraceParent}
	if d := cmp.Diff(wantHeader, header); d != "" {
		t.Error(d)
	}
	const wantBody = `{"specversion":"1.0","id":"e1","source":"/esignd/default/c","type":"token.revoked","subject":"g_1",` +
		`"time":"2026-01-02T03:04:05Z","datacontenttype":"application/json",` +
		`"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","data":{"tenant":"default","client":"c",` +
		`"vendor":"adobesign","account":"a","grant":"g_1","generation":3,"scope":"x y","issued_at":"2026-01-02T03:04:05Z",` +
		`"expires_at":"2026-01-02T03:04:05Z","reason":"r","vendor_revoked":true,"consent_expires_at":"2026-01-02T03:04:05Z",` +
		`"attempts":2,"next_attempt":"2026-01-02T03:04:05Z"}}`
	if string(body) != wantBody {
		t.Errorf("body\n%s, want\n%s", body, wantBody)
	}
	got, err := wire.DecodeEvent(body)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(e, got); d != "" {
		t.Error(d)
	}
	name, err := wire.ParseEventSubject("esign", subject)
	if err != nil || name != (wire.EventName{Tenant: "default", Type: core.TokenRevoked, Vendor: "adobesign", Grant: "g_1"}) {
		t.Errorf("%+v %v", name, err)
	}
}

func TestEventWithoutAGrant(t *testing.T) {
	e := core.Event{ID: "e2", Type: core.ClientSuspended, Time: whole, Tenant: "t", Client: "c", Vendor: "dropboxsign"}
	subject, _, body, err := wire.EncodeEvent("a.b", e)
	if err != nil || subject != "a.b.event.t.client.suspended.dropboxsign._" {
		t.Errorf("%s %v", subject, err)
	}
	if name, err := wire.ParseEventSubject("a.b", subject); err != nil || name.Grant != "" {
		t.Errorf("%+v %v", name, err)
	}
	if got, err := wire.DecodeEvent(body); err != nil || cmp.Diff(e, got) != "" {
		t.Errorf("%+v %v", got, err)
	}
	if strings.Contains(string(body), `"subject"`) {
		t.Errorf("the event has a subject: %s", body)
	}
}

func TestEveryEventTypeHasASubject(t *testing.T) {
	for _, typ := range core.EventTypes() {
		e := fullEvent()
		e.Type = typ
		subject, _, _, err := wire.EncodeEvent("esign", e)
		if err != nil {
			t.Fatal(err)
		}
		if name, err := wire.ParseEventSubject("esign", subject); err != nil || name.Type != typ {
			t.Errorf("%s: %+v %v", typ, name, err)
		}
	}
}

func TestEventsThatDoNotFitASubjectAreRefused(t *testing.T) {
	for name, change := range map[string]func(*core.Event){
		"tenant": func(e *core.Event) { e.Tenant = "a.b" },
		"type":   func(e *core.Event) { e.Type = "token.>" },
		"vendor": func(e *core.Event) { e.Vendor = "" },
		"grant":  func(e *core.Event) { e.Grant = "*" },
		"id":     func(e *core.Event) { e.ID = "" },
	} {
		e := fullEvent()
		change(&e)
		if _, _, _, err := wire.EncodeEvent("esign", e); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, s := range []string{"", "esign.event.t.token.issued.v", "other.event.t.token.issued.v.g", "esign.event.t.a.b.c.d.e"} {
		if _, err := wire.ParseEventSubject("esign", s); err == nil {
			t.Errorf("%q was read as the subject of an event", s)
		}
	}
}

func TestTenantOfASubject(t *testing.T) {
	for _, e := range wire.Endpoints() {
		tenant, err := wire.TenantOf("es.ign", e, wire.APISubject("es.ign", "team-1_a", e))
		if err != nil || tenant != "team-1_a" {
			t.Errorf("%s: %q %v", e, tenant, err)
		}
	}
	for _, s := range []string{"esign.api.a.b.token.get", "esign.api..token.get", "esign.api.é.token.get", "x.api.a.token.get", "esign.api.a.token.put"} {
		if tenant, err := wire.TenantOf("esign", wire.TokenGet, s); !errors.Is(err, core.InvalidRequest) {
			t.Errorf("%s: %q %v", s, tenant, err)
		}
	}
}

func TestHeaderReadsAnyCaseAndWritesLower(t *testing.T) {
	h := wire.Header{"TraceParent": {"a"}, "traceparent2": {"b"}}
	if got := h.Get("traceparent"); got != "a" {
		t.Errorf("got %q", got)
	}
	h.Set("Traceparent", "c")
	if d := cmp.Diff(wire.Header{"traceparent": {"c"}, "traceparent2": {"b"}}, h); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"traceparent", "traceparent2"}, h.Keys()); d != "" {
		t.Error(d)
	}
	if got := wire.Header(nil).Get("x"); got != "" {
		t.Errorf("got %q", got)
	}
}
