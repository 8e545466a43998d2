package bus

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/tlsfiles"
	"github.com/esignd/esignd/bus/tlsfiles/tlstest"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/transcript"
)

// tlsServer starts an external server that shows a certificate and asks for one.
func tlsServer(t *testing.T, authority *tlstest.Authority, change func(*server.Options)) *externalServer {
	t.Helper()
	shows := authority.Issue("nats-server")
	return startExternal(t, func(o *server.Options) {
		pool := authority.Client(shows)
		o.TLS, o.TLSVerify, o.TLSTimeout = true, true, 10
		o.TLSConfig = &tls.Config{Certificates: pool.Certificates, ClientCAs: pool.RootCAs,
			ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
		if change != nil {
			change(o)
		}
	})
}

func TestExternalServerIsReachedByTLSWithACertificateOfOurs(t *testing.T) {
	t.Parallel()
	authority := tlstest.New(t, t.TempDir(), "ours")
	e := tlsServer(t, authority, nil)
	cfg := externalConfig(t, e.ClientURL())
	if _, err := Open(testContext(t), cfg); err == nil {
		t.Error("a server with an unknown authority was trusted")
	}
	cfg.TLS = tlsfiles.Files{CA: authority.CA}
	if _, err := Open(testContext(t), cfg); err == nil {
		t.Error("a server that asks for a certificate let us in without")
	}
	cfg.TLS = authority.Issue("esignd")
	b := openBus(t, cfg)
	put(t, b.Store(), core.Record{Key: "grant.a", Public: []byte(`{}`)})
	plain := externalConfig(t, startExternal(t, nil).ClientURL())
	plain.TLS = cfg.TLS
	if _, err := Open(testContext(t), plain); err == nil {
		t.Error("a server without TLS was spoken to in the clear")
	}
}

// A connection that is made again uses the files as they are then; one that cannot be read is told, and the old used.
func TestReconnectToAnExternalServerUsesTheFilesOfThen(t *testing.T) {
	t.Parallel()
	authority := tlstest.New(t, t.TempDir(), "ours")
	seen := make(chan string, 64)
	e := tlsServer(t, authority, func(o *server.Options) {
		o.TLSConfig.VerifyConnection = func(state tls.ConnectionState) error {
			seen <- state.PeerCertificates[0].Subject.CommonName
			return nil
		}
	})
	cfg := externalConfig(t, e.ClientURL())
	cfg.TLS = authority.Issue("esignd")
	var told transcript.Transcript
	cfg.Logger = slog.New(slog.NewTextHandler(&told, nil))
	b := openBus(t, cfg)
	again := func(want string) {
		t.Helper()
		e.stop()
		for len(seen) > 0 {
			<-seen
		}
		e.restart(t)
		eventually(t, "both connections are there again", func() bool { return b.Ready() == nil })
		if got := <-seen; got != want {
			t.Errorf("the server sees the certificate of %s, want %s", got, want)
		}
	}
	authority.Issue("esignd", withName("esignd-2"))
	again("esignd-2")
	if err := os.Remove(cfg.TLS.Key); err != nil {
		t.Fatal(err)
	}
	again("esignd-2")
	if !strings.Contains(told.String(), "nats.tls.key: there is no file") {
		t.Errorf("nobody was told: %s", told.String())
	}
}

// permitted starts an external server with what esignd permissions writes, and what is added.
func permitted(t *testing.T, dir, text string) *externalServer {
	t.Helper()
	return startExternal(t, func(o *server.Options) {
		o.ServerName = "hub"
		o.LeafNode.Host, o.LeafNode.Port = "127.0.0.1", server.RANDOM_PORT
		path := filepath.Join(dir, "nats.conf")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := o.ProcessConfigFile(path); err != nil {
			t.Fatal(err)
		}
	})
}

func TestExternalServerKnowsServicesByTheirCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority := tlstest.New(t, dir, "ours")
	_, own := newCaller(t, "default", "esignd", "")
	billing := Caller{Tenant: "default", Name: "billing", Certificate: "CN=billing"}
	shows := authority.Issue("nats-server")
	text, err := Permissions("esign", own.NKey, []Caller{billing}, shows)
	if err != nil {
		t.Fatal(err)
	}
	open := func(e *externalServer) (*Bus, error) {
		cfg := externalConfig(t, e.ClientURL())
		cfg.TLS, cfg.Credentials, cfg.Auth.Callers = authority.Issue("esignd"), own.Path(), []Caller{billing}
		return Open(testContext(t), cfg)
	}
	b, err := open(permitted(t, dir, text))
	if err != nil {
		t.Fatal(err)
	}
	defer closeBus(t, b)
	nc := dialDenied(t, b, nats.Secure(authority.Client(authority.Issue("billing", withName("billing")))))
	if err := nc.Publish("esign.api.other.token.get", nil); err != nil {
		t.Fatal(err)
	}
	nc.wantRefusal(t, "billing asks as another tenant")
	refused(t, b, "a certificate of nobody", nats.Secure(authority.Client(authority.Issue("nobody", withName("nobody")))))

	// The same users on a server that asks for certificates and does not go by them.
	_, err = open(permitted(t, dir, strings.Replace(text, "verify_and_map: true", "verify: true", 1)))
	if err == nil || !strings.Contains(err.Error(), "verify_and_map") {
		t.Errorf("a server that lets in whoever says a name: %v", err)
	}
}

// TestGrowthProvesItself moves records to a server that wants TLS with a certificate, and an NKey.
func TestGrowthProvesItself(t *testing.T) {
	t.Parallel()
	from, records := stocked(t)
	dir := t.TempDir()
	authority := tlstest.New(t, dir, "ours")
	_, own := newCaller(t, "default", "esignd", "")
	text, err := Permissions("esign", own.NKey, []Caller{{Tenant: "default", Name: "billing", Certificate: "CN=billing"}}, authority.Issue("nats-server"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(text, "tls {")
	hub := permitted(t, dir, text+"\nleafnodes {listen: \"127.0.0.1:-1\", tls {"+strings.Replace(block[:strings.Index(block, "}")], "verify_and_map", "verify", 1)+"}}\n")
	v, err := hub.Varz(nil)
	if err != nil {
		t.Fatal(err)
	}
	to := externalConfig(t, hub.ClientURL())
	to.Keys = from.Keys
	leaf := fmt.Sprintf("nats://127.0.0.1:%d", v.LeafNode.Port)
	if _, err := grow(t, from, to, leaf); err == nil {
		t.Error("moved by nobody")
	}
	to.TLS, to.Credentials = authority.Issue("esignd"), own.Path()
	if steps, err := grow(t, from, to, leaf); err != nil {
		t.Fatalf("%v; %v", err, steps)
	}
	ctx, cancel := context.WithTimeout(testContext(t), 30*time.Second)
	defer cancel()
	b, err := Open(ctx, to)
	if err != nil {
		t.Fatal(err)
	}
	defer closeBus(t, b)
	if got := allRecords(t, b); len(got) != len(records) {
		t.Errorf("%d records are there, want %d", len(got), len(records))
	}
}
