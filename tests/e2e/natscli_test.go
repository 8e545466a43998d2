//go:build heavy

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/tests/system"
	"github.com/esignd/esignd/tests/transcript"
)

// TestStockNATSCommand uses esignd as an operator would who has nothing but the nats command.
func TestStockNATSCommand(t *testing.T) {
	t.Parallel()
	cli := system.NATSCommand(t)
	box := system.World{Lifetime: time.Minute}.Open(t, "esignglobal")
	d := startDaemon(t, system.Options{Clients: []system.Registration{{Name: "robot", Vendor: "esignglobal", Box: box, GrantType: "client_credentials"}}})
	command := func(args ...string) *exec.Cmd {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		t.Cleanup(cancel)
		c := exec.CommandContext(ctx, cli, append([]string{"--server", "nats://" + d.NATS, "--no-context"}, args...)...)
		c.Env = append(os.Environ(), "NO_COLOR=1", "HOME="+filepath.Dir(d.Config), "XDG_CONFIG_HOME="+filepath.Dir(d.Config))
		return c
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := command(args...).CombinedOutput()
		if err != nil {
			t.Fatalf("nats %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}

	heard := &transcript.Transcript{}
	sub := command("sub", "--raw", "esign.event.>")
	sub.Stdout, sub.Stderr = heard, heard
	if err := sub.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Process.Kill(); _ = sub.Wait() })
	var token struct {
		AccessToken string `json:"access_token"`
		Generation  int
	}
	if err := json.Unmarshal([]byte(run("req", "--raw", "esign.api.default.token.get", `{"client":"robot"}`)), &token); err != nil || token.AccessToken == "" {
		t.Errorf("nats req: %v", err)
	}
	system.Await(t, time.Minute, "nats sub hears an event", func() bool {
		run("req", "--raw", "esign.api.default.token.revoke", `{"client":"robot"}`)
		run("req", "--raw", "esign.api.default.token.get", `{"client":"robot"}`)
		return strings.Contains(heard.String(), `"token.issued"`)
	})
	if bytes.Contains([]byte(heard.String()), []byte(token.AccessToken)) {
		t.Error("an event holds a token")
	}
	for _, row := range []struct {
		args []string
		says []string
	}{
		{[]string{"req", "esign.api.default.token.get", `{"client":"nobody"}`}, []string{"Nats-Service-Error-Code", "not_found"}},
		{[]string{"micro", "ls"}, []string{"esignd"}},
		{[]string{"micro", "info", "esignd"}, []string{"live OAuth tokens", "esign.api.*.token.get", "esign.api.*.grant.authorize"}},
		{[]string{"micro", "stats", "esignd"}, []string{"token-get"}},
		{[]string{"stream", "info", "ESIGN_EVENTS"}, []string{"esign.event.>", "7d", "10m"}},
		{[]string{"stream", "ls"}, []string{"ESIGN_EVENTS"}},
	} {
		out := run(row.args...)
		for _, words := range row.says {
			if !strings.Contains(out, words) {
				t.Errorf("nats %s does not say %q:\n%s", strings.Join(row.args, " "), words, out)
			}
		}
	}
	for _, args := range [][]string{{"stream", "info", "KV_ESIGN"}, {"stream", "purge", "-f", "ESIGN_EVENTS"}, {"stream", "rm", "-f", "ESIGN_EVENTS"}} {
		if out, err := command(args...).CombinedOutput(); err == nil {
			t.Errorf("any program may nats %s:\n%s", strings.Join(args, " "), out)
		}
	}
	if out, _ := command("kv", "ls").CombinedOutput(); strings.Contains(string(out), "ESIGN") {
		t.Errorf("nats kv ls shows the store:\n%s", out)
	}
}
