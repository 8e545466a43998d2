//go:build heavy

package generic_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/generic"
)

// folder holds oidc-provider, an authorization server that others wrote and the OpenID Foundation certified.
const folder = "testdata/oidcprovider"

// whatToDo ends the message about a server that cannot be started.
const whatToDo = "these tests need node 20 or later and npm on the PATH, and run `npm ci` in plugins/generic/" + folder

// provider is oidc-provider, running.
type provider struct{ issuer string }

// startProvider installs oidc-provider where it is not, and runs it until the test ends. The issuer has the path.
func startProvider(t *testing.T, path string) provider {
	t.Helper()
	install(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // beyond the test's own, whose end is before the clean-up
	cmd := exec.CommandContext(ctx, "node", "server.js", path)
	cmd.Dir = folder
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		cancel()
		t.Fatalf("start oidc-provider: %v; %s", err, whatToDo)
	}
	t.Cleanup(func() {
		defer cancel()
		_ = stdin.Close() // the server ends with its standard input
		if err := cmd.Wait(); err != nil {
			t.Errorf("oidc-provider: %v\n%s", err, complaints.String())
		}
	})
	issuer, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("oidc-provider says no issuer: %v; %s", err, whatToDo)
	}
	return provider{strings.TrimSpace(issuer)}
}

// install runs `npm ci` where the lock file is newer than what is installed.
func install(t *testing.T) {
	t.Helper()
	lock, err := os.Stat(filepath.Join(folder, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	installed, err := os.Stat(filepath.Join(folder, "node_modules", ".package-lock.json"))
	if err == nil && !installed.ModTime().Before(lock.ModTime()) {
		return
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = folder
	if output, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("install oidc-provider: %v; %s\n%s", err, whatToDo, output)
	}
}

// credentials are those of one of the server's clients: basic, post or public. What is in more is set over the settings.
func (p provider) credentials(name string, more ...string) core.Credentials {
	c := core.Credentials{
		ClientID: "esignd " + name, ClientSecret: core.NewSecret("s3cret:+%/" + name),
		Settings: map[string]string{
			"issuer":                p.issuer,
			"client_authentication": map[string]string{"basic": "basic", "post": "body", "public": "none"}[name],
			"authorization_params":  "prompt=consent", // without it the server gives no refresh token
			"api_base_url":          p.issuer,
		},
	}
	for i := 0; i < len(more); i += 2 {
		c.Settings[more[i]] = more[i+1]
	}
	return c
}

// userinfo returns the status with which the server's API answers an access token.
func (p provider) userinfo(t *testing.T, accessToken core.Secret) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.issuer+"/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+accessToken.Reveal())
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// end ends the grant of a client's access token at the server, behind the engine's back.
func (p provider) end(t *testing.T, client string, accessToken core.Secret) {
	t.Helper()
	r := core.RevocationRequest{Client: p.credentials(client), Token: accessToken, TokenTypeHint: "access_token"}
	if err := generic.New(generic.Config{}).Revoke(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}
