package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// alert is a rule of deploy/prometheus/esignd.rules.yml.
type alert struct {
	Alert, Expr string
	Annotations struct{ Runbook string }
}

func alerts(t *testing.T) []alert {
	t.Helper()
	var file struct{ Groups []struct{ Rules []alert } }
	if err := yaml.Unmarshal([]byte(read(t, "../deploy/prometheus/esignd.rules.yml")), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Groups) != 1 || len(file.Groups[0].Rules) < 15 {
		t.Fatalf("the rules have %d groups, or few alerts", len(file.Groups))
	}
	return file.Groups[0].Rules
}

// TestEveryAlertHasItsSection holds that the runbook says what to do at each alert, under the name that the alert links
// to, and has no section on one that is not there.
func TestEveryAlertHasItsSection(t *testing.T) {
	var sections []string
	for _, m := range regexp.MustCompile(`(?m)^### (\w+)$`).FindAllStringSubmatch(read(t, "../docs/operations.md"), -1) {
		sections = append(sections, m[1])
	}
	for _, a := range alerts(t) {
		i := slices.Index(sections, a.Alert)
		if i < 0 {
			t.Errorf("docs/operations.md has no section %s", a.Alert)
			continue
		}
		sections = slices.Delete(sections, i, i+1)
		if want := "docs/operations.md#" + strings.ToLower(a.Alert); a.Annotations.Runbook != want {
			t.Errorf("%s links to %s, want %s", a.Alert, a.Annotations.Runbook, want)
		}
	}
	if len(sections) > 0 {
		t.Errorf("docs/operations.md has sections on alerts that are not there: %v", sections)
	}
}

// prometheusNames are the names of the metrics on the page.
func prometheusNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{"up": true}
	for _, i := range takeInventory(t) {
		name := strings.ReplaceAll(i.name, ".", "_")
		name += map[string]string{"s": "_seconds", "By": "_bytes", "%": "_percent"}[i.unit]
		switch i.kind {
		case "counter":
			names[name+"_total"] = true
		case "histogram":
			names[name+"_bucket"], names[name+"_sum"], names[name+"_count"] = true, true, true
		default:
			names[name] = true
		}
	}
	return names
}

var (
	quoted    = regexp.MustCompile(`"[^"]*"`)
	labels    = regexp.MustCompile(`\{[^}]*\}|\b(by|le|without|ignoring)\s*\([^)]*\)`)
	usedNames = regexp.MustCompile(`\b(?:esignd|messaging|http|rpc|go|system)_[a-z0-9_]+\b|\bup\b`)
)

// wantMetrics checks that there are the metrics of a query.
func wantMetrics(t *testing.T, where, query string, known map[string]bool) (count int) {
	t.Helper()
	for _, name := range usedNames.FindAllString(labels.ReplaceAllString(quoted.ReplaceAllString(query, ""), " "), -1) {
		count++
		if !known[name] {
			t.Errorf("%s: there is no metric that is %s on the page", where, name)
		}
	}
	return count
}

func TestAlertsObjectivesAndDashboardAskForMetricsThatThereAre(t *testing.T) {
	known := prometheusNames(t)
	for _, a := range alerts(t) {
		if wantMetrics(t, a.Alert, a.Expr, known) == 0 {
			t.Errorf("%s asks for no metric: %s", a.Alert, a.Expr)
		}
	}
	queries := regexp.MustCompile("(?s)```promql\n(.*?)```").FindAllStringSubmatch(read(t, "../docs/operations.md"), -1)
	if len(queries) < 5 {
		t.Errorf("docs/operations.md has %d queries", len(queries))
	}
	for _, q := range queries {
		wantMetrics(t, "docs/operations.md", q[1], known)
	}
	asked := 0
	for _, q := range dashboardQueries(t) {
		asked += wantMetrics(t, "dashboard: "+q, q, known)
	}
	if asked < 30 {
		t.Errorf("the dashboard asks for %d metrics", asked)
	}
	if known["esignd_no_such_metric"] || wantMetrics(t, "", `sum by (le) (rate(esignd_timer_lag_seconds_bucket{esignd_vendor="x"}[5m]))`, known) != 1 {
		t.Error("the search for metrics finds labels, or nothing")
	}
}

// dashboardQueries reads the dashboard, whose panels have each an id, a title and a query.
func dashboardQueries(t *testing.T) []string {
	t.Helper()
	var dashboard struct {
		Title  string
		Panels []struct {
			ID      int
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
	}
	b, err := os.ReadFile(filepath.Join("..", "deploy", "grafana", "esignd.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &dashboard); err != nil {
		t.Fatalf("the dashboard is no JSON: %v", err)
	}
	var queries []string
	ids := map[int]bool{}
	for _, p := range dashboard.Panels {
		if ids[p.ID] || p.Title == "" || p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %d %q: an id twice, no title, or no query", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			queries = append(queries, target.Expr)
		}
	}
	return queries
}
