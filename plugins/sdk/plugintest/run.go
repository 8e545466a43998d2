package plugintest

import (
	"context"
	"strings"
	"testing"
	"time"
)

// Run checks the plugin, a subtest for each of [Checks]. A check that fails says what was seen and what to fix.
func Run(t *testing.T, cfg Config) {
	t.Helper()
	b, err := open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	// The test's own context has ended when it is cleaned up.
	t.Cleanup(func() {
		if err := b.close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	for _, c := range Checks() {
		t.Run(c.Name, func(t *testing.T) { tell(t, b.check(t.Context(), c)) })
	}
}

// tell makes a test's outcome of a result.
func tell(t *testing.T, r Result) {
	t.Helper()
	for _, note := range r.Notes {
		t.Log("note: " + note)
	}
	switch r.Status {
	case Failed:
		t.Errorf("%s\nwanted: %s\nto fix: %s", strings.Join(r.Findings, "\n"), r.What, r.Fix)
	case Skipped:
		t.Skip(r.Reason)
	case Passed:
	}
}

// Examine runs the checks and returns the report; each gets every result as it comes, and may be nil. The error says
// that nothing could be examined: the plugin cannot be built, or the configuration is wrong. What is wrong with the
// plugin is in the report.
func Examine(ctx context.Context, cfg Config, each func(Result)) (report Report, err error) {
	b, err := open(ctx, cfg)
	if err != nil {
		return Report{}, err
	}
	defer func() {
		// The run's own context may have ended; closing is bounded by itself.
		if e := b.close(context.WithoutCancel(ctx)); err == nil {
			err = e
		}
	}()
	report.Plugin = b.name()
	for _, c := range Checks() {
		if ctx.Err() != nil {
			return report, ctx.Err()
		}
		if cfg.Only != nil && !cfg.Only.MatchString(c.Name) {
			continue
		}
		result := b.check(ctx, c)
		report.Results = append(report.Results, result)
		if each != nil {
			each(result)
		}
	}
	return report, nil
}

// check runs one check.
func (b *bench) check(ctx context.Context, c Check) Result {
	begun := time.Now()
	r := recorder{check: c.Name}
	switch {
	case c.process && b.cfg.Adapter != nil:
		r.skipf("an adapter in process has none of this: give Package or Binary")
	default:
		c.run(ctx, b, &r)
	}
	return r.result(c, time.Since(begun))
}
