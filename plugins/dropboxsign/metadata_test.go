package dropboxsign_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/sdk/plugintest"
)

// No rotation, revocation, PKCE or end of a refresh token is documented. An answer without expires_in lives as long as the
// shorter of the two lifetimes that are.
func TestMetadataSaysWhatTheVendorDocuments(t *testing.T) {
	got, err := adapter().Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got.SettingsSchema = nil
	want := core.Metadata{
		Vendor: "dropboxsign", Title: "Dropbox Sign", Version: "1.0.0",
		GrantTypes:     []core.GrantType{core.AuthorizationCode, core.RefreshToken},
		AccessLifetime: time.Hour,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSettingsThatAreTaken(t *testing.T) {
	meta, err := adapter().Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	plugintest.Settings(t, meta, []string{"api_key"}, map[string]bool{
		`{}`: true,
		`{"app_url":"https://app.hellosign.com","api_url":"https://api.hellosign.com","api_key":"k"}`: true,
		`{"app_url":"http://127.0.0.1:4000","api_url":"http://localhost:4000/"}`:                      true,
		`{"app_url":"http://app.hellosign.com"}`:                                                      false,
		`{"api_url":"https://user@api.hellosign.com"}`:                                                false,
		`{"api_url":""}`:    false,
		`{"api_kye":"k"}`:   false,
		`{"api_key":["k"]}`: false,
	})
}
