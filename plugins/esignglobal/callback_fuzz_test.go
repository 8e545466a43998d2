package esignglobal_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/esignd/esignd/core"
)

// FuzzCallback lets anybody who has the callback's address send what they like.
func FuzzCallback(f *testing.F) {
	for _, query := range []string{
		"code=c&state=s", "code=c", "error=access_denied&state=s", "error=ACCESS_DENIED", "error=canary", "", "state=s", "code=&error=",
		"code=c&code=d", "code=c&state=a&state=b", "code=+c+", "code=c&error=invalid_scope", "code=%00&state=%ff", "CODE=c", "%zz", "code=c;error=x",
	} {
		f.Add(query)
	}
	denials := []string{
		"", "invalid_request", "unauthorized_client", "access_denied", "unsupported_response_type", "invalid_scope", "server_error",
		"temporarily_unavailable",
	}
	f.Fuzz(func(t *testing.T, query string) {
		params, _ := url.ParseQuery(query)
		got, err := adapter().Callback(t.Context(), core.CallbackRequest{Client: client(nil), Params: params})
		if err != nil {
			e := core.AsVendorError(err)
			if e.Outcome != core.NotSent || e.Code != core.CodeInvalidRequest || got != (core.CallbackResult{}) {
				t.Errorf("%q: %+v %v", query, got, err)
			}
			return
		}
		if got.Code.IsZero() == (got.Denied == "") || !slices.Contains(denials, got.Denied) || got.APIBaseURL != "" {
			t.Errorf("%q is neither a code nor a denial: %+v", query, got)
		}
		if got.Denied == "" && got.Code.Reveal() != strings.TrimSpace(params.Get("code")) {
			t.Errorf("%q has another code", query)
		}
	})
}
