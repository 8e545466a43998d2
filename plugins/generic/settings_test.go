package generic_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/generic"
	"github.com/esignd/esignd/plugins/sdk/plugintest"
)

func metadata(t *testing.T) core.Metadata {
	t.Helper()
	got, err := generic.New(generic.Config{}).Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestMetadataSaysWhatIsSafeForAnyServer(t *testing.T) {
	got := metadata(t)
	got.SettingsSchema = nil
	want := core.Metadata{
		Vendor: "generic", Title: "OAuth 2.0 server", Version: "1.0.0",
		GrantTypes:           []core.GrantType{core.AuthorizationCode, core.ClientCredentials, core.RefreshToken},
		AccessLifetime:       time.Hour,
		RotatesRefreshTokens: true, RevokesTokens: true, PKCE: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSettingsSchema(t *testing.T) {
	plugintest.Settings(t, metadata(t), nil, map[string]bool{
		`{}`:                                 false, // which server?
		`{"issuer":"https://as.example/"}`:   true,
		`{"token_url":"https://as.example"}`: true,
		`{"authorization_url":"https://as.example/a"}`:                                              false,
		`{"issuer":"http://127.0.0.1:4000/op"}`:                                                     true,
		`{"issuer":"http://as.example"}`:                                                            false,
		`{"issuer":"https://as.example?q"}`:                                                         false,
		`{"issuer":"https://u:p@as.example"}`:                                                       false,
		`{"token_url":"https://as.example/t/?tenant=a"}`:                                            true,
		`{"token_url":"https://as.example/t#f"}`:                                                    false,
		`{"token_url":"http://as.example/t?http://localhost"}`:                                      false,
		`{"issuer":"https://as.example","access_lifetime":3600}`:                                    true,
		`{"issuer":"https://as.example","access_lifetime":0}`:                                       false,
		`{"issuer":"https://as.example","access_lifetime":"1h"}`:                                    false,
		`{"issuer":"https://as.example","pkce":"plain"}`:                                            false,
		`{"issuer":"https://as.example","body":"xml"}`:                                              false,
		`{"issuer":"https://as.example","client_authentication":"private_key_jwt"}`:                 false,
		`{"issuer":"https://as.example","authorization_params":"prompt=consent&access_type=a%20b"}`: true,
		`{"issuer":"https://as.example","authorization_params":"prompt"}`:                           false,
		`{"issuer":"https://as.example","resource":"https://api.example"}`:                          true,
		`{"issuer":"https://as.example","resource":"https://api.example#f"}`:                        false,
		`{"issuer":"https://as.example","isuer":"https://as.example"}`:                              false,
	})
}

func TestEverySettingIsDescribedAndItsDefaultIsWhatTheAdapterDoes(t *testing.T) {
	var schema struct {
		Properties map[string]struct {
			Default     any
			Enum        []any
			Description string
			WriteOnly   bool
		}
	}
	if err := json.Unmarshal(metadata(t).SettingsSchema, &schema); err != nil {
		t.Fatal(err)
	}
	defaults := map[string]any{}
	for name, p := range schema.Properties {
		if p.Description == "" || p.WriteOnly || len(p.Enum) > 0 && !slices.Contains(p.Enum, p.Default) {
			t.Errorf("%s: %+v", name, p)
		}
		if p.Default != nil {
			defaults[name] = p.Default
		}
	}
	// The tests of the requests hold the adapter to these.
	want := map[string]any{
		"body": "form", "client_authentication": "basic", "pkce": "S256", "scope_separator": "space",
		"access_lifetime": metadata(t).AccessLifetime.Seconds(),
	}
	if diff := cmp.Diff(want, defaults); diff != "" {
		t.Error(diff)
	}
}

func TestAWrongSettingIsNamedAndNotShownAndNothingIsSent(t *testing.T) {
	for _, tt := range []struct{ name, value, code string }{
		{"issuer", "http://" + canary, core.CodeHostRefused},
		{"issuer", "https://as.example?" + canary, core.CodeHostRefused},
		{"api_base_url", "https://u:" + canary + "@as.example", core.CodeHostRefused},
		{"authorization_url", "http://" + canary, core.CodeHostRefused},
		{"token_url", "https://10.0.0.1/" + canary, core.CodeHostRefused},
		{"token_url", "https://as.example/t?a#" + canary, core.CodeHostRefused},
		{"token_url", "https://as.example/t?\x7f" + canary, core.CodeHostRefused},
		{"refresh_url", "ftp://" + canary, core.CodeHostRefused},
		{"revocation_url", canary, core.CodeHostRefused},
		{"body", canary, core.CodeInternal},
		{"client_authentication", canary, core.CodeInternal},
		{"pkce", canary, core.CodeInternal},
		{"scope_separator", canary, core.CodeInternal},
		{"access_lifetime", canary, core.CodeInternal},
		{"access_lifetime", "31536001", core.CodeInternal},
		{"authorization_params", "%zz" + canary, core.CodeInternal},
		{"authorization_params", "state=" + canary, core.CodeInternal},
		{"authorization_params", "a=b&redirect_uri=" + canary, core.CodeInternal},
	} {
		s := newServer(t, nil)
		settings := s.settings(tt.name, tt.value)
		_, page := s.adapter.AuthorizationURL(t.Context(), authorize(settings))
		_, callback := s.adapter.Callback(t.Context(), core.CallbackRequest{Client: client(settings)})
		_, token := s.adapter.Token(t.Context(), refresh(settings))
		for _, err := range []error{page, callback, token, s.adapter.Revoke(t.Context(), revocation(settings))} {
			if e := failure(t, err); e.Outcome != core.NotSent || e.Code != tt.code || !strings.Contains(e.Detail, "setting "+tt.name) {
				t.Errorf("%s %q: %v", tt.name, tt.value, err)
			}
		}
		if seen := s.seen(); len(seen) != 0 {
			t.Errorf("%s: sent %v", tt.name, seen)
		}
	}
}

func TestAnEndpointThatNobodyNamesIsAskedFor(t *testing.T) {
	adapter := generic.New(generic.Config{})
	_, err := adapter.AuthorizationURL(t.Context(), authorize(map[string]string{"token_url": "https://as.example/t"}))
	if e := failure(t, err); e.Outcome != core.NotSent || !strings.Contains(e.Detail, "setting authorization_url: not set") {
		t.Error(err)
	}
	_, err = adapter.Token(t.Context(), refresh(map[string]string{"authorization_url": "https://as.example/a"}))
	if e := failure(t, err); e.Outcome != core.NotSent || !strings.Contains(e.Detail, "setting token_url: not set") {
		t.Error(err)
	}
}
