package web

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"testing"
	"time"
)

func TestAnAddressMayAskOftenAndNotWithoutEnd(t *testing.T) {
	s, _ := newServer(t, Config{})
	h := s.PublicHandler()
	ask := func(from, path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for i := range 300 {
		if w := ask("192.0.2.1:5000", "/connect/done?status=connected"); w.Code != http.StatusOK {
			t.Fatalf("request %d: %d", i, w.Code)
		}
	}
	var refused *httptest.ResponseRecorder
	for range 300 {
		if w := ask("192.0.2.1:5001", "/connect/done?status=connected"); w.Code == http.StatusTooManyRequests {
			refused = w
			break
		}
	}
	if refused == nil {
		t.Fatal("600 requests were answered")
	}
	if after, err := strconv.Atoi(refused.Header().Get("Retry-After")); err != nil || after < 1 || after > 60 {
		t.Errorf("Retry-After %q", refused.Header().Get("Retry-After"))
	}
	if w := ask("192.0.2.2:5000", "/connect/done?status=connected"); w.Code != http.StatusOK {
		t.Errorf("another address: %d", w.Code)
	}
	if w := ask("192.0.2.1:5000", "/healthz"); w.Code != http.StatusOK {
		t.Errorf("health: %d", w.Code)
	}
}

func TestLimitRefills(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	l := newLimiter(60, func() time.Time { return now })
	from := netip.MustParsePrefix("192.0.2.1/32")
	for range 60 {
		if wait := l.take(from); wait != 0 {
			t.Fatalf("wait %s", wait)
		}
	}
	if wait := l.take(from); wait != time.Second {
		t.Errorf("wait %s, want 1s", wait)
	}
	now = now.Add(time.Second)
	if wait := l.take(from); wait != 0 {
		t.Errorf("wait %s after a second", wait)
	}
	if wait := l.take(from); wait == 0 {
		t.Error("a second gave two requests")
	}
	now = now.Add(61 * time.Second) // forgotten halfway, and full by then
	if wait := l.take(from); wait != 0 {
		t.Errorf("wait %s after a minute", wait)
	}
}

func TestLimiterMemoryIsBounded(t *testing.T) {
	l := newLimiter(60, time.Now)
	for i := range 5 * maxAddresses {
		l.take(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32))
	}
	if n := len(l.recent) + len(l.older); n > 2*maxAddresses {
		t.Errorf("%d addresses are remembered", n)
	}
}
