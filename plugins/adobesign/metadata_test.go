package adobesign_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/adobesign"
)

func TestMetadataSaysWhatTheVendorDocuments(t *testing.T) {
	got, err := adobesign.New(adobesign.Config{}).Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got.SettingsSchema = nil
	const day = 24 * time.Hour
	want := core.Metadata{
		Vendor: "adobesign", Title: "Adobe Acrobat Sign", Version: "1.0.0",
		GrantTypes:          []core.GrantType{core.AuthorizationCode, core.RefreshToken},
		AccessLifetime:      time.Hour,
		RefreshIdleLifetime: 60 * day,
		RevokesTokens:       true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSettingsSchema(t *testing.T) {
	meta, err := adobesign.New(adobesign.Config{}).Metadata(t.Context())
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
		`{"web_url":"https://secure.na1.adobesign.com","api_url":"https://api.na1.adobesign.com","oauth_version":"v1"}`: true,
		`{"web_url":"http://127.0.0.1:4000/","api_url":"http://[::1]:4000"}`:                                            true,
		`{"api_url":"http://localhost:1"}`:                   true,
		`{"web_url":"http://secure.na1.adobesign.com"}`:      false,
		`{"web_url":"http://localhost.evil.example"}`:        false,
		`{"web_url":"https://u:p@secure.na1.adobesign.com"}`: false,
		`{"api_url":"https://api.adobesign.com?x"}`:          false,
		`{"api_url":7}`:                                 false,
		`{"oauth_version":"v3"}`:                        false,
		`{"weburl":"https://secure.na1.adobesign.com"}`: false,
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
	meta, err := adobesign.New(adobesign.Config{}).Metadata(t.Context())
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
