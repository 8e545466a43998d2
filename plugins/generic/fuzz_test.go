package generic

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/esignd/esignd/core"
)

// FuzzMetadataDocument holds that whatever a server says of itself, the endpoints that come out are those of the issuer
// that was asked, and may be called.
func FuzzMetadataDocument(f *testing.F) {
	const issuer, local = "https://as.example/tenant", "http://127.0.0.1:4000"
	for _, body := range []string{
		`{"issuer":"https://as.example/tenant","authorization_endpoint":"https://as.example/tenant/auth","token_endpoint":"https://as.example/t/?v=1",` +
			`"revocation_endpoint":"https://api.example/revoke","authorization_response_iss_parameter_supported":true}`,
		`{"issuer":"http://127.0.0.1:4000","token_endpoint":"http://127.0.0.1:4001/token"}`,
		`{"issuer":"https://as.example/tenant","token_endpoint":"http://127.0.0.1:4001/token"}`,
		`{"issuer":"https://as.example/tenant","token_endpoint":"https://user@[::1]:1/?#"}`,
		`{"issuer":"https://as.example/tenant","token_endpoint":null,"revocation_endpoint":7}`,
		`{"issuer":"https://as.example/tenant/"}`, `{"issuer":["https://as.example/tenant"]}`, `{}`, `null`, `[]`, ``,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var members map[string]json.RawMessage
		if json.Unmarshal(body, &members) != nil {
			return
		}
		for _, asked := range []string{issuer, local} {
			at, err := url.Parse(asked)
			if err != nil {
				t.Fatal(err)
			}
			d, err := parseDocument(members, asked, at)
			if err != nil {
				checkRefusal(t, err)
				continue
			}
			for name, raw := range d.urls {
				checkNamed(t, name, raw, at)
			}
		}
	})
}

func checkRefusal(t *testing.T, err error) {
	var e *core.VendorError
	if !errors.As(err, &e) || e.Outcome != core.NotSent || e.Code != core.CodeMalformedResponse && e.Code != core.CodeHostRefused {
		t.Errorf("%T %v", err, err)
	}
}

func checkNamed(t *testing.T, name, raw string, issuer *url.URL) {
	if !slices.Contains([]string{authorizationURL, tokenURL, revocationURL}, name) {
		t.Errorf("an endpoint %s", name)
	}
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Fragment != "" || strings.Contains(raw, "#") || u.Host == "" {
		t.Errorf("%q %v", raw, err)
		return
	}
	if issuer.Scheme == "http" && !strings.EqualFold(u.Hostname(), issuer.Hostname()) {
		t.Errorf("a loopback issuer leads to %q", raw)
	}
	if issuer.Scheme == "https" && (u.Scheme != "https" || u.Hostname() == "localhost" || strings.HasPrefix(u.Hostname(), "127.")) {
		t.Errorf("the issuer leads to %q", raw)
	}
}
