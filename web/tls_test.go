package web

import (
	"crypto/tls"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/esignd/esignd/bus/tlsfiles"
	"github.com/esignd/esignd/bus/tlsfiles/tlstest"
)

// httpsBrowser is a browser whose connections the test ends.
func httpsBrowser(t *testing.T, cfg *tls.Config) *http.Client {
	t.Helper()
	b := browser(t)
	transport := &http.Transport{TLSClientConfig: cfg}
	b.Transport = transport
	t.Cleanup(transport.CloseIdleConnections)
	return b
}

func TestListenersSpeakTLSAndTakeNewCertificates(t *testing.T) {
	a := tlstest.New(t, t.TempDir(), "ours")
	files := a.Issue("esignd")
	s, log := startServer(t, Config{Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", TLS: files})
	public, admin := "https://"+s.PublicAddr().String()+"/healthz", "https://"+s.AdminAddr().String()+"/healthz"
	stays := httpsBrowser(t, a.Client(tlsfiles.Files{}))
	answer := get(t, stays, public)
	first := answer.TLS.PeerCertificates[0].SerialNumber.String()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("public: %d", answer.StatusCode)
	}
	if resp, err := httpsBrowser(t, a.Client(tlsfiles.Files{})).Get(admin); err == nil {
		_ = resp.Body.Close()
		t.Errorf("the admin listener answers who has no certificate: %d", resp.StatusCode)
	}
	if a := get(t, httpsBrowser(t, a.Client(a.Issue("operator"))), admin); a.StatusCode != http.StatusOK {
		t.Errorf("admin: %d", a.StatusCode)
	}
	if a := get(t, browser(t), "http://"+s.PublicAddr().String()+"/healthz"); a.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP: %d", a.StatusCode)
	}

	if err := os.Remove(files.Key); err != nil {
		t.Fatal(err)
	}
	s.ReloadTLS()
	if got := get(t, httpsBrowser(t, a.Client(tlsfiles.Files{})), public).TLS.PeerCertificates[0].SerialNumber.String(); got != first {
		t.Error("without a key another certificate is shown")
	}
	if !strings.Contains(log.String(), "http.tls.key: there is no file") {
		t.Errorf("nobody was told: %s", log)
	}
	a.Issue("esignd")
	s.ReloadTLS()
	if got := get(t, httpsBrowser(t, a.Client(tlsfiles.Files{})), public).TLS.PeerCertificates[0].SerialNumber.String(); got == first {
		t.Error("a new connection is shown the old certificate")
	}
	if got := get(t, stays, public).TLS.PeerCertificates[0].SerialNumber.String(); got != first {
		t.Error("the connection from before is another one")
	}
}

func TestServerWithBadTLSDoesNotListen(t *testing.T) {
	files := tlstest.New(t, t.TempDir(), "ours").Issue("esignd")
	files.Key += ".none"
	s, _ := newServer(t, Config{Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", TLS: files})
	if err := s.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "http.tls.key: there is no file") {
		t.Errorf("started: %v", err)
	}
	if s.PublicAddr() != nil || s.AdminAddr() != nil {
		t.Error("it listens")
	}
}
