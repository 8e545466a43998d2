package adobesign_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/adobesign"
	"github.com/esignd/esignd/plugins/sdk/plugintest"
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
	plugintest.Settings(t, meta, nil, map[string]bool{
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
	})
}

func TestEverySettingHasADefault(t *testing.T) {
	meta, err := adobesign.New(adobesign.Config{}).Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Properties map[string]struct{ Default string }
	}
	if err := json.Unmarshal(meta.SettingsSchema, &schema); err != nil {
		t.Fatal(err)
	}
	for name, p := range schema.Properties {
		if p.Default == "" {
			t.Errorf("%s has none", name)
		}
	}
}
