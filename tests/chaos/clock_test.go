//go:build heavy && linux

package chaos

import (
	"bytes"
	"fmt"
	"os/exec"
	"testing"
)

// clockStepped has core's own test step the clock, in synthetic time, and takes over its figures.
func clockStepped(t *testing.T, _ extent) row {
	out, err := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "-run", "^TestClockSteps$", "github.com/esignd/esignd/core").CombinedOutput()
	if err != nil {
		t.Errorf("the test of the clock: %v\n%s", err, out)
	}
	var r row
	_, figures, _ := bytes.Cut(out, []byte("figures: "))
	if _, err := fmt.Sscanf(string(figures), "{Steps:%d Requests:%d Refreshes:%d Lost:%d Twice:%d Missing:%d Doubled:%d Dead:%d}",
		&r.kills, &r.requests, &r.refreshes, &r.lost, &r.twice, &r.missing, &r.doubled, &r.dead); err != nil {
		t.Errorf("read the figures of the test of the clock: %v\n%s", err, out)
	}
	return r
}
