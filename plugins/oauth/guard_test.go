package oauth

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/esignd/esignd/core"
)

func TestPublicAddresses(t *testing.T) {
	for address, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "172.32.0.1": true, "100.128.0.1": true,
		"127.0.0.1": false, "::1": false, "10.0.0.1": false, "172.16.0.1": false, "192.168.1.1": false,
		"169.254.169.254": false, "fe80::1": false, "fc00::1": false, "fec0::1": false, "100.64.0.1": false,
		"0.0.0.0": false, "0.1.2.3": false, "::": false, "224.0.0.1": false, "ff02::1": false, "255.255.255.255": false,
		"240.0.0.1": false, "198.18.0.1": false, "192.0.0.170": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::ffff:8.8.8.8": true, "::127.0.0.1": false,
	} {
		if got := public(netip.MustParseAddr(address).Unmap()); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}

func TestDialPolicyOfALoopbackHostAllowsLoopbackOnly(t *testing.T) {
	policy := dialPolicy{loopback: true}
	for address, want := range map[string]error{
		"127.0.0.1:80": nil, "[::1]:80": nil, "8.8.8.8:80": errNotPublic, "10.0.0.1:80": errNotPublic, "nonsense": errNotPublic,
	} {
		if got := policy.control("tcp", address, nil); !errors.Is(got, want) {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
}

// A name under the vendor's domain that resolves to a private address, as after DNS rebinding, is not dialled.
func TestTokenNotSentToANameThatResolvesToAPrivateAddress(t *testing.T) {
	for _, address := range [][4]byte{{127, 0, 0, 1}, {10, 1, 2, 3}, {169, 254, 169, 254}} {
		client := NewClient(Config{Dial: guardedDialer{resolver: resolvesTo(t, address)}.dial})
		_, err := client.Token(t.Context(), Endpoint{TokenURL: "https://api.na1.vendor.example/token"}, core.TokenRequest{})
		var got *core.VendorError
		if !errors.As(err, &got) || got.Outcome != core.NotSent || got.Code != core.CodeHostRefused {
			t.Errorf("%v: %v", address, err)
		}
	}
}

// resolvesTo returns a resolver that answers every question with the address.
func resolvesTo(t *testing.T, address [4]byte) *net.Resolver {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = server.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer, err := dnsAnswer(buf[:n], address); err == nil {
				_, _ = server.WriteTo(answer, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

func dnsAnswer(question []byte, address [4]byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	m.Response, m.Additionals = true, nil
	if m.Questions[0].Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET},
			Body:   &dnsmessage.AResource{A: address},
		}}
	}
	return m.Pack()
}

func TestTheOperatorsProxyMayBePrivate(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	addr := listener.Addr().String()
	ctx := context.WithValue(t.Context(), dialPolicyKey{}, dialPolicy{proxy: addr})
	conn, err := guardedDialer{}.dial(ctx, "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	ctx = context.WithValue(t.Context(), dialPolicyKey{}, dialPolicy{proxy: "192.0.2.1:3128"})
	if _, err := (guardedDialer{}).dial(ctx, "tcp", addr); !errors.Is(err, errNotPublic) {
		t.Errorf("an address that is not the proxy's: %v", err)
	}
}

func TestHostPortOfAProxy(t *testing.T) {
	for raw, want := range map[string]string{
		"http://p": "p:80", "https://p": "p:443", "socks5://p": "p:1080", "http://p:3128": "p:3128", "http://[::1]": "[::1]:80",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := hostPort(u); got != want {
			t.Errorf("%s: %s, want %s", raw, got, want)
		}
	}
}

func TestTheTransportNeverSharesOrRepeats(t *testing.T) {
	transport := baseTransport(Config{})
	if !transport.DisableKeepAlives || !transport.DisableCompression || transport.Protocols.HTTP2() {
		t.Error("connections must be neither reused nor compressed nor HTTP/2")
	}
	req, err := call{url: "https://vendor.example", params: []param{{"a", "b"}}}.request(t.Context())
	if err != nil || req.GetBody != nil {
		t.Errorf("a request that net/http can send again: %v", err)
	}
	if got := NewClient(Config{}).timeout; got != 10*time.Second {
		t.Errorf("a call may take %v", got)
	}
}
