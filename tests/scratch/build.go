package scratch

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// makeFlags are those of `make build`, whose packages are then in the build cache: with others all would be compiled once
// more. Without the symbols the linker is done in two thirds of the time.
const makeFlags, makeCgo = "-trimpath -buildvcs=false -ldflags=-s", "0"

// Build builds as `make build` does.
func Build(args ...string) error {
	return GoBuild([]string{"GOFLAGS=" + asMake(), "CGO_ENABLED=" + makeCgo}, args...)
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
	t.Setenv("GOFLAGS", asMake())
	t.Setenv("CGO_ENABLED", makeCgo)
}

func asMake() string { return strings.TrimSpace(os.Getenv("GOFLAGS") + " " + makeFlags) }
