package dropboxsign_test

import (
	"encoding/base64"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
)

const apiKey = "api-key-CANARY"

func withKey(c core.Credentials, key string) core.Credentials {
	c.SecretSettings = map[string]core.Secret{"api_key": core.NewSecret(key)}
	return c
}

// apiVendor is vendor, with everything the API needs.
func apiVendor(t *testing.T, status int, body string) (core.AccountRequest, *request) {
	t.Helper()
	c, last := vendor(t, status, nil, body)
	c.Settings["api_url"] = c.Settings["app_url"]
	return core.AccountRequest{Client: withKey(c, apiKey), EmailAddress: "a@b"}, last
}

// asOwner is HTTP Basic with the API key as user name and no password.
var asOwner = "Basic " + base64.StdEncoding.EncodeToString([]byte(apiKey+":"))

// refusal is a row of what both calls have in common: what the vendor answers where it does not do what was asked.
type refusal struct {
	status  int
	body    string
	outcome core.Outcome
	code    string
}

func refusals() map[string]refusal {
	return map[string]refusal{
		"bad request":           {400, `{"error":{"error_msg":"CANARY","error_name":"bad_request"}}`, core.Refused, core.CodeInvalidRequest},
		"conflict":              {409, `{"error":{"error_msg":"CANARY","error_name":"conflict"}}`, core.Refused, core.CodeInvalidRequest},
		"API key refused":       {401, `{"error":{"error_msg":"CANARY","error_name":"unauthorized"}}`, core.Refused, core.CodeAccessDenied},
		"may not":               {403, `{"error":{"error_msg":"CANARY","error_name":"forbidden"}}`, core.Refused, core.CodeAccessDenied},
		"to be paid":            {402, `{"error":{"error_msg":"CANARY","error_name":"payment_required"}}`, core.Refused, core.CodeHTTPError},
		"no error name":         {400, `{"CANARY":1}`, core.Refused, core.CodeInvalidRequest},
		"HTML in a 400":         {400, `<html>CANARY`, core.Refused, core.CodeInvalidRequest},
		"throttled":             {429, `{"error":{"error_msg":"CANARY","error_name":"exceeded_rate"}}`, core.Refused, core.CodeRateLimited},
		"vendor is away":        {503, ``, core.Refused, core.CodeUnavailable},
		"vendor is broken":      {500, `<html>CANARY`, core.Unknown, core.CodeHTTPError},
		"broken, and not found": {500, `{"error":{"error_msg":"CANARY","error_name":"not_found"}}`, core.Unknown, core.CodeHTTPError},
		"redirect":              {302, ``, core.Unknown, core.CodeRedirected},
		"HTML in a 200":         {200, `<html>CANARY`, core.Unknown, core.CodeMalformedResponse},
		"error in a 200":        {200, `{"error":{"error_msg":"CANARY","error_name":"unknown"}}`, core.Unknown, core.CodeMalformedResponse},
		"id of an odd type":     {200, `{"account":{"account_id":1},"oauth_data":{"access_token":"at"}}`, core.Unknown, core.CodeMalformedResponse},
		"account an odd type":   {200, `{"account":"CANARY"}`, core.Unknown, core.CodeMalformedResponse},
	}
}

func (r refusal) check(t *testing.T, name string, err error) {
	t.Helper()
	e := core.AsVendorError(err)
	if err == nil || e.Outcome != r.outcome || e.Code != r.code || e.Status != r.status {
		t.Errorf("%s: %v", name, err)
		return
	}
	if strings.Contains(err.Error(), "CANARY") {
		t.Errorf("%s: the vendor's text or the API key is in %v", name, err)
	}
	if r.code == core.CodeAccessDenied && !strings.Contains(e.Detail, "api_key") {
		t.Errorf("%s: the setting is not named: %v", name, err)
	}
}

func TestAccountCheckReadsEveryAnswer(t *testing.T) {
	const none = `{"error":{"error_msg":"Account not found","error_name":"not_found"}}`
	for name, tt := range map[string]struct {
		status int
		body   string
		want   core.AccountLookup
	}{
		"found":                  {200, `{"account":{"account_id":"1","email_address":"a@b"}}`, core.AccountLookup{Exists: true, AccountID: "1"}},
		"found, without its id":  {200, `{"account":{"email_address":"a@b"}}`, core.AccountLookup{Exists: true}},
		"found, with a null id":  {200, `{"account":{"account_id":null,"email_address":"a@b"},"error":null}`, core.AccountLookup{Exists: true}},
		"empty object":           {200, `{}`, core.AccountLookup{}},
		"null account":           {200, `{"account":null}`, core.AccountLookup{}},
		"not found in a 200":     {200, none, core.AccountLookup{}},
		"not found in a 400":     {400, none, core.AccountLookup{}},
		"not found in a 404":     {404, none, core.AccountLookup{}},
		"not found, in capitals": {404, strings.Replace(none, "not_found", "NOT_FOUND", 1), core.AccountLookup{}},
	} {
		r, last := apiVendor(t, tt.status, tt.body)
		if got, err := adapter().VerifyAccount(t.Context(), r); got != tt.want || err != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if last.Target != "POST /v3/account/verify" || last.Authorization != asOwner || len(last.JSON) != 1 || last.JSON["email_address"] != "a@b" {
			t.Errorf("%s: the vendor saw %+v", name, *last)
		}
	}
	for name, tt := range refusals() {
		r, _ := apiVendor(t, tt.status, tt.body)
		got, err := adapter().VerifyAccount(t.Context(), r)
		if got != (core.AccountLookup{}) {
			t.Errorf("%s: %+v beside an error", name, got)
		}
		tt.check(t, name, err)
	}
}

func TestAccountCreationReadsEveryAnswer(t *testing.T) {
	for name, body := range map[string]string{
		"as documented": `{"account":{"account_id":"1","email_address":"a@b","callback_url":null},"oauth_data":{"access_token":"at","token_type":"Bearer","refresh_token":"rt","expires_in":86400}}`,
		"with warnings": `{"account":{"account_id":"1"},"oauth_data":{"access_token":"at","token_type":"Bearer","refresh_token":"rt","expires_in":86400},"warnings":[{"warning_msg":"x","warning_name":"y"}]}`,
		"odd warnings":  `{"warnings":7,"account":{"account_id":"1"},"oauth_data":{"access_token":"at","refresh_token":"rt","expires_in":"86400"}}`,
	} {
		r, last := apiVendor(t, 200, body)
		got, err := adapter().CreateAccount(t.Context(), r)
		if err != nil || got.AccountID != "1" || got.Tokens.AccountID != "1" || got.Tokens.AccessToken.Reveal() != "at" ||
			got.Tokens.RefreshToken.Reveal() != "rt" || got.Tokens.TokenType != "Bearer" || got.Tokens.ExpiresIn != 24*time.Hour ||
			got.Tokens.APIBaseURL != r.Client.Settings["api_url"] {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		want := map[string]string{"client_id": "id", "client_secret": "secret", "email_address": "a@b"}
		if last.Target != "POST /v3/account/create" || last.Authorization != asOwner || !maps.Equal(last.JSON, want) {
			t.Errorf("%s: the vendor saw %+v", name, *last)
		}
	}
	more := refusals()
	more["no account"] = refusal{200, `{"oauth_data":{"access_token":"at"}}`, core.Unknown, core.CodeMalformedResponse}
	more["no tokens"] = refusal{200, `{"account":{"account_id":"1"}}`, core.Unknown, core.CodeMalformedResponse}
	more["no access token"] = refusal{200, `{"account":{"account_id":"1"},"oauth_data":{"refresh_token":"CANARY"}}`, core.Unknown, core.CodeMalformedResponse}
	more["tokens of odd types"] = refusal{200, `{"account":{"account_id":"1"},"oauth_data":{"access_token":7}}`, core.Unknown, core.CodeMalformedResponse}
	more["client refused"] = refusal{400, `{"error":{"error_msg":"CANARY","error_name":"invalid_client"}}`, core.Refused, core.CodeInvalidClient}
	more["nothing there"] = refusal{404, `{"error":{"error_msg":"CANARY","error_name":"not_found"}}`, core.Refused, core.CodeHTTPError}
	for name, tt := range more {
		r, _ := apiVendor(t, tt.status, tt.body)
		got, err := adapter().CreateAccount(t.Context(), r)
		if got.AccountID != "" || !got.Tokens.AccessToken.IsZero() {
			t.Errorf("%s: %+v beside an error", name, got)
		}
		tt.check(t, name, err)
	}
}

func TestAccountCreationReadsAnEpoch(t *testing.T) {
	until := time.Now().Add(2 * time.Hour)
	r, _ := apiVendor(t, 200, `{"account":{"account_id":"1"},"oauth_data":{"access_token":"at","expires_in":`+epoch(until)+`}}`)
	got, err := adapter().CreateAccount(t.Context(), r)
	if d := got.Tokens.ExpiresIn; err != nil || d < 119*time.Minute || d > 121*time.Minute {
		t.Errorf("%v, %v", d, err)
	}
}

func TestAccountsAndEventsNeedTheAPIKey(t *testing.T) {
	for name, c := range map[string]func(core.Credentials) core.Credentials{
		"absent": func(c core.Credentials) core.Credentials { return c },
		"empty":  func(c core.Credentials) core.Credentials { return withKey(c, "") },
	} {
		r, last := apiVendor(t, 200, `{}`)
		r.Client.SecretSettings = nil
		r.Client = c(r.Client)
		_, verify := adapter().VerifyAccount(t.Context(), r)
		_, create := adapter().CreateAccount(t.Context(), r)
		_, event := adapter().ReadEvent(t.Context(), core.EventRequest{Client: r.Client})
		for call, err := range map[string]error{"verify": verify, "create": create, "event": event} {
			if e := core.AsVendorError(err); e.Outcome != core.NotSent || e.Code != core.CodeInvalidRequest || !strings.Contains(e.Detail, "api_key") {
				t.Errorf("%s, %s: %v", name, call, err)
			}
		}
		if last.Target != "" {
			t.Errorf("%s: the vendor was asked %s", name, last.Target)
		}
	}
}

// What throttles the API says when to come back as at the token endpoint.
func TestThrottledAccountCheckSaysWhen(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	c, _ := vendor(t, 429, http.Header{
		"Date": {now.UTC().Format(http.TimeFormat)}, "X-Ratelimit-Reset": {epoch(now.Add(9 * time.Second))},
	}, `{"error":{"error_msg":"x","error_name":"exceeded_rate"}}`)
	c.Settings["api_url"] = c.Settings["app_url"]
	_, err := adapter().VerifyAccount(t.Context(), core.AccountRequest{Client: withKey(c, apiKey), EmailAddress: "a@b"})
	if e := core.AsVendorError(err); e.Code != core.CodeRateLimited || e.RetryAfter != 9*time.Second {
		t.Error(err)
	}
}
