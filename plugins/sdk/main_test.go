package sdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/host"
	"github.com/esignd/esignd/plugins/sdk"
)

// TestMain makes the test binary the plugin "example" where it is started under that name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == host.FileName("example") {
		sdk.Serve(example{})
		return
	}
	goleak.VerifyTestMain(m)
}

// example is a whole adapter, as a plugin's author writes it.
type example struct{}

func (example) Metadata(context.Context) (core.Metadata, error) {
	return core.Metadata{
		Vendor: "example", Title: "Example Sign", Version: "0.1.0",
		GrantTypes:     []core.GrantType{core.AuthorizationCode, core.RefreshToken},
		AccessLifetime: time.Hour,
		SettingsSchema: json.RawMessage(`{"type":"object","additionalProperties":false}`),
	}, nil
}

func (example) AuthorizationURL(_ context.Context, r core.AuthorizationRequest) (string, error) {
	return "https://example.com/authorize?state=" + r.State, nil
}

func (example) Callback(_ context.Context, r core.CallbackRequest) (core.CallbackResult, error) {
	return core.CallbackResult{Code: core.NewSecret(r.Params.Get("code"))}, nil
}

func (example) Token(_ context.Context, r core.TokenRequest) (core.TokenResponse, error) {
	if r.RefreshToken.IsZero() {
		return core.TokenResponse{}, errors.New("CANARY: what the vendor said")
	}
	return core.TokenResponse{AccessToken: core.NewSecret("live"), TokenType: "Bearer", ExpiresIn: time.Hour}, nil
}

func (example) Revoke(context.Context, core.RevocationRequest) error { return errors.ErrUnsupported }

// ExampleServe is the main of a plugin, whole.
func ExampleServe() {
	main := func() { sdk.Serve(example{}) }
	_ = main // esignd starts it
}

func link(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, host.FileName("example"))
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestServedAdapterAnswersItsHost(t *testing.T) {
	p, err := host.New(host.Config{Path: link(t), Vendor: "example"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	set, err := p.Adapter().Token(t.Context(), core.TokenRequest{RefreshToken: core.NewSecret("r")})
	if err != nil || set.AccessToken.Reveal() != "live" {
		t.Errorf("got %+v, %v", set, err)
	}
	_, err = p.Adapter().Token(t.Context(), core.TokenRequest{})
	if e := core.AsVendorError(err); e.Outcome != core.Unknown || e.Code != core.CodeInternal || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("got %v", err)
	}
	if err := p.Adapter().Revoke(t.Context(), core.RevocationRequest{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, want errors.ErrUnsupported", err)
	}
	if names := p.Abilities(); len(names) != 0 {
		t.Errorf("abilities that the adapter has not got crossed: %v", names)
	}
}

func TestPluginStartedByAPersonSaysWhatItIs(t *testing.T) {
	path := link(t)
	cmd := exec.Command(path)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("got %v, want exit status 1", err)
	}
	if !strings.Contains(stderr.String(), "plugin-host describe "+path) || out.Len() != 0 {
		t.Errorf("standard error %q, standard output %q", stderr.String(), out.String())
	}
}
