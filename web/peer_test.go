package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

func TestPeerIsBelievedOfTrustedProxiesAlone(t *testing.T) {
	known := proxies{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("2001:db8:ff::/48"),
	}
	for _, tc := range []struct {
		proxies           proxies
		remote, forwarded string
		want              string
	}{
		{nil, "192.0.2.1:1", "", "192.0.2.1/32"},
		{nil, "127.0.0.1:1", "198.51.100.7", "127.0.0.1/32"}, // nobody is trusted
		{nil, "[2001:db8:1:2:3::4]:1", "", "2001:db8:1:2::/64"},
		{nil, "[::ffff:192.0.2.1]:1", "", "192.0.2.1/32"},
		{nil, "[fe80::1%eth0]:1", "", "fe80::/64"},
		{nil, "@", "", "invalid Prefix"},
		{known, "192.0.2.1:1", "198.51.100.7", "192.0.2.1/32"}, // a stranger says so
		{known, "127.0.0.1:1", "198.51.100.7", "198.51.100.7/32"},
		{known, "127.0.0.1:1", "198.51.100.6, 198.51.100.7", "198.51.100.7/32"},              // the first is made up
		{known, "127.0.0.1:1", "198.51.100.6, 198.51.100.7, 10.1.1.1", "198.51.100.7/32"},    // two proxies
		{known, "127.0.0.1:1", "203.0.113.9,198.51.100.7:4711, 10.1.1.1", "198.51.100.7/32"}, // with a port
		{known, "[2001:db8:ff::1]:1", "2001:db8:5:6:7::8", "2001:db8:5:6::/64"},
		{known, "[2001:db8:ff::1]:1", "[2001:db8:5:6:7::8]:99", "2001:db8:5:6::/64"},
		{known, "[::ffff:10.0.0.2]:1", "::ffff:198.51.100.7", "198.51.100.7/32"},
		{known, "127.0.0.1:1", "nonsense", "127.0.0.1/32"},
		{known, "127.0.0.1:1", "198.51.100.7, ", "127.0.0.1/32"},
		{known, "127.0.0.1:1", "10.1.1.1", "10.1.1.1/32"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = tc.remote
		if tc.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tc.forwarded)
		}
		if got := fmt.Sprint(tc.proxies.peer(r)); got != tc.want {
			t.Errorf("%s for %q: %s, want %s", tc.remote, tc.forwarded, got, tc.want)
		}
	}
}

// TestLimitsBehindAProxyAreTheBrowsers holds that one browser behind a trusted proxy cannot use up what others may ask,
// and cannot have itself counted for another by a header of its own.
func TestLimitsBehindAProxyAreTheBrowsers(t *testing.T) {
	s, _ := newServer(t, Config{RequestsPerMinute: 100, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/32")}})
	ask := func(forwarded string) int {
		r := httptest.NewRequest(http.MethodGet, "/connect/done?status=connected", nil)
		r.RemoteAddr = "10.0.0.2:1"
		r.Header.Set("X-Forwarded-For", forwarded)
		w := httptest.NewRecorder()
		s.PublicHandler().ServeHTTP(w, r)
		return w.Code
	}
	refused := 0
	for i := range 300 {
		// Each time it says that it is somebody else, and the proxy adds who it is.
		if ask(fmt.Sprintf("198.51.100.%d, 203.0.113.5", i%250)) == http.StatusTooManyRequests {
			refused++
		}
		if i == 99 && refused > 0 {
			t.Fatalf("%d of the first 100 requests were refused", refused)
		}
	}
	if refused == 0 {
		t.Error("300 requests of one browser were answered")
	}
	if got := ask("203.0.113.6"); got != http.StatusOK {
		t.Errorf("another browser: %d", got)
	}
}
