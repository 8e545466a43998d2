package host

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
)

func sane() core.Metadata {
	return core.Metadata{
		Vendor: "good", Title: "Good Sign", Version: "1.0.0", GrantTypes: []core.GrantType{core.AuthorizationCode},
		AccessLifetime: time.Hour, SettingsSchema: json.RawMessage(`{"type":"object"}`),
	}
}

func TestMetadataIsChecked(t *testing.T) {
	if err := checkMetadata(sane(), "good"); err != nil {
		t.Fatal(err)
	}
	for says, spoil := range map[string]func(*core.Metadata){
		"Vendor":              func(m *core.Metadata) { m.Vendor = "bad\n" },
		"Title":               func(m *core.Metadata) { m.Title = "" },
		"control characters":  func(m *core.Metadata) { m.Title = "a\x1b[2J" },
		"Version":             func(m *core.Metadata) { m.Version = strings.Repeat("1", 65) },
		"GrantTypes is empty": func(m *core.Metadata) { m.GrantTypes = nil },
		"GrantTypes has 4000": func(m *core.Metadata) {
			m.GrantTypes = slices.Repeat([]core.GrantType{core.RefreshToken}, 4000)
		},
		"GrantTypes has one":  func(m *core.Metadata) { m.GrantTypes = []core.GrantType{"password"} },
		"AccessLifetime":      func(m *core.Metadata) { m.AccessLifetime = 0 },
		"AccessLifetime is":   func(m *core.Metadata) { m.AccessLifetime = 1 << 62 },
		"RefreshIdleLifetime": func(m *core.Metadata) { m.RefreshIdleLifetime = -1 },
		"ConsentLifetime":     func(m *core.Metadata) { m.ConsentLifetime = 1 << 62 },
		"SettingsSchema":      func(m *core.Metadata) { m.SettingsSchema = json.RawMessage(`[]`) },
		"no JSON object":      func(m *core.Metadata) { m.SettingsSchema = json.RawMessage(`{`) },
		"at most 256 KiB": func(m *core.Metadata) {
			m.SettingsSchema = json.RawMessage(`{"a":"` + strings.Repeat("x", maxSchema) + `"}`)
		},
	} {
		m := sane()
		spoil(&m)
		if err := checkMetadata(m, "good"); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want it to say %q", err, says)
		}
	}
}

func TestURLsAreChecked(t *testing.T) {
	for _, good := range []string{"https://a.example/x?y=z", "http://localhost:8080", "http://127.0.0.1/a", "http://[::1]:1/"} {
		if err := checkURL("URL", good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "/x", "http://a.example", "ftp://a.example", "https://", "https://u:CANARY@a.example", "javascript:CANARY", "https://a\x00", "http://127.0.0.1.evil.example"} {
		if err := checkURL("URL", bad); err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

func TestTokenSetSurvivesWhatMakesNoSense(t *testing.T) {
	for _, expires := range []time.Duration{-time.Second, 1 << 62} {
		got, err := checkTokenResponse(core.TokenResponse{
			AccessToken: core.NewSecret("a"), RefreshToken: core.NewSecret("rotated"), ExpiresIn: expires, APIBaseURL: "file:///x",
			AccountID: "a\x1b[2J",
		})
		if err != nil || got.ExpiresIn != 0 || got.APIBaseURL != "" || got.AccountID != "" || got.RefreshToken.Reveal() != "rotated" {
			t.Errorf("%v: got %+v, %v", expires, got, err)
		}
	}
}

func TestTokenSetThatCannotBeKeptIsRefused(t *testing.T) {
	small, large := core.NewSecret("a"), core.NewSecret(strings.Repeat("x", maxToken+1))
	for _, set := range []core.TokenResponse{{AccessToken: large}, {AccessToken: small, RefreshToken: large}} {
		if _, err := checkTokenResponse(set); core.AsVendorError(err).Code != core.CodeMalformedResponse {
			t.Errorf("got %v", err)
		}
	}
	for _, scope := range [][]string{{"a b"}, {""}, {"a\n"}, {"\u00e9"}, slices.Repeat([]string{"x"}, maxScope)} {
		got, err := checkTokenResponse(core.TokenResponse{AccessToken: small, TokenType: "Bearer\x1b[2J", Scope: scope})
		if err != nil || got.Scope != nil || got.TokenType != "" {
			t.Errorf("%.20q: got %+v, %v", scope, got, err)
		}
	}
	got, err := checkTokenResponse(core.TokenResponse{AccessToken: small, TokenType: "Bearer", Scope: []string{"agreement_send:account"}})
	if err != nil || len(got.Scope) != 1 || got.TokenType != "Bearer" {
		t.Errorf("got %+v, %v", got, err)
	}
}
