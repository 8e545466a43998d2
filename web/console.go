package web

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
)

const (
	consolePageSize = 50
	// The numbers at the console's top are of the first countPages*countPageSize grants.
	countPageSize = 1000
	countPages    = 5
	// refreshSeconds is how often a browser without scripts loads the console again.
	refreshSeconds = 10
)

// consoleView is what the console shows.
type consoleView struct {
	Version  string
	Now      time.Time
	NotReady string // why; empty: ready
	Refresh  int
	Filter   core.GrantFilter
	States   []core.State
	Live     string // where the script asks for news
	Counts   counts
	Vendors  []VendorStatus
	Grants   []grantRow
	First    string // link to the first page; empty: this is it
	Next     string // link to the next page; empty: there is none
	Problem  string // why there is no list
	Login    bool   // there is a session to end
}

// counts are grants by state.
type counts struct {
	Total  int
	More   bool // there are more than were counted
	States []stateCount
}

type stateCount struct {
	State core.State
	Count int
	Link  string
}

// grantRow is a grant as the console shows it.
type grantRow struct {
	core.GrantInfo
	Trouble bool // somebody should look at it
}

// console shows all grants of all tenants, with what the operator needs at night.
func (s *Server) console(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Shown != nil {
		s.cfg.Shown(r.Context(), filterOf(r.URL.Query()))
	}
	s.showConsole(w, r, "console.html")
}

// live is the part of the console that the script renews.
func (s *Server) live(w http.ResponseWriter, r *http.Request) { s.showConsole(w, r, "live") }

func (s *Server) showConsole(w http.ResponseWriter, r *http.Request, template string) {
	filter := filterOf(r.URL.Query())
	view := consoleView{
		Version: s.cfg.Version,
		Now:     time.Now(),
		Refresh: refreshSeconds,
		Filter:  filter,
		States:  core.States(),
		Live:    "/live?" + filterQuery(filter, filter.Cursor).Encode(),
		Login:   s.login,
	}
	if err := s.cfg.Ready(); err != nil {
		view.NotReady = err.Error()
	}
	if s.cfg.Vendors != nil {
		view.Vendors = s.cfg.Vendors()
	}
	status := http.StatusOK
	if err := s.list(r, &view); err != nil {
		view.Problem = core.AsError(err).Description
		status, _ = errorPage(core.AsError(err).Code)
	}
	s.render(w, status, template, view)
}

// filterOf reads the console's query. What is not a filter is left to the Manager to refuse.
func filterOf(q url.Values) core.GrantFilter {
	text := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	return core.GrantFilter{
		Tenant: text("tenant"),
		Client: text("client"),
		Vendor: text("vendor"),
		State:  core.State(text("state")),
		Limit:  consolePageSize,
		Cursor: text("cursor"),
	}
}

// filterQuery is the reverse of filterOf, for links.
func filterQuery(f core.GrantFilter, cursor string) url.Values {
	q := url.Values{}
	for name, value := range map[string]string{
		"tenant": f.Tenant, "client": f.Client, "vendor": f.Vendor, "state": string(f.State), "cursor": cursor,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

func (s *Server) list(r *http.Request, view *consoleView) error {
	grants, next, err := s.cfg.Manager.Grants(r.Context(), view.Filter)
	if err != nil {
		return err
	}
	for _, g := range grants {
		view.Grants = append(view.Grants, grantRow{GrantInfo: g, Trouble: isTrouble(g)})
	}
	if view.Filter.Cursor != "" {
		view.First = "/?" + filterQuery(view.Filter, "").Encode()
	}
	if next != "" {
		view.Next = "/?" + filterQuery(view.Filter, next).Encode()
	}
	view.Counts, err = s.count(r, view.Filter)
	return err
}

// count counts the grants that the filter selects, in every state.
func (s *Server) count(r *http.Request, f core.GrantFilter) (counts, error) {
	byState := make(map[core.State]int)
	var total counts
	f.State, f.Cursor, f.Limit = "", "", countPageSize
	for range countPages {
		grants, next, err := s.cfg.Manager.Grants(r.Context(), f)
		if err != nil {
			return counts{}, err
		}
		for _, g := range grants {
			byState[g.State]++
		}
		total.Total += len(grants)
		f.Cursor, total.More = next, next != ""
		if next == "" {
			break
		}
	}
	for _, state := range core.States() {
		f.State = state
		total.States = append(total.States, stateCount{
			State: state, Count: byState[state], Link: "/?" + filterQuery(f, "").Encode(),
		})
	}
	return total, nil
}

// isTrouble reports whether a grant needs somebody: it is dead, or its refreshes fail.
func isTrouble(g core.GrantInfo) bool {
	return g.State == core.NeedsReauthorization || g.Attempts > 0 || len(g.Warnings) > 0
}

// relative says how far t is from now, as the console's script does too: "in 4m 05s", "12s ago".
func relative(t, now time.Time) string {
	d := t.Sub(now).Truncate(time.Second)
	if d < 0 {
		return span(-d) + " ago"
	}
	return "in " + span(d)
}

func span(d time.Duration) string {
	seconds := int(d / time.Second)
	days, hours, minutes := seconds/86400, seconds/3600%24, seconds/60%60
	switch {
	case days > 0:
		return fmt.Sprintf("%dd %02dh", days, hours)
	case hours > 0:
		return fmt.Sprintf("%dh %02dm", hours, minutes)
	case minutes > 0:
		return fmt.Sprintf("%dm %02ds", minutes, seconds%60)
	default:
		return fmt.Sprintf("%ds", seconds)
	}
}
