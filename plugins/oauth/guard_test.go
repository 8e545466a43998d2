package oauth

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"syscall"
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
		"192.0.2.1": false, "198.51.100.1": false, "203.0.113.1": false, "192.88.99.1": false, "168.63.129.16": false,
		"100.100.100.200": false, "fd00:ec2::254": false, "192.0.0.192": false, "169.254.170.2": false, "168.63.129.17": true,
		"64:ff9b::a9fe:a9fe": false, "64:ff9b::808:808": false, "64:ff9b:1::a00:1": false, "2002:a9fe:a9fe::": false,
		"2001:0:7f00:1::1": false, "2001:db8::1": false, "3fff::1": false, "100::1": false, "::ffff:0:127.0.0.1": false,
		"5f00::1": false, "fe80::1%eth0": false, "2606:4700::1%eth0": true, "2a00:1450:4001::1": true,
		"::ffff:169.254.169.254": false,
		"::ffff:127.0.0.1":       false, "::ffff:10.0.0.1": false, "::ffff:8.8.8.8": true, "::127.0.0.1": false,
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
		if got := policy.check(address); !errors.Is(got, want) {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
}

// A name under the vendor's domain that resolves to a private address, as after DNS rebinding, is not dialled.
func TestTokenNotSentToANameThatResolvesToAPrivateAddress(t *testing.T) {
	for _, address := range []string{
		"127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.100.100.200", "168.63.129.16", "0.0.0.0", "224.0.0.1",
		"255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1",
		"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:0:a00:1::",
	} {
		client := NewClient(Config{Dial: guardedDialer{resolver: resolvesTo(t, []netip.Addr{netip.MustParseAddr(address)})}.dial})
		_, err := client.Token(t.Context(), Endpoint{TokenURL: "https://api.na1.vendor.example/token"}, core.TokenRequest{})
		var got *core.VendorError
		if !errors.As(err, &got) || got.Outcome != core.NotSent || got.Code != core.CodeHostRefused {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestPrivateAddressBesideAPublicOneIsNotDialled has names resolve to both, in either order and to another one each time:
// what is asked for once and dialled later could be this machine.
func TestPrivateAddressBesideAPublicOneIsNotDialled(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	reached := make(chan struct{}, 1)
	go func() {
		if conn, err := listener.Accept(); err == nil {
			_ = conn.Close()
			reached <- struct{}{}
		}
	}()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	public, private := netip.MustParseAddr("2606:4700::1111"), netip.MustParseAddr("127.0.0.1")
	for name, answers := range map[string][][]netip.Addr{
		"both":                  {{public, private}},
		"both, private first":   {{private, public}},
		"public, then private":  {{public}, {private}},
		"private, then public":  {{private}, {public}},
		"private in both forms": {{private, netip.MustParseAddr("::1"), netip.MustParseAddr("::ffff:127.0.0.1")}},
	} {
		dialer := guardedDialer{resolver: resolvesTo(t, answers...), allowed: stayHere}
		client := NewClient(Config{Timeout: 300 * time.Millisecond, Dial: dialer.dial})
		for range 4 {
			e := Endpoint{TokenURL: "https://api.na1.vendor.example:" + port + "/token"}
			if _, err := client.Token(t.Context(), e, core.TokenRequest{}); core.AsVendorError(err).Outcome != core.NotSent {
				t.Errorf("%s: %v", name, err)
			}
		}
		select {
		case <-reached:
			t.Fatalf("%s: this machine was dialled", name)
		default:
		}
	}
}

// stayHere keeps a test from dialling an address that is public.
func stayHere(address string) error {
	if ap, err := netip.ParseAddrPort(address); err != nil || !ap.Addr().Unmap().IsLoopback() {
		return syscall.ENETUNREACH
	}
	return nil
}

// resolvesTo returns a resolver that answers each question with the next list of addresses, and after the last with the first.
func resolvesTo(t *testing.T, answers ...[]netip.Addr) *net.Resolver {
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
		for asked := 0; ; asked++ {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer, err := dnsAnswer(buf[:n], answers[asked%len(answers)]); err == nil {
				_, _ = server.WriteTo(answer, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

func dnsAnswer(question []byte, addresses []netip.Addr) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	m.Response, m.Additionals = true, nil
	asked := m.Questions[0]
	for _, address := range addresses {
		var body dnsmessage.ResourceBody
		switch {
		case asked.Type == dnsmessage.TypeA && address.Is4():
			body = &dnsmessage.AResource{A: address.As4()}
		case asked.Type == dnsmessage.TypeAAAA && !address.Is4():
			body = &dnsmessage.AAAAResource{AAAA: address.As16()}
		default:
			continue
		}
		header := dnsmessage.ResourceHeader{Name: asked.Name, Type: asked.Type, Class: dnsmessage.ClassINET}
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: body})
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
