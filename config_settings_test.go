package esignd_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esignd/esignd"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/adobesign"
	"github.com/esignd/esignd/plugins/dropboxsign"
	"github.com/esignd/esignd/plugins/esignglobal"
)

func adapters() core.AdapterMap {
	return core.AdapterMap{
		"adobesign": adobesign.New(adobesign.Config{}), "dropboxsign": dropboxsign.New(dropboxsign.Config{}),
		"esignglobal": esignglobal.New(esignglobal.Config{}), "other": other{}, "dead": other{err: errors.New("the process is gone")},
	}
}

// other is a vendor whose settings are of all kinds.
type other struct {
	core.Adapter
	err error
}

func (o other) Metadata(context.Context) (core.Metadata, error) {
	return core.Metadata{
		Vendor: "other", GrantTypes: []core.GrantType{core.ClientCredentials, core.RefreshToken},
		SettingsSchema: []byte(`{"type": "object", "additionalProperties": false, "required": ["region"], "properties": {
			"region": {"enum": ["eu", "us"]}, "beta": {"type": "boolean"}, "retries": {"type": "integer", "minimum": 1, "maximum": 5},
			"code": {"type": "string", "pattern": "^[a-z]+$"},
			"key": {"type": "string", "writeOnly": true, "pattern": "^k-", "description": "The key of the account, k-…"}, "pin": {"type": "string", "writeOnly": true, "maxLength": 3}}}`),
	}, o.err
}

func TestCheckSettingsTakesTheExample(t *testing.T) {
	if err := loadFull(t).CheckSettings(t.Context(), adapters()); err != nil {
		t.Error(err)
	}
	cfg := esignd.Config{Clients: []esignd.Client{{
		Vendor: "other", GrantType: core.ClientCredentials, Settings: map[string]string{"region": "eu", "beta": "true", "retries": "3"},
		SecretSettings: map[string]core.Secret{"key": core.NewSecret("k-1")},
	}, {Vendor: "adobesign"}}}
	if err := cfg.CheckSettings(t.Context(), adapters()); err != nil {
		t.Error(err)
	}
}

func TestCheckSettingsSaysWhatToDo(t *testing.T) {
	for _, c := range []struct{ name, client, want string }{
		{"unknown setting", "vendor: adobesign, settings: {web_uri: x}",
			`settings.web_uri: there is no such setting; did you mean web_url?`},
		{"unknown secret setting", "vendor: dropboxsign, settings: {apikey: {env: ADOBE_SECRET}}",
			`settings.apikey: there is no such setting; did you mean api_key?`},
		{"another vendor's setting", "vendor: esignglobal, settings: {oauth_version: v2}",
			`settings.oauth_version: there is no such setting; there are account_url, api_url`},
		{"wrong value", "vendor: adobesign, settings: {oauth_version: v3}",
			`settings.oauth_version: "v3" is not known; say v1 or v2`},
		{"http off this machine", `vendor: adobesign, settings: {api_url: "http://api.na1.adobesign.com"}`,
			`settings.api_url: "http://api.na1.adobesign.com" will not do: it takes an https URL without user, query and fragment; http is for a host on this machine, such as 127.0.0.1`},
		{"literal secret", "vendor: dropboxsign, settings: {api_key: CANARY}",
			`settings.api_key: a secret does not stand in the file; write {env: NAME} or {file: PATH}`},
		{"literal secret of a wrong form", "vendor: other, grant_type: client_credentials, settings: {region: eu, key: CANARY}",
			`settings.key: a secret does not stand in the file; write {env: NAME} or {file: PATH}`},
		{"secret of a wrong form", "vendor: other, grant_type: client_credentials, settings: {region: eu, key: {env: ADOBE_SECRET}, pin: {env: ADOBE_SECRET}}",
			"settings.key: is not what the plugin takes: The key of the account, k-…\n  clients[0].settings.pin: is not what the plugin takes: `plugin-host describe` prints what it takes"},
		{"no secret", "vendor: adobesign, settings: {api_url: {env: ADOBE_SECRET}}",
			`settings.api_url: is not a secret; write the value itself`},
		{"grant type", "vendor: dropboxsign, grant_type: client_credentials",
			`grant_type: dropboxsign does not take client_credentials; say authorization_code`},
		{"default grant type", "vendor: other, settings: {region: eu}",
			`grant_type: other does not take authorization_code; say client_credentials`},
		{"form of a number", "vendor: other, grant_type: client_credentials, settings: {region: eu, beta: maybe, retries: 9}",
			"settings.beta: is a string, and must be true or false\n  clients[0].settings.retries: is 9, and must be at most 5"},
		{"form without words", "vendor: other, grant_type: client_credentials, settings: {region: eu, code: A1}",
			`settings.code: "A1" will not do: it is of the form ^[a-z]+$`},
		{"missing", "vendor: other, grant_type: client_credentials", `settings.region: is missing`},
		{"no plugin", "vendor: acme", `vendor: core: there is no adapter for vendor "acme" in the AdapterMap`},
		{"dead plugin", "vendor: dead", `vendor: the plugin of dead does not say what it is: the process is gone`},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := load(t, "data_dir: d\nnats: {auth: none}\nclients: [{name: a, client_id: x, client_secret: {env: ADOBE_SECRET}, "+c.client+"}]\n")
			if err != nil {
				t.Fatal(err)
			}
			err = cfg.CheckSettings(t.Context(), adapters())
			if want := "  clients[0]." + c.want; err == nil || err.Error() != want {
				t.Errorf("got\n%v\nwant\n%s", err, want)
			}
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

// TestURLSettingsOfAllVendorsHaveWords holds that the words for the pattern of a URL are those for the adapters'.
func TestURLSettingsOfAllVendorsHaveWords(t *testing.T) {
	for vendor, setting := range map[string]string{"adobesign": "web_url", "dropboxsign": "app_url", "esignglobal": "account_url"} {
		cfg := esignd.Config{Clients: []esignd.Client{{Vendor: vendor, Settings: map[string]string{setting: "ftp://a"}}}}
		if err := cfg.CheckSettings(t.Context(), adapters()); err == nil || !strings.Contains(err.Error(), "it takes an https URL") {
			t.Errorf("%s: got %v", vendor, err)
		}
	}
}

func TestSchemaOfAPluginReadsNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.json")
	if err := os.WriteFile(path, []byte(`{"type":"object"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := esignd.CompileSchema([]byte(`{"$ref":"file://` + path + `"}`)); err == nil {
		t.Error("a schema that refers to a file of this machine was compiled")
	}
}
