package wire_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

func TestUsualRequestsAreReadQuickly(t *testing.T) {
	for _, body := range []string{
		`{"grant":"g_1"}`, `{"client":"c","account":"a@b.example"}`, ` { "client" : "c" , "min_ttl" : 90 } `, `{"grant":"g","min_ttl":0}`,
	} {
		if _, ok := wire.QuickTokenGet([]byte(body)); !ok {
			t.Errorf("%s is not", body)
		}
	}
}

// FuzzQuickTokenGet holds that what is read quickly is read so by Decode too.
func FuzzQuickTokenGet(f *testing.F) {
	for _, body := range []string{
		``, `{}`, `{"grant":"g_1"}`, `{"grant":"g_1"} x`, `{"grant":"g","grant":"g"}`, `{"client":"c","account":"a","min_ttl":07}`, `{"min_ttl":1e1}`,
		`{"min_ttl":1234567890}`, `{"min_ttl":99999999}`, `{"grant":"\u0067"}`, `{"grant":"é"}`, `{"Grant":"g"}`, `{"grant":"g",}`, `{"grant":"g" "client":"c"}`,
		`{"client":"c","min_ttl":3,"min_ttl":3}`, `{"grant":"a.b"}`, `{"grant":""}`, `[{"grant":"g"}]`, "{\"grant\":\"g\"}\n", `{"grant":"g"}}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, ok := wire.QuickTokenGet(data)
		if !ok {
			return
		}
		want, err := wire.Decode[wire.TokenGetRequest](data)
		if err != nil {
			t.Fatalf("%q is wrong: %v", data, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q: %s", data, d)
		}
	})
}

func TestTokensAreWrittenAsTheirMessages(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~]*`), rapid.SampledFrom([]string{"", "a&b", "<>", "\x7f", "\u2028", "\xff", `"\`}))
	rapid.Check(t, func(t *rapid.T) {
		tok := core.Token{
			Grant: text.Draw(t, "grant"), Tenant: text.Draw(t, "tenant"), Client: text.Draw(t, "client"), Vendor: text.Draw(t, "vendor"),
			Account: text.Draw(t, "account"), AccessToken: core.NewSecret(text.Draw(t, "token")), TokenType: text.Draw(t, "type"),
			ExpiresAt:  time.Unix(rapid.Int64Range(0, 1<<36).Draw(t, "expires"), rapid.Int64Range(0, 999_999_999).Draw(t, "nano")),
			ExpiresIn:  time.Duration(rapid.Int64Range(0, 1<<50).Draw(t, "in")),
			Scope:      rapid.SliceOfN(text, 0, 3).Draw(t, "scope"),
			APIBaseURL: text.Draw(t, "url"), Generation: rapid.Uint64().Draw(t, "generation"),
		}
		for _, w := range rapid.SliceOfN(text, 0, 3).Draw(t, "warnings") {
			tok.Warnings = append(tok.Warnings, core.Warning(w))
		}
		want, err := json.Marshal(wire.TokenOf(tok))
		if err != nil {
			t.Fatal(err)
		}
		if got := wire.AppendToken(nil, tok); string(got) != string(want) {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}
