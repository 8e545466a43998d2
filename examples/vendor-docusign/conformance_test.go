package docusign_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/esignd/esignd/examples/vendor-docusign/sandbox"
	"github.com/esignd/esignd/plugins/sdk/plugintest"
)

func TestConformance(t *testing.T) {
	server := open(t, sandbox.Config{})
	id, secret := server.Client()
	plugintest.Run(t, plugintest.Config{
		Package: "./esignd-plugin-docusign",
		Sandbox: plugintest.Sandbox{
			ClientID: id, ClientSecret: secret, Settings: server.Settings(),
			Scopes: []string{"signature", "extended"}, Probe: "/v2.1/accounts/" + sandbox.AccountID(sandbox.Person),
		},
	})
}

// What the sandbox's command prints is what `plugin-host conformance --sandbox` reads, and it ends when it is told to.
func TestSandboxCommandDescribesItself(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, build(t, ".", "./sandbox/docusign-sandbox", "docusign-sandbox"))
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var got plugintest.Sandbox
	decoder := json.NewDecoder(stdout)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&got); err != nil {
		t.Error(err)
	}
	if got.Vendor != "docusign" || got.ClientSecret == "" || got.Settings["account_url"] != got.URL || got.Probe == "" {
		t.Errorf("%+v", got)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after an interrupt: %v", err)
	}
}

func TestPluginHostExaminesThePluginAgainstTheSandbox(t *testing.T) {
	host := build(t, filepath.Join("..", ".."), "./cmd/plugin-host", "plugin-host")
	plugin := build(t, ".", "./esignd-plugin-docusign", "esignd-plugin-docusign")
	vendor := build(t, ".", "./sandbox/docusign-sandbox", "docusign-sandbox")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, host, "conformance", plugin, "--sandbox", vendor, "--run", "^(handshake|exchange|refresh|rotation|stop)$", "--json")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("%v\n%s\n%s", err, out, exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	var report plugintest.Report
	if err := json.Unmarshal(out, &report); err != nil || report.Failed() || len(report.Results) != 5 {
		t.Errorf("%v\n%s", err, out)
	}
}

// build builds a package of the module in dir into a folder of its own, as esignd wants a plugin: others cannot write it.
func build(t *testing.T, dir, pkg, name string) string {
	t.Helper()
	folder, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, name)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, pkg)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
