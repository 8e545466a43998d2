package bus

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/tlsfiles"
	"github.com/esignd/esignd/bus/tlsfiles/tlstest"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/transcript"
)

// shown connects anew and returns the serial number of the certificate that the server shows.
func shown(t *testing.T, url string, cfg *tls.Config) string {
	t.Helper()
	nc, err := nats.Connect(url, nats.Secure(cfg))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	state, err := nc.TLSConnectionState()
	if err != nil {
		t.Fatal(err)
	}
	return state.PeerCertificates[0].SerialNumber.String()
}

func TestEmbeddedServerSpeaksTLSAloneAndTakesNewCertificates(t *testing.T) {
	t.Parallel()
	authority := tlstest.New(t, t.TempDir(), "ours")
	cfg := embeddedConfig(t.TempDir())
	cfg.TLS = authority.Issue("server")
	cfg.TLS.CA = ""
	var told transcript.Transcript
	cfg.Logger = slog.New(slog.NewTextHandler(&told, nil))
	b := openBus(t, cfg)
	put(t, b.Store(), core.Record{Key: "grant.a", Public: []byte(`{}`)})
	if !strings.HasPrefix(b.ClientURL(), "tls://") {
		t.Errorf("programs are told to connect to %s", b.ClientURL())
	}
	if nc, err := nats.Connect(b.ClientURL()); err == nil {
		nc.Close()
		t.Error("a client that does not know the authority trusts the server")
	}
	old := &tls.Config{RootCAs: authority.Client(tlsfiles.Files{}).RootCAs, MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11}
	if nc, err := nats.Connect(b.ClientURL(), nats.Secure(old)); err == nil {
		nc.Close()
		t.Error("a client that speaks TLS 1.1 was let in")
	}
	trusting := authority.Client(tlsfiles.Files{})
	stays := dialOutside(t, b, nats.Secure(trusting))
	first := shown(t, b.ClientURL(), trusting)
	if again := shown(t, b.ClientURL(), trusting); again != first {
		t.Error("the certificate changed by itself")
	}

	// What cannot be used is told once, and the old one is shown.
	if err := os.WriteFile(cfg.TLS.Cert, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.ReloadTLS()
	b.ReloadTLS()
	if got := shown(t, b.ClientURL(), trusting); got != first {
		t.Error("a broken certificate took the place of the one that was good")
	}
	if n := strings.Count(told.String(), "nats.tls.cert"); n != 1 {
		t.Errorf("it was told %d times: %s", n, told.String())
	}

	authority.Issue("server")
	b.ReloadTLS()
	if got := shown(t, b.ClientURL(), trusting); got == first {
		t.Error("a new connection is shown the old certificate")
	}
	if err := stays.Flush(); err != nil || stays.Stats().Reconnects > 0 {
		t.Errorf("the connection from before: %v, %d reconnects", err, stays.Stats().Reconnects)
	}
}

func TestEmbeddedServerWithAnAuthorityAsksForCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority, other := tlstest.New(t, dir, "ours"), tlstest.New(t, dir, "others")
	cfg := embeddedConfig(t.TempDir())
	cfg.TLS = authority.Issue("server")
	b := openBus(t, cfg)
	refused(t, b, "no certificate", nats.Secure(authority.Client(tlsfiles.Files{})))
	refused(t, b, "a certificate of another authority", nats.Secure(authority.Client(other.Issue("stranger"))))
	guest := authority.Client(authority.Issue("guest"))
	stays := dialOutside(t, b, nats.Secure(guest))
	if _, err := stays.SubscribeSync("esign.event.>"); err != nil || stays.Flush() != nil {
		t.Errorf("a program with a certificate: %v", err)
	}
	// Another authority from now on.
	text, err := os.ReadFile(other.CA)
	if err == nil {
		err = os.WriteFile(authority.CA, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	b.ReloadTLS()
	refused(t, b, "a certificate of the authority from before", nats.Secure(guest))
	if err := stays.Flush(); err != nil {
		t.Errorf("the connection from before: %v", err)
	}
}

func mustURL(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func refused(t *testing.T, b *Bus, who string, opts ...nats.Option) {
	t.Helper()
	if nc, err := nats.Connect(b.ClientURL(), append(opts, nats.NoReconnect())...); err == nil {
		// With TLS 1.3 the client hears of it after it is done.
		err = nc.FlushTimeout(5 * time.Second)
		nc.Close()
		if err == nil {
			t.Errorf("%s: was let in", who)
		}
	}
}

// certified services are two of different tenants, by certificates, and one with an NKey.
type certifiedServices struct {
	*Bus
	authority *tlstest.Authority
	callers   []Caller
}

func withName(name string, change ...func(*x509.Certificate)) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject.CommonName, c.DNSNames = name, nil
		for _, f := range change {
			f(c)
		}
	}
}

func openCertified(t *testing.T) (certifiedServices, nats.Option) {
	t.Helper()
	c := certifiedServices{authority: tlstest.New(t, t.TempDir(), "ours")}
	desk, proof := newCaller(t, "default", "desk", "operator")
	c.callers = []Caller{
		{Tenant: "default", Name: "billing", Certificate: `O=Acme\, Inc.,CN=billing`},
		{Tenant: "other", Name: "signing", Certificate: "signing@example.com"}, desk,
	}
	cfg := embeddedConfig(t.TempDir())
	cfg.TLS, cfg.Auth = c.authority.Issue("server"), Auth{Callers: c.callers}
	c.Bus = openBus(t, cfg)
	return c, nats.Option(func(o *nats.Options) error {
		for _, opt := range append(proof.Options(), nats.Secure(c.authority.Client(c.authority.Issue("anything", withName("anything"))))) {
			if err := opt(o); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c certifiedServices) billing() tlsfiles.Files {
	return c.authority.Issue("billing", withName("billing", func(x *x509.Certificate) { x.Subject.Organization = []string{"Acme, Inc."} }))
}

func (c certifiedServices) signing() tlsfiles.Files {
	return c.authority.Issue("signing", withName("whoever", func(x *x509.Certificate) { x.EmailAddresses = []string{"signing@example.com"} }))
}

func TestServicesAreKnownByTheirCertificates(t *testing.T) {
	t.Parallel()
	c, desk := openCertified(t)
	startDaemon(t, c.Bus, nil).identify(t)
	certificate := func(f tlsfiles.Files) nats.Option { return nats.Secure(c.authority.Client(f)) }
	for name, who := range map[string]struct {
		tenant, user string
		opts         []nats.Option
	}{
		"billing": {"default", c.callers[0].Certificate, []nats.Option{certificate(c.billing()), nats.CustomInboxPrefix("_INBOX_default_billing")}},
		"signing": {"other", c.callers[1].Certificate, []nats.Option{certificate(c.signing()), nats.CustomInboxPrefix("_INBOX_other_signing")}},
		"desk":    {"default", c.callers[2].NKeys[0], []nats.Option{desk}},
	} {
		nc := dialDenied(t, c.Bus, who.opts...)
		for _, tenant := range []string{"default", "other"} {
			subject := "esign.api." + tenant + ".grant.get"
			if tenant != who.tenant {
				if err := nc.Publish(subject, nil); err != nil {
					t.Fatal(err)
				}
				nc.wantRefusal(t, name+" asks on "+subject)
				continue
			}
			m, err := nc.Request(subject, nil, 5*time.Second)
			if err != nil || !strings.Contains(string(m.Data), `"Service":"`+name+`"`) {
				t.Errorf("%s asks on %s: %v", name, subject, err)
			}
		}
	}
	for who, opts := range map[string][]nats.Option{
		"no certificate":                       {certificate(tlsfiles.Files{})},
		"no certificate, a name":               {certificate(tlsfiles.Files{}), nats.UserInfo(c.callers[0].Certificate, "")},
		"a certificate of nobody":              {certificate(c.authority.Issue("nobody", withName("nobody")))},
		"a certificate of nobody, a name":      {certificate(c.authority.Issue("nobody", withName("nobody"))), nats.UserInfo(c.callers[0].Certificate, "")},
		"a part of a subject":                  {certificate(c.authority.Issue("part", withName("billing")))},
		"the same name of another authority":   {certificate(tlstest.New(t, t.TempDir(), "ours").Issue("signing", withName("signing@example.com")))},
		"an NKey without a certificate":        {desk, certificate(tlsfiles.Files{})},
		"a certificate, and an NKey of nobody": {certificate(c.billing()), nats.Nkey(testNKey, func([]byte) ([]byte, error) { return make([]byte, 64), nil })},
	} {
		refused(t, c.Bus, who, opts...)
	}
}

func TestSetCallersEndsAServiceThatIsKnownByItsCertificate(t *testing.T) {
	t.Parallel()
	c, _ := openCertified(t)
	gone := make(chan struct{})
	_ = dialOutside(t, c.Bus, nats.Secure(c.authority.Client(c.signing())), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(gone) }))
	stays := dialOutside(t, c.Bus, nats.Secure(c.authority.Client(c.billing())))
	late := Caller{Tenant: "third", Name: "late", Certificate: "spiffe://example.com/late"}
	if err := c.SetCallers(testContext(t), []Caller{c.callers[0], c.callers[2], late}); err != nil {
		t.Fatal(err)
	}
	<-gone
	refused(t, c.Bus, "a service that is gone", nats.Secure(c.authority.Client(c.signing())))
	if err := stays.Flush(); err != nil || stays.Stats().Reconnects > 0 {
		t.Errorf("one that stays: %v, %d reconnects", err, stays.Stats().Reconnects)
	}
	cert := c.authority.Issue("late", func(x *x509.Certificate) { x.URIs = append(x.URIs, mustURL(t, late.Certificate)) })
	_ = dialOutside(t, c.Bus, nats.Secure(c.authority.Client(cert)))
}

// A Go service with a certificate needs its files and its name.
func TestClientProvesItselfByACertificate(t *testing.T) {
	t.Parallel()
	c, _ := openCertified(t)
	ctx := testContext(t)
	cl, closeConn, err := client.Dial(ctx, client.DialConfig{URL: c.ClientURL(), Tenant: "other", Service: "signing", TLS: client.TLS(c.signing())})
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn()
	e := testEvent("e1")
	e.Tenant = "other"
	if err := c.Publisher().Publish(ctx, e); err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	err = cl.Watch(ctx, client.WatchConfig{Durable: "signing"}, func(got client.Event) error {
		if got.ID != "e1" {
			t.Errorf("consumed %s", got.ID)
		}
		return enough
	})
	if !errors.Is(err, enough) {
		t.Error(err)
	}
	if _, _, err := client.Dial(ctx, client.DialConfig{URL: c.ClientURL(), Tenant: "other", TLS: client.TLS{CA: c.authority.CA}}); err == nil ||
		!strings.Contains(err.Error(), "a certificate of yours") {
		t.Errorf("without a certificate: %v", err)
	}
}
