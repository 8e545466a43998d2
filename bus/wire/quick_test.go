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
		if got := wire.AppendToken(nil, &tok); string(got) != string(want) {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// What a TokenText keeps never shows: whatever token came before, the next is written as it is.
func TestTokenTextsAreOfTheTokenThatIsWritten(t *testing.T) {
	one := core.Token{
		Grant: "g", Tenant: "t", Client: "c", Vendor: "v", Account: "a", AccessToken: core.NewSecret("at"), TokenType: "Bearer",
		ExpiresAt: time.Unix(1_800_000_000, 0), ExpiresIn: 90 * time.Second, Scope: []string{"s"}, APIBaseURL: "u", Generation: 1,
	}
	changes := map[string]func(*core.Token){
		"nothing": func(*core.Token) {}, "seconds": func(t *core.Token) { t.ExpiresIn -= time.Second }, "grant": func(t *core.Token) { t.Grant = "h" },
		"tenant": func(t *core.Token) { t.Tenant = "u" }, "client": func(t *core.Token) { t.Client = "d" }, "vendor": func(t *core.Token) { t.Vendor = "w" },
		"account": func(t *core.Token) { t.Account = "b" }, "token": func(t *core.Token) { t.AccessToken = core.NewSecret("bu") },
		"type": func(t *core.Token) { t.TokenType = "MAC" }, "end": func(t *core.Token) { t.ExpiresAt = t.ExpiresAt.Add(time.Second) },
		"scope": func(t *core.Token) { t.Scope = []string{"s", "r"} }, "address": func(t *core.Token) { t.APIBaseURL = "x" },
		"generation": func(t *core.Token) { t.Generation++ }, "warning": func(t *core.Token) { t.Warnings = []core.Warning{core.WarnMinTTLUnmet} },
	}
	for name, change := range changes {
		other := one
		change(&other)
		var text wire.TokenText
		for i, tok := range []core.Token{one, other, other, one} {
			if got, want := string(text.AppendTo(nil, &tok)), string(wire.AppendToken(nil, &tok)); got != want {
				t.Errorf("another %s, %d: got\n%s\nwant\n%s", name, i, got, want)
			}
		}
	}
}
