package hosts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/adobesign"
	"github.com/esignd/esignd/plugins/dropboxsign"
	"github.com/esignd/esignd/plugins/esignglobal"
	"github.com/esignd/esignd/plugins/generic"
	"github.com/esignd/esignd/plugins/oauth"
)

// world is one server that stands for every https host there is, and keeps which were asked.
type world struct {
	*httptest.Server
	answer func(r *http.Request) map[string]any

	mu    sync.Mutex // guards asked
	asked []string
}

func newWorld(t *testing.T, versions *tls.Config, answer func(*http.Request) map[string]any) *world {
	t.Helper()
	w := &world{answer: answer}
	w.Server = httptest.NewUnstartedServer(w)
	w.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.TLS = versions
	w.StartTLS()
	t.Cleanup(w.Close)
	return w
}

// ServeHTTP implements http.Handler.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.asked = append(w.asked, r.Host)
	w.mu.Unlock()
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(w.answer(r))
}

func (w *world) hosts() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(w.asked)))
}

// config has every host lead to the world, whose certificate is good for all of them.
func (w *world) config() oauth.Config {
	return oauth.Config{
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, w.Listener.Addr().String())
		},
		TLS: &tls.Config{
			InsecureSkipVerify: true, // the name is not the test's subject; that the certificate is the world's, the next line says
			VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
				if !slices.Equal(raw[0], w.Certificate().Raw) {
					return x509.UnknownAuthorityError{}
				}
				return nil
			},
		},
	}
}

// vendor is an adapter, with the settings that it needs and the host that it asks for tokens.
type vendor struct {
	name     string
	new      func(oauth.Config) core.Adapter
	settings map[string]string
	host     string
}

func vendors() []vendor {
	return []vendor{
		{"adobesign", func(c oauth.Config) core.Adapter { return adobesign.New(adobesign.Config{OAuth: c}) }, nil, "api.adobesign.com"},
		{"dropboxsign", func(c oauth.Config) core.Adapter { return dropboxsign.New(dropboxsign.Config{OAuth: c}) }, nil, "app.hellosign.com"},
		{"esignglobal", func(c oauth.Config) core.Adapter { return esignglobal.New(esignglobal.Config{OAuth: c}) }, nil, "openapi-as1.esignglobal.com"},
		{"generic", func(c oauth.Config) core.Adapter { return generic.New(generic.Config{OAuth: c}) },
			map[string]string{"token_url": "https://id.vendor.example/token", "authorization_url": "https://id.vendor.example/a"}, "id.vendor.example"},
	}
}

func refresh(v vendor, base string) core.TokenRequest {
	return core.TokenRequest{
		Client:    core.Credentials{ClientID: "id", ClientSecret: core.NewSecret("secret"), Settings: v.settings},
		GrantType: core.RefreshToken, RefreshToken: core.NewSecret("rt"), AccessToken: core.NewSecret("at"), APIBaseURL: base, Reported: true,
	}
}

// TestEachVendorIsSpokenToInTLS12OrLater has servers that speak up to some version, and clients that would take any.
func TestEachVendorIsSpokenToInTLS12OrLater(t *testing.T) {
	for _, v := range vendors() {
		for version, taken := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
			w := newWorld(t, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: version}, tokenSet)
			cfg := w.config()
			cfg.TLS.MinVersion = tls.VersionTLS10
			_, err := v.new(cfg).Token(t.Context(), refresh(v, ""))
			switch {
			case taken && err != nil:
				t.Errorf("%s, %s: %v", v.name, tls.VersionName(version), err)
			case !taken && (core.AsVendorError(err).Outcome != core.NotSent || len(w.hosts()) > 0):
				t.Errorf("%s, %s: %v, asked %v", v.name, tls.VersionName(version), err, w.hosts())
			}
		}
	}
}

func tokenSet(*http.Request) map[string]any {
	return map[string]any{"access_token": "at2", "token_type": "Bearer", "expires_in": 3600}
}

// TestAnswersLeadNoVendorAstray has token answers, and Adobe's baseUris, name hosts in every member that one might read.
func TestAnswersLeadNoVendorAstray(t *testing.T) {
	for _, v := range vendors() {
		for _, raw := range slices.Concat(tricks("api.na1.adobesign.com", "adobesign.com"), elsewhere()) {
			w := newWorld(t, nil, func(r *http.Request) map[string]any {
				a := tokenSet(r)
				for _, member := range []string{
					"api_access_point", "apiAccessPoint", "web_access_point", "webAccessPoint", "api_base_url", "base_uri", "host", "instance_url", "token_endpoint", "issuer",
				} {
					a[member] = raw
				}
				return a
			})
			got, err := v.new(w.config()).Token(t.Context(), refresh(v, ""))
			if err != nil {
				t.Errorf("%s, %q: %v", v.name, raw, err)
				continue
			}
			if u, err := url.Parse(got.APIBaseURL); err != nil || got.APIBaseURL != "" && !slices.Contains(
				[]string{"api.adobesign.com", "api.hellosign.com", "openapi-as1.esignglobal.com"}, u.Host) {
				t.Errorf("%s: %q makes the API host %s", v.name, raw, got.APIBaseURL)
			}
			if asked := w.hosts(); len(asked) != 1 || asked[0] != v.host {
				t.Errorf("%s: %q has %v asked", v.name, raw, asked)
			}
		}
	}
}

// TestAdobesRedirectAndImportsLeadNowhereElse has the host come in a redirect, as the base of a kept grant, and by import.
func TestAdobesRedirectAndImportsLeadNowhereElse(t *testing.T) {
	v := vendors()[0]
	w := newWorld(t, nil, tokenSet)
	a := v.new(w.config())
	client := refresh(v, "").Client
	for _, raw := range slices.Concat(tricks("api.na1.adobesign.com", "adobesign.com"), elsewhere()) {
		_, imported := a.(core.HostChecker).CheckAPIBaseURL(t.Context(), client, raw)
		_, redirected := a.Callback(t.Context(), core.CallbackRequest{Client: client, Params: url.Values{"code": {"c"}, "api_access_point": {raw}}})
		_, kept := a.Token(t.Context(), refresh(v, raw))
		for door, err := range map[string]error{"import": imported, "redirect": redirected, "a kept grant": kept} {
			e := core.AsVendorError(err)
			if err == nil || e.Code != core.CodeHostRefused || e.Outcome != core.NotSent || strings.Contains(e.Detail, "evil") {
				t.Errorf("%s, %q: %v", door, raw, err)
			}
		}
	}
	if asked := w.hosts(); len(asked) > 0 {
		t.Errorf("%v was asked", asked)
	}
	for _, other := range vendors()[1:] {
		if _, ok := other.new(w.config()).(core.HostChecker); ok {
			t.Errorf("%s takes hosts: they belong in these tables", other.name)
		}
	}
}

// TestDiscoveryLeadsToNoAddressInside has a metadata document name endpoints.
func TestDiscoveryLeadsToNoAddressInside(t *testing.T) {
	v := vendors()[3]
	v.settings = map[string]string{"issuer": "https://id.vendor.example"}
	for _, raw := range elsewhere() {
		w := newWorld(t, nil, func(r *http.Request) map[string]any {
			if strings.Contains(r.URL.Path, "well-known") {
				return map[string]any{"issuer": "https://id.vendor.example", "token_endpoint": raw, "authorization_endpoint": "https://id.vendor.example/a"}
			}
			return tokenSet(r)
		})
		_, err := v.new(w.config()).Token(t.Context(), refresh(v, ""))
		if e := core.AsVendorError(err); err == nil || e.Outcome != core.NotSent {
			t.Errorf("%q: %v", raw, err)
		}
		if asked := w.hosts(); len(asked) != 1 || asked[0] != "id.vendor.example" {
			t.Errorf("%q has %v asked", raw, asked)
		}
	}
}

// tricks are URLs that look like a vendor's host to somebody who does not look closely.
func tricks(host, domain string) []string {
	return []string{
		"https://user@" + host, "https://user:password@" + host, "https://" + host + "@evil.example", "https://" + host + ":@evil.example",
		"https://" + host + ":8443", "https://" + host + ":", "https://" + host + ":443", "https://" + host + ".", "https://" + host + "..",
		"https://" + host + ".evil.example", "https://evil-" + domain, "https://evil" + domain, "https://api.evil-" + domain, "https://x." + host,
		"https://evil.example/" + host, "https://evil.example/?" + host, "https://evil.example#" + host, "https://evil.example\\@" + host,
		"https://" + host + "\\.evil.example", "https://" + host + "%2eevil.example", "https://" + host + "%00.evil.example", "https://%61pi.evil." + domain,
		"https://" + host + "\x00.evil.example", "https://" + host + "\n.evil.example", "https://" + host + "\t.evil.example", "https://" + host + " .evil.example",
		"https://" + strings.Replace(host, "a", "\u0430", 1), "https://" + strings.Replace(host, ".", "\u3002", 1), "https://" + strings.Replace(host, "o", "\u00ad"+"o", 1),
		"https://xn--pi-6kc.na1." + domain, "https://" + strings.Replace(host, "a", "\uff41", 1),
		"http://" + host, "ftp://" + host, "//" + host, "https:" + host, "https:///" + host, "https:/" + host, host, "javascript://" + host,
		"https://" + host + "/../..//evil.example", "https://" + host + "/path", "https://" + host + "?", "https://*." + domain,
	}
}

// elsewhere are URLs into this machine, its network and its cloud.
func elsewhere() []string {
	return []string{
		"https://127.0.0.1", "https://localhost", "https://LOCALHOST:1", "http://127.0.0.1:8081", "https://[::1]", "https://[::ffff:127.0.0.1]", "https://10.0.0.1",
		"https://192.168.1.1", "https://169.254.169.254/latest/meta-data", "https://[fe80::1]", "https://[fd00:ec2::254]", "https://100.100.100.200",
		"https://168.63.129.16", "https://0.0.0.0", "https://[::]", "https://224.0.0.1", "https://[64:ff9b::7f00:1]", "https://[2002:7f00:1::]",
		"http://vendor.example", "file:///etc/passwd", "unix:///run/docker.sock", "gopher://127.0.0.1:25", "https://", "https://user@vendor.example/",
	}
}
