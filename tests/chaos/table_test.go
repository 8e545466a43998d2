//go:build heavy && linux

package chaos

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// row is a line of the table.
type row struct {
	scenario                   string
	kills, requests, refreshes int
	verdict
	dead     int
	recovery []time.Duration
	rest     time.Duration // until each grant's fate was known
}

// row puts the figures of a scenario together, tells what is wrong with them, and fails the test where something is.
func (a *arena) row(v verdict) row {
	a.t.Helper()
	b := a.book
	b.mu.Lock()
	defer b.mu.Unlock()
	r := row{kills: a.kills, requests: b.requests, verdict: v, dead: len(b.dead), recovery: a.recovery, rest: a.rest}
	for _, vendor := range a.vendors {
		refreshes, wrong := vendor.door.agrees(vendor.Box)
		r.refreshes += refreshes
		r.wrong = append(r.wrong, wrong...)
	}
	for _, w := range slices.Concat(r.wrong, b.wrong, b.dead) {
		a.t.Error(w)
	}
	a.t.Logf("answers without a token: %v; tokens that expired on their way: %d, that ended with their grant: %d; last tries that did not reach the vendor as a second presentation: %d",
		b.errors, b.late, b.ended, v.left())
	return r
}

// left counts the last tries that no presentation needed: the first did not reach the vendor.
func (v verdict) left() (n int) {
	for _, list := range v.unused {
		n += len(list)
	}
	return n
}

// table collects rows from scenarios that run at once.
type table struct {
	mu   sync.Mutex // guards rows
	rows []row
}

func (t *table) add(r row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, r)
}

// String lays the table out, sorted by scenario.
func (t *table) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortFunc(t.rows, func(a, b row) int { return strings.Compare(a.scenario, b.scenario) })
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "scenario\tkills\trequests\trefreshes\tanswers lost\tgrants lost\treconnected\tpresented twice\tlast tries\tseen again\tearly\tevents missing\tdoubled\tdead tokens\trecovery p50\tp99\tat rest\t")
	for _, r := range t.rows {
		_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t\n", r.scenario, r.kills, r.requests, r.refreshes,
			r.answersLost, r.lost, r.reconnected, r.twice, r.lastTries, r.again, r.early, r.missing, r.doubled, r.dead,
			quantile(r.recovery, 0.5), quantile(r.recovery, 0.99), quantile([]time.Duration{r.rest}, 1))
	}
	_ = w.Flush() // to a strings.Builder
	text.WriteString(legend)
	return text.String()
}

// legend says what the columns are.
const legend = `
kills            what was ended, stopped, filled or stepped
refreshes        token sets that the vendors issued for a refresh token
answers lost     of those, the ones that something ended on their way to the store of esignd, at vendors that rotate
grants lost      grants that are neither live nor in need of their owner, or ended by nothing that was done to them
reconnected      grants whose owner had to connect again, after an answer or a last try was lost; each has its event
presented twice  refresh tokens that came again after an unknown outcome, beyond the counted last tries
last tries       that esignd said it would make; the first presentation may never have reached the vendor, nor the last
seen again       refresh tokens that came to the vendor again, each by a last try that was counted
early            of those, the ones that came while the access token had more of its life left than a last try waits for
dead tokens      access tokens that had expired as a caller got them
recovery         from the end, or from when what was stopped is back, to the next token that a caller gets; for plugins and
                 vendors to the next refresh
at rest          after the load, until each grant was refreshed once more or known to need its owner: a grant whose refreshes
                 failed in a row is tried again after up to five and a half minutes
The full disk is a tmpfs of 64 MB; no write succeeds by the limit on the size of files (RLIMIT_FSIZE).
`

// quantile returns the smallest value that a share of the values do not exceed, as text.
func quantile(values []time.Duration, share float64) string {
	if len(values) == 0 {
		return "-"
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, int(float64(len(sorted))*share+0.9999999)-1)].Round(time.Millisecond).String()
}
