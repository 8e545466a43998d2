package scratch

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// makeFlags are those of `make build`, whose packages are then in the build cache: with others all would be compiled once
// more. Without the symbols the linker is done in two thirds of the time.
const makeFlags, makeCgo = "-trimpath -buildvcs=false -ldflags=-s", "0"

// Build builds as `make build` does.
func Build(args ...string) error {
	flags, err := asMake()
	if err != nil {
		return err
	}
	return GoBuild([]string{"GOFLAGS=" + flags, "CGO_ENABLED=" + makeCgo}, args...)
}

// GoBuild runs go build with more in its environment.
func GoBuild(env []string, args ...string) error {
	cmd := exec.Command("go", append([]string{"build"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// BuildsAsMake has what builds in a test, such as the conformance kit, build as `make build` does.
func BuildsAsMake(t *testing.T) {
	t.Helper()
	flags, err := asMake()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOFLAGS", flags)
	t.Setenv("CGO_ENABLED", makeCgo)
}

func asMake() (flags string, err error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(os.Getenv("GOFLAGS") + " " + makeFlags + " '-pgo=" + filepath.Join(root, "cmd", "profile.pgo") + "'"), nil
}

// Root is the folder of the project.
func Root() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/esignd/esignd").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
