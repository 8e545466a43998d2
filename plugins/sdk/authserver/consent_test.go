package authserver

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	at "github.com/esignd/esignd/plugins/sdk/authserver/authservertest"
)

const uri = "http://127.0.0.1/callback?kept=1"

func newPages(t testing.TB, cfg PagesConfig, l *Ledger) *Pages {
	t.Helper()
	cfg.Vendor = "Vendor"
	p, err := NewPages(cfg, l)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func show(t testing.TB, p *Pages, scope string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	p.Ask(w, httptest.NewRequest(http.MethodGet, "/authorize?x=y", nil), Asked{
		RedirectURI: uri, State: "s", Scope: []string{scope},
		Granted: func(code string) url.Values { return url.Values{"code": {code}} },
		Denied:  url.Values{"error": {"denied"}},
	})
	return w
}

// requestID finds the hidden id of the page.
func requestID(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	m := regexp.MustCompile(`name="request" value="([^"]+)"`).FindStringSubmatch(w.Body.String())
	if m == nil {
		t.Fatal("the page has no request id")
	}
	return m[1]
}

func decide(p *Pages, id, account, decision string) *httptest.ResponseRecorder {
	v := url.Values{"request": {id}, "account": {account}, "decision": {decision}}
	r := httptest.NewRequest(http.MethodPost, "/authorize", strings.NewReader(v.Encode()))
	r.Header.Set("Content-Type", Form)
	w := httptest.NewRecorder()
	p.Decide(w, r)
	return w
}

func TestPageShowsVendorClientAndScopes(t *testing.T) {
	p := newPages(t, PagesConfig{}, newLedger(t, testConfig(at.NewClock())))
	w := show(t, p, `sign"><script>`)
	body := w.Body.String()
	for _, want := range []string{"Vendor", "client", "sign&#34;", `action="/authorize"`, `value="accept"`, `value="deny"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if strings.Contains(body, "<script>") {
		t.Error("a scope got into the page as markup")
	}
	if !strings.Contains(w.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'") {
		t.Error("the page may be framed")
	}
}

func TestDecisionIsTakenOnceAndForTenMinutes(t *testing.T) {
	clock := at.NewClock()
	l := newLedger(t, testConfig(clock))
	p := newPages(t, PagesConfig{}, l)
	id, late := requestID(t, show(t, p, "sign")), requestID(t, show(t, p, "sign"))
	w := decide(p, id, "a@example.com", "accept")
	u, err := url.Parse(w.Header().Get("Location"))
	if err != nil || w.Code != http.StatusFound {
		t.Fatalf("%d, %v", w.Code, err)
	}
	q := u.Query()
	if q.Get("kept") != "1" || q.Get("state") != "s" || q.Get("error") != "" {
		t.Errorf("redirect parameters: %v", q)
	}
	set, a, err := l.Redeem(q.Get("code"), anything)
	if err != nil || a.Account != "a@example.com" || a.RedirectURI != uri || set.Account != "a@example.com" {
		t.Errorf("%v, account %q", err, a.Account)
	}
	if again := decide(p, id, "a@example.com", "accept"); again.Code != http.StatusBadRequest {
		t.Errorf("again: %d", again.Code)
	}
	clock.Advance(10 * time.Minute)
	if w := decide(p, late, "a@example.com", "accept"); w.Code != http.StatusBadRequest {
		t.Errorf("late: %d", w.Code)
	}
}

func TestDecisionRefuses(t *testing.T) {
	p := newPages(t, PagesConfig{}, newLedger(t, testConfig(at.NewClock())))
	id := requestID(t, show(t, p, "sign"))
	for name, w := range map[string]*httptest.ResponseRecorder{
		"unknown id":   decide(p, "other", "a", "accept"),
		"no account":   decide(p, id, " ", "accept"),
		"long account": decide(p, id, strings.Repeat("a", 300), "accept"),
		"no decision":  decide(p, id, "a", "maybe"),
	} {
		if w.Code != http.StatusBadRequest || w.Header().Get("Location") != "" {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	want := "http://127.0.0.1/callback?error=denied&kept=1&state=s"
	if got := decide(p, id, "a", "deny").Header().Get("Location"); got != want {
		t.Errorf("denied: %s, want %s", got, want)
	}
}

func TestAutoConsentShowsNoPage(t *testing.T) {
	l := newLedger(t, testConfig(at.NewClock()))
	w := show(t, newPages(t, PagesConfig{AutoConsent: "demo@example.com"}, l), "sign")
	u, err := url.Parse(w.Header().Get("Location"))
	if err != nil || w.Code != http.StatusFound {
		t.Fatalf("%d, %v", w.Code, err)
	}
	if _, a, err := l.Redeem(u.Query().Get("code"), anything); err != nil || a.Account != "demo@example.com" {
		t.Errorf("%v, account %q", err, a.Account)
	}
}

func TestPendingConsentsAreBounded(t *testing.T) {
	p := newPages(t, PagesConfig{}, newLedger(t, testConfig(at.NewClock())))
	for range pendingCap + 10 {
		p.keep(Asked{RedirectURI: uri})
	}
	if n := len(p.pending); n > pendingCap {
		t.Errorf("%d are kept", n)
	}
}

func TestRedirectURIsMustBeAbsolute(t *testing.T) {
	for _, raw := range []string{"/callback", "http://", "http://127.0.0.1/#x", "::"} {
		if _, err := NewPages(PagesConfig{RedirectURIs: []string{raw}}, nil); err == nil {
			t.Errorf("%s is taken", raw)
		}
	}
}
