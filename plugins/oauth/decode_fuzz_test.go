package oauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
)

func FuzzTokenAnswer(f *testing.F) {
	for _, body := range []string{
		`{"access_token":"at","token_type":"bearer","expires_in":3600,"refresh_token":"rt","scope":"a b"}`,
		`{"access_token":"at","expires_in":"1e18","error":""}`, `{"access_token":"at","expires_in":1900000000}`,
		`{"error":"INVALID_GRANT"}`, `{"error":{"error_name":"invalid_grant"}}`, `{"code":"1","message":"x","retryAfter":1}`,
		`null`, `[]`, ``, "\ufeff{}", `{"access_token":"at","access_token":null}`, "<html>",
	} {
		f.Add(200, []byte(body), "30")
		f.Add(400, []byte(body), "Sun, 06 Nov 1994 08:49:37 GMT")
		f.Add(429, []byte(body), "-1")
	}
	f.Fuzz(func(t *testing.T, status int, body []byte, header string) {
		a := answer{
			host: "vendor", status: status, members: parseMembers(body), time: time.Unix(1800000000, 0),
			header: http.Header{"Retry-After": {header}, "X-Ratelimit-Reset": {header}},
		}
		checkFailure(t, a.failure())
		for _, e := range []Endpoint{{}, {EpochExpiry: true, Extra: []string{"error"}}, {RemainingExpiry: true}, {BusinessCode: true}} {
			response, err := a.token(e)
			if err != nil {
				var vendorErr *core.VendorError
				if !errors.As(err, &vendorErr) {
					t.Fatalf("error is %T", err)
				}
				checkFailure(t, vendorErr)
				continue
			}
			checkResponse(t, response)
		}
	})
}

// baseURIs is an answer as adapters read one with Decode.
type baseURIs struct {
	APIAccessPoint string `json:"apiAccessPoint"`
	WebAccessPoint string `json:"webAccessPoint"`
}

func FuzzAPIAnswer(f *testing.F) {
	for _, body := range []string{
		`{"apiAccessPoint":"https://api.na1.adobesign.com/","webAccessPoint":"https://secure.na1.adobesign.com/"}`,
		`{"apiAccessPoint":" https://api.eu1.adobesign.com "}`, `{"apiAccessPoint":null}`, `{"apiAccessPoint":[]}`, `{}`,
		`{"APIACCESSPOINT":"a","apiAccessPoint":"b"}`, `{"apiAccessPoint":"\ud800\u0000<"}`, "{\"apiAccessPoint\":\"\xff\"}",
		`{"apiAccessPoint":"a","apiAccessPoint":1}`, `{"code":"INVALID_ACCESS_TOKEN","message":"x"}`, `null`, `[]`, ``, "\ufeff{}", "<html>",
	} {
		f.Add(200, []byte(body))
		f.Add(403, []byte(body))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		a := APIAnswer{answer{host: "vendor", status: status, members: parseMembers(body), time: time.Unix(1800000000, 0)}}
		var got baseURIs
		err := a.Decode(&got)
		if err == nil && (!a.OK() || !json.Valid(bytes.TrimPrefix(body, []byte("\ufeff")))) {
			t.Errorf("status %d with %q is decoded", status, body)
		}
		var failed *core.VendorError
		if err != nil && !errors.As(err, &failed) {
			t.Fatalf("error is %T", err)
		}
		if failed != nil {
			checkFailure(t, failed)
		}
		if code := a.answer.vendorCode(); code != strings.ToLower(code) || code != "" && !a.Is(code) {
			t.Errorf("the code %q is not found", code)
		}
	})
}

func checkFailure(t *testing.T, e *core.VendorError) {
	if !slices.Contains(core.VendorCodes(), e.Code) {
		t.Errorf("code %q is not one of core.VendorCodes", e.Code)
	}
	if e.RetryAfter < 0 || e.RetryAfter > maxRetryAfter {
		t.Errorf("retry after %v", e.RetryAfter)
	}
	if e.Detail != "answer of vendor" {
		t.Errorf("detail %q", e.Detail)
	}
	if complete := e.Status/100 == 4 || e.Status == 503; complete != (e.Outcome == core.Refused) {
		t.Errorf("status %d is %v", e.Status, e.Outcome)
	}
}

func checkResponse(t *testing.T, r Response) {
	access := r.AccessToken.Reveal()
	if access == "" || access != strings.TrimSpace(access) || strings.ContainsAny(access, "\r\n\x00") {
		t.Errorf("access token %q", access)
	}
	if r.ExpiresIn < 0 || r.ExpiresIn > maxLifetime || r.ExpiresIn%time.Second != 0 {
		t.Errorf("expires in %v", r.ExpiresIn)
	}
	if r.TokenType == "" || strings.ContainsAny(r.TokenType, " \r\n") {
		t.Errorf("token type %q", r.TokenType)
	}
}
