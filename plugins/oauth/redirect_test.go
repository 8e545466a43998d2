package oauth_test

import (
	"net/url"
	"testing"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/oauth"
)

func TestCallbackReadsCodeOrDenial(t *testing.T) {
	for query, want := range map[string]struct{ code, denied string }{
		"code=c&state=s":                          {"c", ""},
		"code=+c+&state=s":                        {"c", ""},
		"state=s":                                 {"", "access_denied"},
		"":                                        {"", "access_denied"},
		"code=&state=s":                           {"", "access_denied"},
		"error=ACCESS_DENIED&state=s":             {"", "access_denied"},
		"error=temporarily_unavailable":           {"", "temporarily_unavailable"},
		"error=" + vendorCanary:                   {"", "server_error"},
		"code=c&error=invalid_scope":              {"", "invalid_scope"},
		"error=invalid_request&error=x&code=c":    {"error", ""},
		"code=c&code=d":                           {"error", ""},
		"code=c&state=s&state=t":                  {"error", ""},
		"code=c&error_description=a&hint=b&hint=": {"c", ""},
	} {
		params, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		got, err := oauth.Callback(params)
		if want.code == "error" {
			if e := vendorError(t, err); e.Code != core.CodeInvalidRequest || e.Outcome != core.NotSent {
				t.Errorf("%s: %v", query, e)
			}
			continue
		}
		if err != nil || got.Code.Reveal() != want.code || got.Denied != want.denied {
			t.Errorf("%s: code %q, denied %q, %v", query, got.Code.Reveal(), got.Denied, err)
		}
	}
}

func TestAuthorizationURLLeavesOutWhatIsEmpty(t *testing.T) {
	page, err := url.Parse("https://vendor.example/oauth")
	if err != nil {
		t.Fatal(err)
	}
	got := oauth.AuthorizationURL(page, url.Values{"scope": {"a b"}, "state": {""}, "none": nil, "redirect_uri": {"https://us/cb?x=1"}})
	if want := "https://vendor.example/oauth?redirect_uri=https%3A%2F%2Fus%2Fcb%3Fx%3D1&scope=a+b"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
