//go:build heavy

package tests

import (
	"os"
	"os/exec"
	"testing"
)

// TestAlertsAreSound has promtool check the alerts, and run them over series in which they must fire and must not.
func TestAlertsAreSound(t *testing.T) {
	for _, args := range [][]string{
		{"check", "rules", "../deploy/prometheus/esignd.rules.yml"},
		{"test", "rules", "../deploy/prometheus/esignd.test.yml"},
	} {
		if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v, which `make promtool` fetches: %v\n%s", args, err, out)
		}
	}
}

// TestTheExampleOfACollectorIsValid has the Collector of the tests check it.
func TestTheExampleOfACollectorIsValid(t *testing.T) {
	validate := exec.Command("otelcol", "validate", "--config", "file:../deploy/otelcol/collector.yaml")
	validate.Env = append(os.Environ(), "BACKEND=otlp.example.com:4317", "BACKEND_TOKEN=none")
	if out, err := validate.CombinedOutput(); err != nil {
		t.Errorf("otelcol validate, which `make collector` builds: %v\n%s", err, out)
	}
}
