package wire_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// secretsEqual compares what is redacted when it is printed.
var secretsEqual = cmp.Comparer(func(a, b core.Secret) bool { return a.Equal(b) })

func TestDecodeReadsRequests(t *testing.T) {
	minTTL := int64(90)
	cases := []struct {
		name string
		body string
		read func([]byte) (any, error)
		want any
	}{
		{"selector by id", `{"grant":"g_1"}`, decode[wire.Selector], wire.Selector{Grant: "g_1"}},
		{"empty body", ``, decode[wire.ListRequest], wire.ListRequest{}},
		{"spaces around", " \n{} \t", decode[wire.ListRequest], wire.ListRequest{}},
		{"token.get", `{"client":"c","account":"a","min_ttl":90}`, decode[wire.TokenGetRequest],
			wire.TokenGetRequest{Selector: wire.Selector{Client: "c", Account: "a"}, MinTTL: &minTTL}},
		{"token.report", `{"grant":"g_1","generation":18446744073709551615}`, decode[wire.TokenReportRequest],
			wire.TokenReportRequest{Selector: wire.Selector{Grant: "g_1"}, Generation: 1<<64 - 1}},
		{"token.revoke", `{"grant":"g_1","reason":"left"}`, decode[wire.TokenRevokeRequest],
			wire.TokenRevokeRequest{Selector: wire.Selector{Grant: "g_1"}, Reason: "left"}},
		{"grant.authorize", `{"client":"c","account":"a","scopes":["x","y"]}`, decode[wire.AuthorizeRequest],
			wire.AuthorizeRequest{Client: "c", Account: "a", Scopes: []string{"x", "y"}}},
		{"grant.exchange", `{"params":{"code":"z","scope":["a","b"]},"redirect_uri":"https://s.example/cb"}`, decode[wire.ExchangeRequest],
			wire.ExchangeRequest{RedirectURI: "https://s.example/cb", Params: wire.Params{
				"code": {wire.NewSecret("z")}, "scope": {wire.NewSecret("a"), wire.NewSecret("b")},
			}}},
		{"grant.import", `{"client":"c","account":"a","refresh_token":"r","expires_at":"2026-01-02T04:04:05+01:00"}`,
			decode[wire.ImportRequest], wire.ImportRequest{Client: "c", Account: "a", RefreshToken: wire.NewSecret("r"),
				ExpiresAt: wire.Time{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}},
		{"grant.list", `{"state":"active","limit":5}`, decode[wire.ListRequest], wire.ListRequest{State: core.Active, Limit: 5}},
		{"account.verify", `{"client":"c","email_address":"a@b.example"}`, decode[wire.AccountRequest],
			wire.AccountRequest{Client: "c", EmailAddress: "a@b.example"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.read([]byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got, secretsEqual); d != "" {
				t.Error(d)
			}
		})
	}
}

func decode[T wire.Request](b []byte) (any, error) { return wire.Decode[T](b) }

func TestDecodeNamesTheFieldAtFault(t *testing.T) {
	long := strings.Repeat("x", 100)
	cases := []struct {
		name  string
		body  string
		read  func([]byte) (any, error)
		field string
	}{
		{"unknown", `{"grnat":"g"}`, decode[wire.Selector], "grnat"},
		{"unknown, other case", `{"Grant":"g"}`, decode[wire.Selector], "Grant"},
		{"unknown, a format verb", `{"%s%d":"g"}`, decode[wire.Selector], "%s%d"},
		{"unknown, unprintable", `{"a\nb":"g"}`, decode[wire.Selector], `"a\nb"`},
		{"unknown, long", `{"` + long + `":1}`, decode[wire.Selector], long[:64] + "…"},
		{"twice", `{"grant":"a","grant":"b"}`, decode[wire.Selector], "grant"},
		{"null", `{"grant":null}`, decode[wire.Selector], "grant"},
		{"number for a string", `{"client":7}`, decode[wire.Selector], "client"},
		{"unsafe grant", `{"grant":"g.>"}`, decode[wire.Selector], "grant"},
		{"string for a number", `{"min_ttl":"60"}`, decode[wire.TokenGetRequest], "min_ttl"},
		{"fraction", `{"min_ttl":1.5}`, decode[wire.TokenGetRequest], "min_ttl"},
		{"too large for the type", `{"min_ttl":1e30}`, decode[wire.TokenGetRequest], "min_ttl"},
		{"negative", `{"min_ttl":-1}`, decode[wire.TokenGetRequest], "min_ttl"},
		{"too large", `{"min_ttl":99999999999}`, decode[wire.TokenGetRequest], "min_ttl"},
		{"null for a number", `{"min_ttl":null}`, decode[wire.TokenGetRequest], "min_ttl"},
		{"missing number", `{"grant":"g"}`, decode[wire.TokenReportRequest], "generation"},
		{"negative generation", `{"generation":-1}`, decode[wire.TokenReportRequest], "generation"},
		{"missing string", `{"account":"a"}`, decode[wire.AuthorizeRequest], "client"},
		{"empty string", `{"client":"c","account":""}`, decode[wire.AuthorizeRequest], "account"},
		{"null in an array", `{"client":"c","account":"a","scopes":[null]}`, decode[wire.AuthorizeRequest], "scopes"},
		{"string for an array", `{"client":"c","account":"a","scopes":"x y"}`, decode[wire.AuthorizeRequest], "scopes"},
		{"missing params", `{}`, decode[wire.ExchangeRequest], "params"},
		{"empty params", `{"params":{}}`, decode[wire.ExchangeRequest], "params"},
		{"params no object", `{"params":"code=x"}`, decode[wire.ExchangeRequest], "params"},
		{"param twice", `{"params":{"code":"a","code":"b"}}`, decode[wire.ExchangeRequest], "code"},
		{"param of a wrong type", `{"params":{"code":1}}`, decode[wire.ExchangeRequest], "params.code"},
		{"bad time", `{"client":"c","account":"a","refresh_token":"r","expires_at":"tomorrow"}`, decode[wire.ImportRequest], "expires_at"},
		{"bad boolean", `{"replace":"yes"}`, decode[wire.ImportRequest], "replace"},
		{"limit", `{"limit":1001}`, decode[wire.ListRequest], "limit"},
		{"broken value", `{"client":"c","vendor":}`, decode[wire.ListRequest], "vendor"},
		{"malformed", `{"client"`, decode[wire.ListRequest], "client"},
		{"no object", `[]`, decode[wire.ListRequest], ""},
		{"a null", `null`, decode[wire.ListRequest], ""},
		{"not UTF-8", "{\"client\":\"\xff\"}", decode[wire.ListRequest], ""},
		{"trailing data", `{} {}`, decode[wire.ListRequest], ""},
		{"trailing bracket", `{}}`, decode[wire.ListRequest], ""},
		{"unended", `{"client":"c"`, decode[wire.ListRequest], ""},
		{"too large a request", `{"client":"` + strings.Repeat("x", wire.MaxRequest) + `"}`, decode[wire.ListRequest], ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.read([]byte(c.body))
			var e *core.Error
			if !errors.As(err, &e) || e.Code != core.InvalidRequest {
				t.Fatalf("got %v, %v; want invalid_request", got, err)
			}
			if e.Field != c.field {
				t.Errorf("field %q, want %q", e.Field, c.field)
			}
			if !strings.HasPrefix(e.Description, c.field) {
				t.Errorf("the description does not name the field %q: %s", c.field, e.Description)
			}
		})
	}
}

func TestDecodeErrorsHoldNoValue(t *testing.T) {
	const canary = "canary-7f3a"
	for _, body := range []string{
		`{"client":"c","account":"a","refresh_token":["` + canary + `"]}`,
		`{"client":"c","account":"a","refresh_token":"` + canary + `","expires_at":"` + canary + `"}`,
		`{"refresh_token":"` + canary + `","refresh_token":"` + canary + `"}`,
		`{"refresh_token":"` + canary + `"`,
		`{"refresh_token":"` + canary + `"}`,
	} {
		_, err := wire.Decode[wire.ImportRequest]([]byte(body))
		if err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", body, err)
		}
	}
	_, err := wire.Decode[wire.ExchangeRequest]([]byte(`{"params":{"code":{"x":"` + canary + `"}}}`))
	if err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("params: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"grant":"g_1"}`, `{"client":"c","account":"a","min_ttl":60}`, `{"grant":"g","generation":3}`,
		`{"client":"c","account":"a","scopes":["x"],"return_to":"https://x.example"}`,
		`{"params":{"code":"x","state":["a","b"]}}`, `{"params":{"a":{}}}`,
		`{"client":"c","account":"a","refresh_token":"r","expires_at":"2026-01-02T03:04:05Z","replace":true}`,
		`{"limit":10,"state":"active"}`, `{"client":"c","email_address":"a@b.example"}`, `{"a":1,"a":2}`, `nul`, `{}x`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again[wire.Selector](t, b)
		again[wire.TokenGetRequest](t, b)
		again[wire.TokenReportRequest](t, b)
		again[wire.TokenRevokeRequest](t, b)
		again[wire.AuthorizeRequest](t, b)
		again[wire.ExchangeRequest](t, b)
		again[wire.ImportRequest](t, b)
		again[wire.ListRequest](t, b)
		again[wire.AccountRequest](t, b)
	})
}

// again checks that what was decoded encodes to something that decodes to the same, and that errors are ours.
func again[T wire.Request](t *testing.T, b []byte) {
	t.Helper()
	req, err := wire.Decode[T](b)
	if err != nil {
		if !errors.Is(err, core.InvalidRequest) {
			t.Fatalf("%T: %v", req, err)
		}
		return
	}
	encoded, err := json.Marshal(req)
	if err != nil {
		t.Fatalf("%T: %v", req, err)
	}
	second, err := wire.Decode[T](encoded)
	if len(encoded) > wire.MaxRequest {
		return // escaping made it longer
	}
	if err != nil {
		t.Fatalf("%T: %s: %v", req, encoded, err)
	}
	reencoded, err := json.Marshal(second)
	if err != nil || string(encoded) != string(reencoded) {
		t.Fatalf("%T: %s became %s (%v)", req, encoded, reencoded, err)
	}
}

func FuzzDecodeEvent(f *testing.F) {
	_, _, body, err := wire.EncodeEvent("esign", fullEvent())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(`{"specversion":"1.0","id":"a","type":"x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := wire.DecodeEvent(b); err == nil && (e.ID == "" || e.Type == "") {
			t.Fatalf("an event without id or type: %+v", e)
		}
	})
}
