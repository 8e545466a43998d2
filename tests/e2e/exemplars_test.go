package e2e

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/tests/system"
)

// measuredInTrace are the histograms by which a token is measured that was refreshed and then served from memory.
var measuredInTrace = [][2]string{
	{"messaging_process_duration_seconds_bucket", `esignd_cached="false"`},
	{"messaging_process_duration_seconds_bucket", `esignd_cached="true"`},
	{"esignd_refresh_duration_seconds_bucket", ""},
	{"esignd_refresh_phase_duration_seconds_bucket", `esignd_refresh_phase="claim"`},
	{"esignd_refresh_phase_duration_seconds_bucket", `esignd_refresh_phase="vendor"`},
	{"esignd_refresh_phase_duration_seconds_bucket", `esignd_refresh_phase="commit"`},
	{"esignd_token_remaining_seconds_bucket", ""},
	{"rpc_client_call_duration_seconds_bucket", ""},
}

// wantExemplars holds that whoever asks the metrics page for OpenMetrics finds the trace in each of those histograms.
func wantExemplars(t *testing.T, d *system.Daemon, trace string) {
	t.Helper()
	page := ""
	missing := func() (names []string) {
		page = openMetrics(t, d)
		for _, m := range measuredInTrace {
			if !hasExemplar(page, m[0], m[1], trace) {
				names = append(names, m[0]+"{"+m[1]+"}")
			}
		}
		return names
	}
	deadline := time.Now().Add(time.Minute)
	for names := missing(); len(names) > 0; names = missing() {
		if time.Now().After(deadline) {
			t.Errorf("no exemplar of the trace in %q:\n%s", names, page)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	if !strings.HasSuffix(page, "# EOF\n") || hasExemplar(page, "esignd_timer_lag_seconds_bucket", "", trace) {
		t.Error("the page is no OpenMetrics, or the search for exemplars finds what is not there")
	}
}

func openMetrics(t *testing.T, d *system.Daemon) string {
	t.Helper()
	request := system.Must(http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.Admin+"/metrics", nil))(t)
	request.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	resp := system.Must(system.Plain.Do(request))(t)
	defer resp.Body.Close()
	return string(system.Must(io.ReadAll(resp.Body))(t))
}

// hasExemplar reports whether a line of a metric with those labels has an exemplar of the trace.
func hasExemplar(page, name, label, trace string) bool {
	for line := range strings.Lines(page) {
		series, exemplar, ok := strings.Cut(line, " # ")
		if ok && strings.HasPrefix(series, name+"{") && strings.Contains(series, label) && strings.Contains(exemplar, `trace_id="`+trace+`"`) {
			return true
		}
	}
	return false
}
