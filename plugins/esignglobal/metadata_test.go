package esignglobal_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/esignglobal"
	"github.com/esignd/esignd/plugins/sdk/plugintest"
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
	plugintest.Settings(t, meta, nil, map[string]bool{
		`{}`: true,
		`{"account_url":"https://account-sml.esignglobal.com","api_url":"https://openapi-eu1.esignglobal.com"}`: true,
		`{"account_url":"http://127.0.0.1:4000","api_url":"http://127.0.0.1:4000"}`:                             true,
		`{"api_url":"http://openapi-eu1.esignglobal.com"}`:                                                      false,
		`{"api_key":"k"}`: false,
	})
}

func TestEverySettingHasADefault(t *testing.T) {
	meta, err := esignglobal.New(esignglobal.Config{}).Metadata(t.Context())
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
