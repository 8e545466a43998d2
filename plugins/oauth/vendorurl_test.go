package oauth_test

import (
	"strings"
	"testing"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/oauth"
)

func TestVendorURL(t *testing.T) {
	for raw, want := range map[string]string{ // "" is an error
		"https://api.vendor.example":       "https://api.vendor.example",
		"https://api.vendor.example/":      "https://api.vendor.example",
		"https://api.vendor.example:8443/": "https://api.vendor.example:8443",
		"https://vendor.example/a/b/":      "https://vendor.example/a/b",
		"HTTPS://vendor.example":           "https://vendor.example",
		"http://127.0.0.1:8080/":           "http://127.0.0.1:8080",
		"http://127.8.8.8":                 "http://127.8.8.8",
		"http://localhost:1":               "http://localhost:1",
		"http://[::1]:1":                   "http://[::1]:1",
		"https://127.0.0.1:1":              "https://127.0.0.1:1",
		"https://8.8.8.8":                  "https://8.8.8.8",

		"":                              "",
		"vendor.example":                "",
		"//vendor.example":              "",
		"https:vendor.example":          "",
		"https://":                      "",
		"https://:443":                  "",
		"ftp://vendor.example":          "",
		"http://vendor.example":         "",
		"http://localhost.evil.example": "",
		"http://0.0.0.0:80":             "",
		"http://10.0.0.1":               "",
		"https://10.0.0.1":              "",
		"https://169.254.169.254":       "",
		"https://[::ffff:10.0.0.1]":     "",
		"https://u:canary@v.example":    "",
		"https://vendor.example?x":      "",
		"https://vendor.example?":       "",
		"https://vendor.example#x":      "",
		"https://vendor.example#":       "",
		"https://vendor example":        "",
		"https://vendor.example:x":      "",
		"https://vendor.example/%zz":    "",
	} {
		u, err := oauth.VendorURL(raw)
		switch {
		case want == "" && err == nil:
			t.Errorf("%s is accepted as %s", raw, u)
		case want == "" && strings.Contains(err.Error(), "canary"):
			t.Errorf("the error shows the URL: %v", err)
		case want != "" && (err != nil || u.String() != want):
			t.Errorf("%s: %v %v, want %s", raw, u, err, want)
		}
	}
}

func TestURLSettingNamesTheSetting(t *testing.T) {
	c := core.Credentials{Settings: map[string]string{"api_url": "http://vendor.example/canary"}}
	_, err := oauth.URLSetting(c, "api_url", "https://default.example")
	got := vendorError(t, err)
	if got.Outcome != core.NotSent || got.Code != core.CodeHostRefused || !strings.Contains(got.Detail, "api_url") {
		t.Error(got)
	}
	if strings.Contains(got.Detail, "canary") {
		t.Errorf("the error shows the URL: %v", got)
	}
	if u, err := oauth.URLSetting(c, "web_url", "https://default.example"); err != nil || u.Host != "default.example" {
		t.Errorf("the default: %v %v", u, err)
	}
}

func TestTokenNotSentToAURLThatIsNotAVendors(t *testing.T) {
	for _, raw := range []string{"http://vendor.example/token", "https://10.0.0.1/token?refresh", "file:///etc/passwd", "https://u:p@v.example"} {
		_, err := oauth.NewClient(oauth.Config{}).Token(t.Context(), oauth.Endpoint{TokenURL: raw}, refresh())
		if got := vendorError(t, err); got.Outcome != core.NotSent || got.Code != core.CodeHostRefused {
			t.Errorf("%s: %v", raw, got)
		}
	}
}
