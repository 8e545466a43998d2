package oauth_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/oauth"
)

// answered returns what Token makes of a 200 with the body.
func answered(t *testing.T, e oauth.Endpoint, contentType, body string) (oauth.Response, error) {
	t.Helper()
	base, _ := vendor(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", "Sun, 06 Nov 1994 08:49:37 GMT") // Unix 784111777
		answers(200, contentType, body)(w, r)
	})
	e.TokenURL = base
	return oauth.NewClient(oauth.Config{}).Token(t.Context(), e, refresh())
}

func TestTokenReadsExpiresIn(t *testing.T) {
	epoch, remaining := oauth.Endpoint{EpochExpiry: true}, oauth.Endpoint{RemainingExpiry: true}
	year := 365 * 24 * time.Hour
	for _, tt := range []struct {
		name     string
		endpoint oauth.Endpoint
		value    string // of expires_in; "" leaves it out
		want     time.Duration
	}{
		{"number", oauth.Endpoint{}, `3600`, time.Hour},
		{"fraction", oauth.Endpoint{}, `3599.9`, 3599 * time.Second},
		{"exponent", oauth.Endpoint{}, `3.6e3`, time.Hour},
		{"text", oauth.Endpoint{}, `" 3600 "`, time.Hour},
		{"missing", oauth.Endpoint{}, ``, 0},
		{"null", oauth.Endpoint{}, `null`, 0},
		{"empty text", oauth.Endpoint{}, `""`, 0},
		{"no number", oauth.Endpoint{}, `"soon"`, 0},
		{"not a number", oauth.Endpoint{}, `"NaN"`, 0},
		{"infinite", oauth.Endpoint{}, `"Inf"`, 0},
		{"object", oauth.Endpoint{}, `{}`, 0},
		{"zero", oauth.Endpoint{}, `0`, 0},
		{"negative", oauth.Endpoint{}, `-3600`, 0},
		{"zero remaining", remaining, `0`, time.Second},
		{"negative remaining", remaining, `-1`, time.Second},
		{"missing remaining", remaining, ``, 0},
		{"remaining", remaining, `86398`, 86398 * time.Second},
		{"decades", oauth.Endpoint{}, `900000000`, year},
		{"an epoch where none is", oauth.Endpoint{}, `1784111777`, 0},
		{"no time at all", oauth.Endpoint{}, `1e18`, 0},
		{"beyond floats", oauth.Endpoint{}, `1e999`, 0},
		{"seconds where epochs are", epoch, `86400`, 24 * time.Hour},
		{"epoch far ahead", epoch, `1784111777`, year},
		{"epoch in milliseconds", epoch, `784111777000`, 0},
		{"largest epoch", epoch, `1e11`, year},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := `{"access_token":"at"}`
			if tt.value != "" {
				body = `{"access_token":"at","expires_in":` + tt.value + `}`
			}
			got, err := answered(t, tt.endpoint, "application/json", body)
			if err != nil {
				t.Fatal(err)
			}
			if got.ExpiresIn != tt.want {
				t.Errorf("%v, want %v", got.ExpiresIn, tt.want)
			}
		})
	}
}

func TestTokenSetsAnEpochAgainstTheVendorsClock(t *testing.T) {
	const now = 2000000000
	for name, tt := range map[string]struct {
		epoch int
		want  time.Duration
	}{
		"ahead": {now + 86400, 24 * time.Hour},
		"now":   {now, 0},
		"past":  {now - 60, 0},
	} {
		base, _ := vendor(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Unix(now, 0).UTC().Format(http.TimeFormat))
			answers(200, "application/json", fmt.Sprintf(`{"access_token":"at","expires_in":%d}`, tt.epoch))(w, r)
		})
		e := oauth.Endpoint{TokenURL: base, EpochExpiry: true}
		got, err := oauth.NewClient(oauth.Config{}).Token(t.Context(), e, refresh())
		if err != nil || got.ExpiresIn != tt.want {
			t.Errorf("%s: %v %v, want %v", name, got.ExpiresIn, err, tt.want)
		}
	}
}

func TestTokenToleratesOddAnswers(t *testing.T) {
	long := strings.Repeat("x", 30<<10)
	for name, tt := range map[string]struct {
		contentType, body string
		want              oauth.Response
	}{
		"stray spaces":       {"application/json", " {\"access_token\":\" at\\n\",\"refresh_token\":\"rt* \"}\n", plain("at", "rt*")},
		"another charset":    {"application/json; charset=iso-8859-1", "{\"access_token\":\"at\",\"message\":\"\xe9\"}", plain("at", "")},
		"byte order mark":    {"application/json", "\ufeff" + `{"access_token":"at"}`, plain("at", "")},
		"no content type":    {"text/plain", `{"access_token":"at","refresh_token":null,"scope":null,"error":null}`, plain("at", "")},
		"empty error":        {"application/json", `{"access_token":"at","error":"","code":0}`, plain("at", "")},
		"twice":              {"application/json", `{"access_token":"first","access_token":"at"}`, plain("at", "")},
		"exact names":        {"application/json", `{"access_token":"at","Access_Token":"other","ERROR":"x"}`, plain("at", "")},
		"long token":         {"application/json", `{"access_token":"` + long + `"}`, plain(long, "")},
		"Bearer in any case": {"application/json", `{"access_token":"at","token_type":"BEARER"}`, plain("at", "")},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := answered(t, oauth.Endpoint{}, tt.contentType, tt.body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(reveal(tt.want), reveal(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func plain(access, refresh string) oauth.Response {
	return oauth.Response{TokenResponse: core.TokenResponse{
		AccessToken: core.NewSecret(access), RefreshToken: core.NewSecret(refresh), TokenType: "Bearer",
	}}
}

// reveal makes responses comparable.
func reveal(r oauth.Response) map[string]any {
	return map[string]any{
		"access": r.AccessToken.Reveal(), "refresh": r.RefreshToken.Reveal(), "type": r.TokenType,
		"expires": r.ExpiresIn, "scope": r.Scope,
	}
}

func TestTokenRefusesUnusableTokens(t *testing.T) {
	for name, body := range map[string]string{
		"empty":                 `{"access_token":""}`,
		"spaces":                `{"access_token":"  "}`,
		"number":                `{"access_token":1}`,
		"line break":            `{"access_token":"a\r\nb"}`,
		"not ASCII":             `{"access_token":"ä"}`,
		"not UTF-8":             "{\"access_token\":\"a\xff\"}",
		"endless":               `{"access_token":"` + strings.Repeat("x", 40<<10) + `"}`,
		"refresh, no text":      `{"access_token":"at","refresh_token":{}}`,
		"refresh, not ASCII":    `{"access_token":"at","refresh_token":"ä"}`,
		"type, no text":         `{"access_token":"at","token_type":1}`,
		"type with a space":     `{"access_token":"at","token_type":"a b"}`,
		"type without end":      `{"access_token":"at","token_type":"` + strings.Repeat("x", 65) + `"}`,
		"something after it":    `{"access_token":"at"}{}`,
		"deeper than it may be": strings.Repeat("[", 100000),
	} {
		_, err := answered(t, oauth.Endpoint{}, "application/json", body)
		if got := vendorError(t, err); got.Code != core.CodeMalformedResponse || got.Outcome != core.Unknown {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestTokenKeepsOnlyScopes(t *testing.T) {
	got, err := answered(t, oauth.Endpoint{}, "application/json",
		`{"access_token":"at","scope":"agreement_send:account \"x\"  <b> ä read-write"}`)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"agreement_send:account", "<b>", "read-write"}, got.Scope); diff != "" {
		t.Error(diff)
	}
}

func TestTokenReturnsTheExtraMembersAskedFor(t *testing.T) {
	got, err := answered(t, oauth.Endpoint{Extra: []string{"host", "id", "number", "long"}}, "application/json",
		`{"access_token":"at","host":" https://h/ ","number":1,"other":"x","long":"`+strings.Repeat("x", 5000)+`"}`)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"host": "https://h/"}, got.Extra); diff != "" {
		t.Error(diff)
	}
}

func TestTokenTakesABusinessCodeThatIsNot0ForAFailure(t *testing.T) {
	for code, ok := range map[string]bool{
		`0`: true, `"0"`: true, `null`: true, `""`: true, `1612`: false, `"1612"`: false, `"OK"`: false, `{}`: false,
	} {
		_, err := answered(t, oauth.Endpoint{BusinessCode: true}, "application/json", `{"access_token":"at","code":`+code+`}`)
		if ok && err != nil {
			t.Errorf("%s: %v", code, err)
		}
		if !ok {
			if e := vendorError(t, err); e.Code != core.CodeMalformedResponse || e.Outcome != core.Unknown {
				t.Errorf("%s: %v", code, e)
			}
		}
		if _, err := answered(t, oauth.Endpoint{}, "application/json", `{"access_token":"at","code":`+code+`}`); err != nil {
			t.Errorf("%s of a vendor that has no such codes: %v", code, err)
		}
	}
}
