package adobesign_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/adobesign"
)

// FuzzCallback lets anybody who has the callback's address send what they like.
func FuzzCallback(f *testing.F) {
	for _, query := range []string{
		"code=CBNCKBAA&state=s&api_access_point=https%3A%2F%2Fapi.na1.echosign.com%2F&web_access_point=https%3A%2F%2Fsecure.na1.echosign.com%2F",
		"code=CBNCKBAA&state=s", "error=ACCESS_DENIED&state=s", "error=invalid_scope&error_description=x", "", "state=s", "code=&error=",
		"code=c&code=d", "code=c&api_access_point=https://evil.example/", "code=c&api_access_point=a&api_access_point=b",
		"code=c&api_access_point=+https://api.eu1.adobesign.com+", "code=c&api_access_point=https://api.na1.adobesign.com@evil.example",
		"code=c&api_access_point=https://API.na1.adobesign.com:443/", "code=%00&state=%ff", "CODE=c&Error=x", "%zz", "code=c;error=x",
	} {
		f.Add(query)
	}
	adapter := adobesign.New(adobesign.Config{})
	denials := []string{
		"", "invalid_request", "unauthorized_client", "access_denied", "unsupported_response_type", "invalid_scope", "server_error",
		"temporarily_unavailable",
	}
	f.Fuzz(func(t *testing.T, query string) {
		params, _ := url.ParseQuery(query)
		got, err := adapter.Callback(t.Context(), core.CallbackRequest{Client: client(nil), Params: params})
		if err != nil {
			if e := core.AsVendorError(err); e.Outcome != core.NotSent || e.Code == core.CodeInternal || got != (core.CallbackResult{}) {
				t.Errorf("%q: %+v %v", query, got, err)
			}
			return
		}
		if got.Code.IsZero() == (got.Denied == "") || !slices.Contains(denials, got.Denied) {
			t.Errorf("%q is neither a code nor a denial: %+v", query, got)
		}
		if code := got.Code.Reveal(); code != strings.TrimSpace(params.Get("code")) && got.Denied == "" {
			t.Errorf("%q has another code", query)
		}
		if got.APIBaseURL == "" {
			return
		}
		again, err := adapter.CheckAPIBaseURL(t.Context(), client(nil), got.APIBaseURL)
		if err != nil || again != got.APIBaseURL || got.Denied != "" {
			t.Errorf("%q: host %q, checked again %q %v", query, got.APIBaseURL, again, err)
		}
	})
}
