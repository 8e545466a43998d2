package oauth

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
)

// errNotPublic is returned by the guarded dialer for an address that a vendor's host must not resolve to.
var errNotPublic = errors.New("oauth: address is not public")

// guardedDialer dials only addresses that the request's dialPolicy allows. It looks at the address after the name was
// resolved and just before the connection is made, so that a name cannot be resolved anew in between.
type guardedDialer struct {
	resolver *net.Resolver
	// allowed is asked last about an address that is allowed. nil: it is dialled.
	allowed func(address string) error
}

func (g guardedDialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	policy, _ := ctx.Value(dialPolicyKey{}).(dialPolicy)
	d := net.Dialer{Timeout: dialTimeout, Resolver: g.resolver}
	// The operator's proxy may well be private. It resolves the vendor's name itself, out of our sight.
	if policy.proxy == "" || policy.proxy != addr {
		d.Control = func(_, address string, _ syscall.RawConn) error { return g.check(policy, address) }
	}
	return d.DialContext(ctx, network, addr)
}

func (g guardedDialer) check(p dialPolicy, address string) error {
	if err := p.check(address); err != nil || g.allowed == nil {
		return err
	}
	return g.allowed(address)
}

// dialPolicy says which addresses a request may be sent to. The zero value allows the public ones.
type dialPolicy struct {
	loopback bool   // loopback addresses and no others
	proxy    string // host:port of the proxy that the request goes through
}

type dialPolicyKey struct{}

// withDialPolicy returns r's context with the policy that r's URL calls for.
func withDialPolicy(r *http.Request) context.Context {
	policy := dialPolicy{loopback: loopbackHost(r.URL.Hostname())}
	if proxy, err := http.ProxyFromEnvironment(r); err == nil && proxy != nil {
		policy.proxy = hostPort(proxy)
	}
	return context.WithValue(r.Context(), dialPolicyKey{}, policy)
}

func (p dialPolicy) check(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return errNotPublic
	}
	addr := ap.Addr().Unmap()
	if p.loopback && addr.IsLoopback() || !p.loopback && public(addr) {
		return nil
	}
	return errNotPublic
}

// public reports whether addr may belong to a vendor: a global unicast address in no range set apart for another use
// (IANA special-purpose registries).
func public(addr netip.Addr) bool {
	if !addr.IsGlobalUnicast() || addr.IsPrivate() {
		return false
	}
	for _, reserved := range notPublic {
		if reserved.Contains(addr) {
			return false
		}
	}
	return true
}

// notPublic are the ranges set apart that Go's own predicates do not know.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),    // shared address space of carriers
	netip.MustParsePrefix("168.63.129.16/32"), // Azure's services for its machines, such as their metadata
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), // for documents, as the next two
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"), // relays of 6to4
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"),
	// These hold an IPv4 address, which may be a private one.
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("2001::/23"), // Teredo among them
	netip.MustParsePrefix("::/96"),
	netip.MustParsePrefix("::ffff:0:0:0/96"),
	netip.MustParsePrefix("100::/64"),      // where packets are thrown away
	netip.MustParsePrefix("2001:db8::/32"), // for documents, as the next
	netip.MustParsePrefix("3fff::/20"),
	netip.MustParsePrefix("5f00::/16"), // segment routing
	netip.MustParsePrefix("fec0::/10"), // site-local, before fc00::/7
}

func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	port := map[string]string{"https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}
