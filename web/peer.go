package web

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// proxies are the addresses of whom X-Forwarded-For is believed.
type proxies []netip.Prefix

func (p proxies) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(p, func(known netip.Prefix) bool { return known.Contains(addr) })
}

// peer is the address that a request counts for: an IPv4 address, or an IPv6 network of 64 bits, which one customer
// has. Each proxy adds the address that it saw at the end of X-Forwarded-For, so the last that is not a trusted proxy's
// own is the browser's; what stands before it the browser may have made up.
func (p proxies) peer(r *http.Request) netip.Prefix {
	addr := addressOf(r.RemoteAddr)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && p.trusts(addr); i-- {
		behind := addressOf(strings.TrimSpace(hops[i]))
		if !behind.IsValid() {
			break
		}
		addr = behind
	}
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	prefix, _ := addr.Prefix(bits)
	return prefix
}

// addressOf reads an address, with a port or without one.
func addressOf(text string) netip.Addr {
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	addr, _ := netip.ParseAddr(strings.Trim(text, "[]"))
	return addr.Unmap().WithZone("")
}
