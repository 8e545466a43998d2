package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
)

// shelf is a Manager with grants, which filters and pages as core does: the cursor is the last id of a page.
func shelf(all []core.GrantInfo) scripted {
	return scripted{grants: func(f core.GrantFilter) ([]core.GrantInfo, string, error) {
		if f.State != "" && !strings.Contains(fmt.Sprint(core.States()), string(f.State)) {
			return nil, "", core.FieldErrorf("state", "%q is no state", f.State)
		}
		var page []core.GrantInfo
		for _, g := range all {
			if g.Grant <= f.Cursor || f.Tenant != "" && g.Tenant != f.Tenant || f.Client != "" && g.Client != f.Client ||
				f.Vendor != "" && g.Vendor != f.Vendor || f.State != "" && g.State != f.State {
				continue
			}
			if len(page) == f.Limit {
				return page, page[len(page)-1].Grant, nil
			}
			page = append(page, g)
		}
		return page, "", nil
	}}
}

func exampleGrants(n int) []core.GrantInfo {
	now := time.Now()
	vendors := []string{"adobesign", "dropboxsign", "esignglobal"}
	var all []core.GrantInfo
	for i := range n {
		g := core.GrantInfo{
			Grant: fmt.Sprintf("g_%040x", i+1), Tenant: []string{"default", "acme"}[i%2], Client: vendors[i%3] + "-main",
			Vendor: vendors[i%3], Account: fmt.Sprintf("person-%03d@example.com", i), State: core.Active,
			Generation: uint64(i*7 + 1), IssuedAt: now.Add(-time.Hour), ExpiresAt: now.Add(time.Duration(i*37+20) * time.Second),
			LastEvent: core.TokenIssued, LastEventAt: now.Add(-time.Duration(i*11) * time.Second),
		}
		switch i % 9 {
		case 3:
			g.State, g.Reason, g.LastEvent, g.LastError = core.NeedsReauthorization, core.ReasonInvalidGrant, core.GrantReauthorizationRequired, "invalid_grant"
			g.ExpiresAt = now.Add(-10 * time.Minute)
		case 5:
			g.Attempts, g.LastError, g.NextAttempt, g.LastEvent = 4, "vendor_unavailable", now.Add(93*time.Second), core.TokenRefreshFailed
			g.Warnings = []core.Warning{core.WarnVendorUnavailable}
		case 7:
			g.State, g.ExpiresAt, g.Generation, g.LastEvent, g.LastEventAt = core.Pending, time.Time{}, 0, "", time.Time{}
		case 8:
			g.State, g.ExpiresAt, g.LastEvent = core.Revoked, time.Time{}, core.TokenRevoked
		}
		all = append(all, g)
	}
	return all
}

func consolePage(t *testing.T, s *Server, path string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = "127.0.0.1:8081"
	w := httptest.NewRecorder()
	s.AdminHandler().ServeHTTP(w, r)
	return w
}

func TestConsoleShowsWhatAnOperatorNeeds(t *testing.T) {
	s, _ := newServer(t, Config{
		Manager: shelf(exampleGrants(20)), Version: "1.2.3",
		Vendors: func() []VendorStatus {
			return []VendorStatus{{Name: "adobesign", Title: "Adobe Acrobat Sign", Healthy: true, State: "ready"},
				{Name: "dropboxsign", State: "backoff", Detail: "the process ended three times", Restarts: 3}}
		},
		Ready: func() error { return core.Errorf(core.TemporarilyUnavailable, "the store is away") },
	})
	w := consolePage(t, s, "/")
	for _, want := range []string{
		"1.2.3", "person-003@example.com", "reauthorization_required", "invalid_grant", "vendor_unavailable",
		"in 1m 3", "token.issued", "Adobe Acrobat Sign", "the process ended three times", "restarts: 3",
		"the store is away", `http-equiv="refresh"`, "<b>20</b> grants", `data-live="/live?"`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the console lacks %q", want)
		}
	}
	if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "Next page") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	live := consolePage(t, s, "/live?state=pending")
	if !strings.HasPrefix(strings.TrimSpace(live.Body.String()), `<div id="now"`) || strings.Contains(live.Body.String(), "person-003") {
		t.Errorf("the fragment is %s", live.Body)
	}
}

func TestConsoleFiltersAndPages(t *testing.T) {
	s, _ := newServer(t, Config{Manager: shelf(exampleGrants(300))})
	first := consolePage(t, s, "/?tenant=acme&client=+dropboxsign-main").Body.String()
	if n := strings.Count(first, `<th scope="row">`); n != 50 || strings.Contains(first, "adobesign-main") {
		t.Errorf("%d rows", n)
	}
	s2, _ := newServer(t, Config{Manager: shelf(exampleGrants(120))})
	seen, path, pages := 0, "/", 0
	for path != "" && pages < 5 {
		page := consolePage(t, s2, path).Body.String()
		seen += strings.Count(page, `<th scope="row">`)
		if pages > 0 && !strings.Contains(page, "First page") {
			t.Error("no way back to the first page")
		}
		if !strings.Contains(page, "<b>120</b> grants") {
			t.Error("the numbers depend on the page")
		}
		path, pages = nextLink(page), pages+1
	}
	if seen != 120 || pages != 3 {
		t.Errorf("%d rows on %d pages", seen, pages)
	}
}

func nextLink(page string) string {
	before, _, ok := strings.Cut(page, `" rel="next"`)
	if !ok {
		return ""
	}
	return strings.ReplaceAll(before[strings.LastIndex(before, `"`)+1:], "&amp;", "&")
}

func TestConsoleCountsAreBounded(t *testing.T) {
	s, _ := newServer(t, Config{Manager: shelf(exampleGrants(countPages*countPageSize + 1))})
	if page := consolePage(t, s, "/").Body.String(); !strings.Contains(page, "<b>5000+</b> grants") {
		t.Error("all grants were counted")
	}
}

func TestConsoleSaysWhatIsWrongWithAFilter(t *testing.T) {
	s, _ := newServer(t, Config{Manager: shelf(nil)})
	w := consolePage(t, s, "/?state=dead")
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "is no state") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if empty := consolePage(t, s, "/").Body.String(); !strings.Contains(empty, "No grant matches") {
		t.Errorf("an empty console is %s", empty)
	}
}

func TestConsoleEscapesWhatItShows(t *testing.T) {
	s, _ := newServer(t, Config{Manager: shelf([]core.GrantInfo{{Grant: grantA, Account: `"><script>alert(1)</script>`}})})
	if page := consolePage(t, s, `/?tenant="><script>x</script>`).Body.String(); strings.Contains(page, "<script>") {
		t.Errorf("a script got in: %s", page)
	}
}

func TestAdminRefusesForeignNames(t *testing.T) {
	s, _ := newServer(t, Config{AdminURL: "http://127.0.0.1:8081", Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeText(w, http.StatusOK, "metrics")
	})})
	for host, status := range map[string]int{
		"127.0.0.1:8081": 200, "localhost:8081": 200, "LOCALHOST": 200, "[::1]:8081": 200, "10.1.2.3:8081": 200,
		"evil.example:8081": 421, "127.0.0.1.evil.example": 421, "localhost.evil.example": 421, "": 421,
	} {
		for _, path := range []string{"/", "/live", "/metrics"} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Host = host
			w := httptest.NewRecorder()
			s.AdminHandler().ServeHTTP(w, r)
			if w.Code != status {
				t.Errorf("%s of %q: %d, want %d", path, host, w.Code, status)
			}
		}
	}
}

func TestRelativeTimes(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for d, want := range map[time.Duration]string{
		0:                             "in 0s",
		59*time.Second + 1:            "in 59s",
		61 * time.Second:              "in 1m 01s",
		time.Hour + 5*time.Minute:     "in 1h 05m",
		49 * time.Hour:                "in 2d 01h",
		-90 * time.Second:             "1m 30s ago",
		30*24*time.Hour - time.Second: "in 29d 23h",
	} {
		if got := relative(now.Add(d), now); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}
