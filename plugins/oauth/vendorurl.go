package oauth

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"

	"github.com/esignd/esignd/core"
)

// VendorURL parses a URL of a vendor that an operator configured and checks it: https, or plain http where the host
// is loopback; a host, and no user, query or fragment. A trailing slash is removed. The error says what is wrong and
// does not show the URL.
func VendorURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	host := u.Hostname()
	switch {
	case u.Scheme != "https" && u.Scheme != "http", u.Opaque != "", host == "":
		return nil, errors.New("not a URL of the form https://host")
	case u.User != nil:
		return nil, errors.New("a user name or password in a URL is not allowed")
	case u.RawQuery != "", u.ForceQuery, u.Fragment != "", strings.HasSuffix(raw, "#"):
		return nil, errors.New("a query or fragment is not allowed")
	case u.Scheme == "http" && !loopbackHost(host):
		return nil, errors.New("http is allowed only where the host is loopback; use https")
	}
	if addr, err := netip.ParseAddr(host); err == nil && !loopbackHost(host) && !public(addr.Unmap()) {
		return nil, errors.New("the host is a private address, which esignd does not call")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return u, nil
}

// Loopback reports whether the host of u is loopback: localhost, or an address of 127.0.0.0/8 or ::1. Hosts that a
// vendor under such a URL may send us to are that same host, any port.
func Loopback(u *url.URL) bool { return loopbackHost(u.Hostname()) }

func loopbackHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// URLSetting returns the client's setting of that name, or fallback where it is not set, checked by [VendorURL]. An
// error is a [*core.VendorError] that names the setting.
func URLSetting(c core.Credentials, name, fallback string) (*url.URL, error) {
	raw := c.Settings[name]
	if raw == "" {
		raw = fallback
	}
	u, err := VendorURL(raw)
	if err != nil {
		return nil, HostRefused("setting " + name + ": " + err.Error())
	}
	return u, nil
}

// HostRefused is the error for a host that esignd does not call. Detail holds nothing that a vendor sent.
func HostRefused(detail string) *core.VendorError {
	return &core.VendorError{Outcome: core.NotSent, Code: core.CodeHostRefused, Detail: detail}
}

// withoutQuery returns raw up to its query. Some token endpoints tell their grants apart by a bare query.
func withoutQuery(raw string) string {
	bare, _, _ := strings.Cut(raw, "?")
	return bare
}
