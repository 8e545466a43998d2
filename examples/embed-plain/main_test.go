package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esignd/esignd/examples/internal/robot"
)

// TestMain makes the test binary a plugin where it is started as one.
func TestMain(m *testing.M) {
	if robot.Serve() {
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"hook: robot is pending, generation 0", "hook: robot is active, generation 1", "token: generation 1, [redacted], for http://127.0.0.1",
		"hook: robot is active, generation 2", "token: generation",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not print %q:\n%s", want, out.String())
		}
	}
	if n := strings.Count(out.String(), "token: generation"); n != 2 {
		t.Errorf("it prints %d tokens, want one in process and one over NATS:\n%s", n, out.String())
	}
}
