package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/esignd/esignd/plugins/sdk/plugintest"
)

const (
	sandboxStart = 30 * time.Second // until a sandbox has described itself
	sandboxStop  = 5 * time.Second  // from the interrupt to its end
	maxDocument  = 1 << 20          // bytes of its description
)

// runningSandbox is a sandbox for the time of a run.
type runningSandbox struct {
	description plugintest.Sandbox
	close       func() error
}

// openSandbox finds, or starts, what --sandbox names.
func openSandbox(ctx context.Context, name string, stderr io.Writer) (runningSandbox, error) {
	if file, ok := strings.CutPrefix(name, "@"); ok || strings.HasSuffix(name, ".json") {
		return readSandbox(file)
	}
	switch name {
	case "adobesign", "dropboxsign", "esignglobal":
		return ownSandbox(name)
	default:
		return execSandbox(ctx, name, stderr)
	}
}

// readSandbox reads the description of a sandbox that runs.
func readSandbox(file string) (runningSandbox, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return runningSandbox{}, fmt.Errorf("read the sandbox's description: %w", err)
	}
	description, err := decodeSandbox(bytes.NewReader(b))
	if err != nil {
		return runningSandbox{}, fmt.Errorf("read %s: %w", file, err)
	}
	return runningSandbox{description, func() error { return nil }}, nil
}

func decodeSandbox(r io.Reader) (plugintest.Sandbox, error) {
	decoder := json.NewDecoder(io.LimitReader(r, maxDocument))
	decoder.DisallowUnknownFields()
	var s plugintest.Sandbox
	if err := decoder.Decode(&s); err != nil {
		return s, fmt.Errorf("the sandbox's description is no JSON as `plugin-host sandbox --json` prints it: %w", err)
	}
	return s, nil
}

// ownSandbox starts one of the sandboxes that plugin-host has.
func ownSandbox(vendor string) (runningSandbox, error) {
	server, secretSettings, err := sandboxCommand{Vendor: vendor, Listen: "127.0.0.1:0"}.new()
	if err != nil {
		return runningSandbox{}, err
	}
	if err := server.Start(); err != nil {
		return runningSandbox{}, err
	}
	id, secret := server.Client()
	description := plugintest.Sandbox{
		Vendor: vendor, URL: server.URL(), ClientID: id, ClientSecret: secret, Settings: server.Settings(), SecretSettings: secretSettings,
	}
	switch vendor {
	case "adobesign":
		description.Scopes, description.Probe = []string{"user_login:self", "agreement_send:account"}, "/api/rest/v6/users/me"
	case "dropboxsign":
		description.Probe = "/v3/account"
	case "esignglobal":
		description.Scopes, description.Probe = []string{"signature"}, "/esignglobal/v1/envelope/envelopeDetail?envelopeId=1"
	}
	return runningSandbox{description, server.Close}, nil
}

// execSandbox starts a program that describes itself on standard output and serves until it is interrupted. The program
// leads a process group, all of which is interrupted and ended: `go run`, or a script that waits for its last line, does
// not hand an interrupt on.
func execSandbox(ctx context.Context, path string, stderr io.Writer) (runningSandbox, error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, path)
	cmd.Stderr = stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = sandboxStop
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return runningSandbox{}, fmt.Errorf("start the sandbox %s: %w", path, err)
	}
	slow := time.AfterFunc(sandboxStart, cancel)
	description, err := decodeSandbox(stdout)
	inTime := slow.Stop()
	drained := make(chan struct{})
	go func() { // a sandbox that goes on writing must not stand still
		defer close(drained)
		_, _ = io.Copy(io.Discard, stdout)
	}()
	stop := func() error {
		cancel()
		err := stopped(cmd.Wait()) // which ends the reading too
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-drained
		return err
	}
	if err != nil {
		if !inTime {
			err = fmt.Errorf("it said nothing within %v", sandboxStart)
		}
		return runningSandbox{}, errors.Join(fmt.Errorf("the sandbox %s: %w", path, err), stop())
	}
	return runningSandbox{description, stop}, nil
}

// stopped returns nil for the end of a program that was interrupted.
func stopped(err error) error {
	var exit *exec.ExitError
	if err == nil || errors.As(err, &exit) || errors.Is(err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("stop the sandbox: %w", err)
}
