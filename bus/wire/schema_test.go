package wire_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

const schemaBase = "https://github.com/esignd/esignd/bus/wire/schema/"

var whole = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func fullToken() core.Token {
	return core.Token{
		Grant: "g_1", Tenant: "default", Client: "c", Vendor: "adobesign", Account: "a", AccessToken: core.NewSecret("at"),
		TokenType: "Bearer", ExpiresAt: whole, ExpiresIn: time.Hour, Scope: []string{"x", "y"},
		APIBaseURL: "https://api.example/", Generation: 3, Warnings: []core.Warning{core.WarnMinTTLUnmet},
	}
}

func fullGrant() core.GrantInfo {
	yes := true
	return core.GrantInfo{
		Grant: "g_1", Tenant: "default", Client: "c", Vendor: "adobesign", Account: "a", State: core.Revoked, Reason: "r",
		Scope: []string{"x"}, Generation: 3, IssuedAt: whole, ExpiresAt: whole, ConsentExpiresAt: whole, Attempts: 2,
		LastError: "network", NextAttempt: whole, Warnings: []core.Warning{core.WarnVendorCannotRevoke}, VendorRevoked: &yes,
	}
}

func fullEvent() core.Event {
	yes, at := true, whole
	return core.Event{
		ID: "e1", Type: core.TokenRevoked, Time: whole, Tenant: "default", Client: "c", Vendor: "adobesign", Account: "a",
		Grant: "g_1", Generation: 3, Scope: []string{"x", "y"}, IssuedAt: &at, ExpiresAt: &at, Reason: "r",
		VendorRevoked: &yes, ConsentExpiresAt: &at, Attempts: 2, NextAttempt: &at,
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
}

func fullEntry() wire.AuditEntry {
	at := whole
	return wire.AuditEntry{
		ID: "1", Time: whole, Action: wire.AuditAction(wire.TokenGet), Outcome: string(core.TemporarilyUnavailable), Reason: "r",
		By:     wire.AuditActor{Kind: wire.ActorService, Tenant: "default", Service: "billing", Account: "ESIGND_default_billing", User: "U"},
		Tenant: "default", Client: "c", Vendor: "adobesign", Account: "a", Grant: "g_1", Generation: 3,
		Token: "0af7651916cd43dd8448eb211c80319c", TraceID: "0af7651916cd43dd8448eb211c80319c", Replica: "x", Since: &at, Refused: 2,
	}
}

// messages has, for each schema, an example in which every field is set.
func messages(t *testing.T) map[string]any {
	t.Helper()
	minTTL := int64(60)
	sel := wire.Selector{Grant: "g_1", Client: "c", Account: "a"}
	grant := wire.GrantOf(fullGrant())
	_, _, body, err := wire.EncodeEvent("esign", fullEvent())
	if err != nil {
		t.Fatal(err)
	}
	var event wire.Event
	if err := json.Unmarshal(body, &event); err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"selector":             sel,
		"token_get_request":    wire.TokenGetRequest{Selector: sel, MinTTL: &minTTL},
		"token_report_request": wire.TokenReportRequest{Selector: sel, Generation: 1},
		"token_revoke_request": wire.TokenRevokeRequest{Selector: sel, Reason: "r"},
		"grant_authorize_request": wire.AuthorizeRequest{Client: "c", Account: "a", Scopes: []string{"x"},
			ReturnTo: "https://r.example", RedirectURI: "https://s.example"},
		"grant_exchange_request": wire.ExchangeRequest{RedirectURI: "https://s.example", Params: wire.NewParams(map[string][]string{"code": {"x"}, "s": {"a", "b"}})},
		"grant_import_request": wire.ImportRequest{Client: "c", Account: "a", RefreshToken: wire.NewSecret("r"),
			AccessToken: wire.NewSecret("at"), ExpiresAt: wire.Time{Time: whole}, APIBaseURL: "https://api.example/", Replace: true},
		"grant_list_request": wire.ListRequest{Client: "c", Vendor: "v", State: core.Active, Limit: 5, Cursor: "g"},
		"account_request":    wire.AccountRequest{Client: "c", EmailAddress: "a@b.example"},
		"token":              wire.TokenOf(fullToken()),
		"grant":              grant,
		"grant_page":         wire.GrantPage{Grants: []wire.Grant{grant}, Cursor: "g_1"},
		"authorization": wire.AuthorizationOf(core.Authorization{Grant: "g_1", ConnectURL: "https://c.example", ExpiresAt: whole,
			AuthorizationURL: "https://v.example", State: "s"}),
		"account":         wire.Account{Exists: true, AccountID: "1"},
		"created_account": wire.CreatedAccount{Grant: grant, AccountID: "1"},
		"error": wire.ErrorOf(&core.Error{Code: core.ReauthorizationRequired, Description: "d", Reason: "r",
			RetryAfter: time.Second, ConnectURL: "https://c.example"}),
		"audit":       wire.Audit{Entries: []wire.AuditEntry{fullEntry()}},
		"audit_entry": fullEntry(),
		"audit_actor": fullEntry().By,
		"event":       event,
		"event_data":  event.Data,
	}
}

// emptiest has examples in which only what is required is set.
func emptiest() map[string]any {
	return map[string]any{
		"selector":                wire.Selector{},
		"token_get_request":       wire.TokenGetRequest{},
		"token_report_request":    wire.TokenReportRequest{Generation: 1},
		"grant_authorize_request": wire.AuthorizeRequest{Client: "c", Account: "a"},
		"grant_import_request":    wire.ImportRequest{Client: "c", Account: "a", RefreshToken: wire.NewSecret("r")},
		"grant_list_request":      wire.ListRequest{},
		"token": wire.TokenOf(core.Token{AccessToken: core.NewSecret("a"), ExpiresAt: whole, ExpiresIn: time.Second,
			Generation: 1}),
		"grant":       wire.GrantOf(core.GrantInfo{State: core.Pending}),
		"grant_page":  wire.GrantPageOf(nil, ""),
		"error":       wire.ErrorOf(&core.Error{Code: core.ServerError}),
		"event_data":  wire.EventData{},
		"audit_entry": wire.AuditEntry{ID: "1", Time: whole, Action: wire.AuditResumed, By: wire.AuditActor{Kind: wire.ActorEsignd}, Outcome: wire.AuditOK},
	}
}

func compiler(t *testing.T) *jsonschema.Compiler {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	files, err := fs.Glob(wire.Schemas, "schema/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(readFile(t, file)))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if err := c.AddResource(schemaBase+path.Base(file), doc); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := fs.ReadFile(wire.Schemas, name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func validate(t *testing.T, c *jsonschema.Compiler, name string, message any) error {
	t.Helper()
	schema, err := c.Compile(schemaBase + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(doc)
}

func TestExamplesAreValidBySchema(t *testing.T) {
	c := compiler(t)
	for name, message := range messages(t) {
		if err := validate(t, c, name, message); err != nil {
			t.Errorf("full %s: %v", name, err)
		}
	}
	for name, message := range emptiest() {
		if err := validate(t, c, name, message); err != nil {
			t.Errorf("empty %s: %v", name, err)
		}
	}
	if err := validate(t, c, "selector", map[string]any{"other": 1}); err == nil {
		t.Error("the schema of a request accepts an unknown field")
	}
	if err := validate(t, c, "token_get_request", map[string]any{"min_ttl": "1"}); err == nil {
		t.Error("the schema accepts a string for min_ttl")
	}
}

func TestStructsAndSchemasHaveTheSameFields(t *testing.T) {
	files, err := fs.Glob(wire.Schemas, "schema/*.json")
	if err != nil {
		t.Fatal(err)
	}
	all := messages(t)
	if len(files) != len(all) {
		t.Errorf("%d schemas, %d messages", len(files), len(all))
	}
	for name, message := range all {
		var schema struct {
			ID         string                     `json:"$id"`
			Properties map[string]json.RawMessage `json:"properties"`
			Required   []string                   `json:"required"`
			Additional *bool                      `json:"additionalProperties"`
		}
		if err := json.Unmarshal(readFile(t, "schema/"+name+".json"), &schema); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if schema.ID != schemaBase+name+".json" {
			t.Errorf("%s: $id %s", name, schema.ID)
		}
		fields, required := jsonFields(reflect.TypeOf(message))
		var properties []string
		for p := range schema.Properties {
			properties = append(properties, p)
		}
		slices.Sort(properties)
		slices.Sort(schema.Required)
		if d := cmp.Diff(fields, properties); d != "" {
			t.Errorf("%s: fields of the struct (-) and properties of the schema (+): %s", name, d)
		}
		if d := cmp.Diff(required, schema.Required); d != "" {
			t.Errorf("%s: required by the struct (-) and by the schema (+): %s", name, d)
		}
		if isRequest := strings.HasSuffix(name, "request") || name == "selector"; isRequest != (schema.Additional != nil) {
			t.Errorf("%s: requests refuse unknown fields, replies do not", name)
		}
	}
}

// jsonFields returns the names of a struct's fields in JSON, and of those that are always there.
func jsonFields(t reflect.Type) (fields, required []string) {
	for f := range t.Fields() {
		if f.Anonymous {
			inner, always := jsonFields(f.Type)
			fields, required = append(fields, inner...), append(required, always...)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields = append(fields, name)
		if options == "" {
			required = append(required, name)
		}
	}
	slices.Sort(fields)
	slices.Sort(required)
	return fields, required
}

func TestEveryFieldOfAFullExampleIsSet(t *testing.T) {
	for name, message := range messages(t) {
		b, err := json.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]json.RawMessage
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		fields, _ := jsonFields(reflect.TypeOf(message))
		for _, f := range fields {
			if _, ok := got[f]; !ok {
				t.Errorf("%s: %s is not set in the example", name, f)
			}
		}
	}
}
