package esignglobal_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/esignglobal"
)

func TestMetadataSaysWhatTheVendorDocuments(t *testing.T) {
	got, err := esignglobal.New(esignglobal.Config{}).Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got.SettingsSchema = nil
	const day = 24 * time.Hour
	want := core.Metadata{
		Vendor: "esignglobal", Title: "eSignGlobal", Version: "1.0.0",
		GrantTypes:           []core.GrantType{core.AuthorizationCode, core.ClientCredentials, core.RefreshToken},
		AccessLifetime:       day,
		RefreshIdleLifetime:  30 * day,
		ConsentLifetime:      365 * day,
		RotatesRefreshTokens: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSettingsSchema(t *testing.T) {
	meta, err := esignglobal.New(esignglobal.Config{}).Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(meta.SettingsSchema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("settings.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("settings.json")
	if err != nil {
		t.Fatal(err)
	}
	for settings, ok := range map[string]bool{
		`{}`: true,
		`{"account_url":"https://account-sml.esignglobal.com","api_url":"https://openapi-eu1.esignglobal.com"}`: true,
		`{"account_url":"http://127.0.0.1:4000","api_url":"http://127.0.0.1:4000"}`:                             true,
		`{"api_url":"http://openapi-eu1.esignglobal.com"}`:                                                      false,
		`{"api_key":"k"}`: false,
	} {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(settings)))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); (err == nil) != ok {
			t.Errorf("%s: %v", settings, err)
		}
	}
}

func TestEverySettingIsDescribedAndHasADefaultOrIsASecret(t *testing.T) {
	meta, err := esignglobal.New(esignglobal.Config{}).Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Properties map[string]struct {
			Default, Description string
			WriteOnly            bool
		}
	}
	if err := json.Unmarshal(meta.SettingsSchema, &schema); err != nil {
		t.Fatal(err)
	}
	var secrets []string
	for name, p := range schema.Properties {
		if p.Description == "" || (p.Default == "") != p.WriteOnly {
			t.Errorf("%s: %+v", name, p)
		}
		if p.WriteOnly {
			secrets = append(secrets, name)
		}
	}
	if diff := cmp.Diff([]string(nil), secrets); diff != "" {
		t.Error(diff)
	}
}
