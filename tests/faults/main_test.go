// Package faults drives every adapter, as the plugin process that it is in production, through every way in which a
// vendor's token endpoint goes wrong, and looks at what comes of it: what the adapter says of the request's fate, what
// the grant is afterwards, what its callers get, what is told in events, and that no word of the vendor and no secret
// is in anything that esignd writes.
//
// One table drives it, in table_test.go. A further vendor is a row in vendors_test.go; a further fault is one in
// plugins/sdk/plugintest/faultproxy and one in the table.
package faults

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/esignd/esignd/tests/scratch"
)

var (
	// binaries is the folder of the plugins under test. TestMain sets it before any test runs.
	binaries string
	// hostSpans are those of the calls between this process and the plugins.
	hostSpans = tracetest.NewInMemoryExporter()
)

// atOnce is how many tests run at a time: all of them. Most are waiting, and working bounds the others.
const atOnce = "1000"

// working bounds the tests that do anything but wait: calls have deadlines, and a machine has few processors.
var working = make(chan struct{}, 4)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	flag.Parse()
	if err := flag.Set("test.parallel", atOnce); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "esignd-faults-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// Plugins run from a folder that others can read and not write.
	if err := os.Chmod(dir, 0o755); err != nil {
		return 1, err
	}
	if err := build(dir); err != nil {
		return 1, err
	}
	binaries = dir
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(hostSpans))
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	if code = m.Run(); code != 0 {
		return code, nil
	}
	return 0, errors.Join(provider.Shutdown(context.Background()), goleak.Find())
}

func build(dir string) error {
	args := []string{"-o", dir + string(filepath.Separator)}
	for _, v := range vendors() {
		args = append(args, "github.com/esignd/esignd/plugins/"+v.name+"/esignd-plugin-"+v.name)
	}
	return scratch.Build(args...)
}
