package system

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// NATSCommand returns the stock nats command: that of NATS_CLI, the one on the PATH, or the one that tests/natscli pins.
func NATSCommand(t testing.TB) string {
	t.Helper()
	path := os.Getenv("NATS_CLI")
	if path == "" {
		path, _ = exec.LookPath("nats")
	}
	if path != "" {
		return path
	}
	path = filepath.Join(t.TempDir(), "nats")
	build := exec.Command("go", "build", "-o", path, "github.com/nats-io/natscli/nats")
	build.Dir = filepath.Join("..", "natscli")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the nats command: %v\n%s", err, out)
	}
	return path
}
