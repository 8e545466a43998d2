package plugintest

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// Check is one thing that the kit checks.
type Check struct {
	// Name is stable and fit for go test's -run, such as "rotation".
	Name string
	// What is what is checked, as a sentence.
	What string
	// Fix is what to do where it fails.
	Fix string

	run func(context.Context, *bench, *recorder)
	// process says that the check needs a plugin's process.
	process bool
}

// Status is how a check ended.
type Status string

// The statuses.
const (
	Passed  Status = "ok"
	Failed  Status = "fail"
	Skipped Status = "skip"
)

// Result is what came of one check.
type Result struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	// Findings are what was seen that should not be; there are some where the check failed.
	Findings []string `json:"findings,omitempty"`
	// Notes are what an author should know of a check that passed.
	Notes []string `json:"notes,omitempty"`
	// Reason is why a check was skipped.
	Reason string `json:"reason,omitempty"`
	// What and Fix are those of the Check.
	What string `json:"what"`
	Fix  string `json:"fix,omitempty"`
	// Seconds is how long it took.
	Seconds float64 `json:"seconds"`
}

// Report is what came of a run.
type Report struct {
	// Plugin is the file, package or type that was tested.
	Plugin  string   `json:"plugin"`
	Results []Result `json:"results"`
}

// Failed reports whether any check failed.
func (r Report) Failed() bool { return r.count(Failed) > 0 }

func (r Report) count(s Status) int {
	n := 0
	for _, result := range r.Results {
		if result.Status == s {
			n++
		}
	}
	return n
}

// WriteTo writes the result as a line of a test report, and below it what was found and how to mend it.
func (r Result) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	word := map[Status]string{Passed: "ok  ", Failed: "FAIL", Skipped: "skip"}[r.Status]
	fmt.Fprintf(&b, "%s  %-18s %6.2fs", word, r.Check, r.Seconds)
	if r.Reason != "" {
		fmt.Fprintf(&b, "  %s", r.Reason)
	}
	b.WriteByte('\n')
	for _, finding := range r.Findings {
		fmt.Fprintf(&b, "      %s\n", finding)
	}
	if r.Status == Failed {
		fmt.Fprintf(&b, "      wanted: %s\n      to fix: %s\n", r.What, r.Fix)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "      note: %s\n", note)
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// Summary is the last line of a report.
func (r Report) Summary() string {
	word := "PASS"
	if r.Failed() {
		word = "FAIL"
	}
	return fmt.Sprintf("%s  %s: %d ok, %d failed, %d skipped", word, r.Plugin, r.count(Passed), r.count(Failed), r.count(Skipped))
}

// maxFindings bounds what one check says: the first findings tell the cause.
const maxFindings = 20

// recorder is a check's notebook.
type recorder struct {
	check    string
	findings []string
	notes    []string
	reason   string
}

// errorf notes a finding.
func (r *recorder) errorf(format string, args ...any) {
	if len(r.findings) < maxFindings {
		r.findings = append(r.findings, fmt.Sprintf(format, args...))
	}
}

// notef notes what is no failure.
func (r *recorder) notef(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// skipf says why the check cannot run; the check returns after it.
func (r *recorder) skipf(format string, args ...any) { r.reason = fmt.Sprintf(format, args...) }

func (r *recorder) failed() bool { return len(r.findings) > 0 }

// result is what the notebook comes to.
func (r *recorder) result(c Check, took time.Duration) Result {
	result := Result{Check: c.Name, What: c.What, Notes: r.notes, Seconds: took.Seconds()}
	switch {
	case r.failed():
		result.Status, result.Findings, result.Fix = Failed, r.findings, c.Fix
	case r.reason != "":
		result.Status, result.Reason = Skipped, r.reason
	default:
		result.Status = Passed
	}
	return result
}
