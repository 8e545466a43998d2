package adobesign_test

import (
	"strings"
	"testing"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/adobesign"
)

func TestCheckAPIBaseURLAcceptsAdobesHostsAndNoOther(t *testing.T) {
	for raw, want := range map[string]string{ // "" is refused
		"https://api.na1.adobesign.com/":               "https://api.na1.adobesign.com",
		" https://api.eu1.adobesign.com ":              "https://api.eu1.adobesign.com",
		"https://API.JP1.AdobeSign.com":                "https://api.jp1.adobesign.com",
		"https://secure.in1.adobesign.com/":            "https://secure.in1.adobesign.com",
		"https://api.na12.echosign.com/":               "https://api.na12.echosign.com",
		"https://api.adobesign.com/":                   "https://api.adobesign.com",
		"https://secure.echosign.com":                  "https://secure.echosign.com",
		"https://api.na1.adobesignsandbox.com/":        "https://api.na1.adobesignsandbox.com",
		"https://secure.adobesignsandbox.com/":         "https://secure.adobesignsandbox.com",
		"":                                             "",
		"api.na1.adobesign.com":                        "",
		"http://api.na1.adobesign.com/":                "",
		"https://api.na1.adobesign.com:443/":           "",
		"https://api.na1.adobesign.com:/":              "",
		"https://user@api.na1.adobesign.com/":          "",
		"https://api.na1.adobesign.com@evil.example":   "",
		"https://api.na1.adobesign.com/path":           "",
		"https://api.na1.adobesign.com/?q":             "",
		"https://api.na1.adobesign.com/?":              "",
		"https://api.na1.adobesign.com/#f":             "",
		"https://api.na1.adobesign.com.":               "",
		"https://evil.api.na1.adobesign.com":           "",
		"https://api.na1.adobesign.com.evil.example":   "",
		"https://api.na1.evil.adobesign.com":           "",
		"https://api.na1xadobesign.com":                "",
		"https://apixna1.adobesign.com":                "",
		"https://api.na1.adobesign.co":                 "",
		"https://adobesign.com":                        "",
		"https://api.na1.adobesign.us/":                "", // the service for government is another vendor
		"https://www.adobesign.com":                    "",
		"https://api.n\u0430" + "1.adobesign.com":      "", // a Cyrillic letter
		"https://api.na1.adobesign.com%2eevil.example": "",
		"https://api.na1.adobesign.com\\.evil.example": "",
		"https://127.0.0.1":                            "",
		"http://localhost:8080":                        "",
		"javascript:alert(1)":                          "",
	} {
		checkHost(t, nil, raw, want)
	}
}

func TestCheckAPIBaseURLWithALoopbackSettingIsThatHostOnAnyPort(t *testing.T) {
	sandbox := map[string]string{"web_url": "http://127.0.0.1:4000", "api_url": "http://127.0.0.1:4001/"}
	for raw, want := range map[string]string{
		"http://127.0.0.1:4001/":         "http://127.0.0.1:4001",
		"http://127.0.0.1:5555":          "http://127.0.0.1:5555",
		"https://127.0.0.1:5555/":        "https://127.0.0.1:5555",
		"http://127.0.0.2:4001":          "",
		"http://localhost:4001":          "",
		"http://127.0.0.1:4001/p":        "",
		"http://u@127.0.0.1:4001/":       "",
		"ftp://127.0.0.1:4001/":          "",
		"https://api.na1.adobesign.com/": "",
	} {
		checkHost(t, sandbox, raw, want)
	}
	checkHost(t, map[string]string{"api_url": "http://localhost:1"}, "http://LOCALHOST:9/", "http://localhost:9")
	checkHost(t, map[string]string{"web_url": "http://localhost:1"}, "http://localhost:9/", "http://localhost:9")
}

func TestCheckAPIBaseURLAcceptsTheConfiguredHost(t *testing.T) {
	own := map[string]string{"api_url": "https://sign.corp.example:8443/adobe/"}
	checkHost(t, own, "https://sign.corp.example:8443/adobe", "https://sign.corp.example:8443/adobe")
	checkHost(t, own, "https://sign.corp.example:8444/adobe", "")
	checkHost(t, own, "https://api.na1.adobesign.com/", "https://api.na1.adobesign.com")
}

func checkHost(t *testing.T, settings map[string]string, raw, want string) {
	t.Helper()
	got, err := adobesign.New(adobesign.Config{}).CheckAPIBaseURL(t.Context(), client(settings), raw)
	switch {
	case want == "" && err == nil:
		t.Errorf("%q is accepted as %s", raw, got)
	case want == "" && (core.AsVendorError(err).Code != core.CodeHostRefused || strings.Contains(err.Error(), "evil")):
		t.Errorf("%q: %v", raw, err)
	case want != "" && (err != nil || got != want):
		t.Errorf("%q: %s %v, want %s", raw, got, err, want)
	}
}

func FuzzCheckAPIBaseURL(f *testing.F) {
	for _, raw := range []string{"https://api.na1.adobesign.com/", "https://u@secure.echosign.com:1/?#", "http://127.0.0.1", "//"} {
		f.Add(raw)
	}
	adapter := adobesign.New(adobesign.Config{})
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := adapter.CheckAPIBaseURL(t.Context(), client(nil), raw)
		if err != nil {
			return
		}
		again, err := adapter.CheckAPIBaseURL(t.Context(), client(nil), got)
		if err != nil || again != got {
			t.Errorf("%q gives %q, which gives %q %v", raw, got, again, err)
		}
		host, _ := strings.CutPrefix(got, "https://")
		if strings.ContainsAny(host, "/:@?# ") || !strings.HasSuffix(host, "sign.com") && !strings.HasSuffix(host, "signsandbox.com") {
			t.Errorf("%q is accepted as %q", raw, got)
		}
	})
}
