package tests

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/esignd/esignd/tests/arch"
)

const module = "github.com/esignd/esignd"

// rules are the rules about imports. Each carries an import that breaks it and one that it lets pass: a test shows that
// the rule tells them apart.
func rules() []arch.Rule {
	return []arch.Rule{
		{
			Name:   "core imports nothing else of this module",
			Reason: "the engine is what everything else is built on; what it needs of others it declares as an interface",
			Of:     []string{"core/..."},
			Not:    []string{"module"},
			But:    []string{"core/..."},
			Breaks: []string{"core/manager.go", module + "/bus/wire"},
			Allows: []string{"core/storetest/storetest.go", module + "/core"},
		},
		{
			Name: "core knows no transport, no wiring and no SDK, not even through others",
			Reason: "an embedder takes the engine without NATS, gRPC, fx and an OTel SDK of our choice, " +
				"and its tests run on a fake clock, which real I/O would stop",
			Of: []string{"core/..."},
			Not: []string{
				"github.com/nats-io/...", "google.golang.org/grpc/...", "google.golang.org/protobuf/...", "go.uber.org/fx/...",
				"go.opentelemetry.io/otel/sdk/...", "go.opentelemetry.io/otel/exporters/...", "github.com/hashicorp/...",
			},
			Deep:   true,
			Breaks: []string{"core/timers.go", "example.com/clock", "github.com/nats-io/nats.go"},
			Allows: []string{"core/timers.go", "go.opentelemetry.io/otel/trace", "go.opentelemetry.io/otel/attribute"},
		},
		{
			Name:   "core takes few libraries",
			Reason: "each library in the engine is one that every embedder has to trust with refresh tokens",
			Of:     []string{"core"},
			Not:    []string{"foreign"},
			But: []string{
				"go.opentelemetry.io/otel", "go.opentelemetry.io/otel/attribute", "go.opentelemetry.io/otel/codes",
				"go.opentelemetry.io/otel/metric", "go.opentelemetry.io/otel/propagation", "go.opentelemetry.io/otel/trace",
				"golang.org/x/sync/...", "golang.org/x/time/...", "github.com/cenkalti/backoff/v5",
			},
			Breaks: []string{"core/refresh.go", "github.com/tink-crypto/tink-go/v2/aead"},
			Allows: []string{"core/refresh.go", "golang.org/x/sync/errgroup"},
		},
		{
			Name:   "a vendor's folder imports core, plugins/oauth, plugins/sdk and itself",
			Reason: "vendors come and go one by one; what two of them need moves to plugins/oauth",
			Of:     []string{"plugins/..."},
			Except: []string{"plugins/sdk/...", "plugins/host/...", "plugins/oauth/...", "plugins/internal/...", "plugins/consent/..."},
			Not:    []string{"module"},
			But:    []string{"core", "plugins/oauth", "plugins/sdk/..."},
			Own:    true,
			Breaks: []string{"plugins/adobesign/adobesign.go", module + "/plugins/dropboxsign"},
			Allows: []string{"plugins/adobesign/esignd-plugin-adobesign/main.go", module + "/plugins/adobesign"},
		},
		{
			Name:   "only sandboxes know the authorization server that they share",
			Reason: "an adapter speaks to a vendor over HTTP and to nothing else",
			Not:    []string{"plugins/sdk/authserver/..."},
			Except: []string{
				"plugins/sdk/authserver/...",
				"plugins/adobesign/sandbox", "plugins/dropboxsign/sandbox", "plugins/esignglobal/sandbox", "plugins/generic/sandbox",
			},
			Breaks: []string{"plugins/adobesign/adobesign.go", module + "/plugins/sdk/authserver"},
			Allows: []string{"plugins/adobesign/sandbox/sandbox.go", module + "/plugins/sdk/authserver"},
		},
		{
			Name:   "a sandbox shares no code with the adapter that it tests",
			Reason: "both are written from the vendor's documents; code that they shared would hide the mistakes in it",
			Of:     []string{"plugins/adobesign/sandbox", "plugins/dropboxsign/sandbox", "plugins/esignglobal/sandbox", "plugins/generic/sandbox", "plugins/sdk/authserver/..."},
			Not:    []string{"module"},
			But:    []string{"plugins/sdk/authserver/..."},
			Breaks: []string{"plugins/dropboxsign/sandbox/sandbox.go", module + "/plugins/dropboxsign"},
			Allows: []string{"plugins/dropboxsign/sandbox/sandbox.go", module + "/plugins/sdk/authserver"},
		},
		{
			Name:   "plugins/oauth imports core alone",
			Reason: "adapters in process bring neither NATS nor gRPC with them",
			Of:     []string{"plugins/oauth/..."},
			Not:    []string{"module"},
			But:    []string{"core"},
			Breaks: []string{"plugins/oauth/client.go", module + "/telemetry"},
			Allows: []string{"plugins/oauth/client.go", module + "/core"},
		},
		{
			Name:   "only plugins/sdk, plugins/host and plugins/internal know go-plugin, gRPC and protobuf",
			Reason: "the plugin protocol ends at those packages: to all others a plugin is a core.Adapter",
			Except: []string{"plugins/sdk/...", "plugins/host/...", "plugins/internal/..."},
			Not: []string{
				"github.com/hashicorp/...", "google.golang.org/grpc/...", "google.golang.org/protobuf/...",
				"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/...",
			},
			Breaks: []string{"web/web.go", "google.golang.org/grpc/status"},
			Allows: []string{"plugins/host/plugin.go", "google.golang.org/grpc/status"},
		},
		{
			Name:   "only bus knows NATS",
			Reason: "subjects, revisions and redeliveries are the business of one package; core has words of its own for them",
			Except: []string{"bus/..."},
			Not:    []string{"github.com/nats-io/..."},
			Breaks: []string{"cmd/esignd/serve.go", "github.com/nats-io/nats.go"},
			Allows: []string{"bus/client/client.go", "github.com/nats-io/nats.go"},
		},
		{
			Name:   "bus does not reach plugins",
			Reason: "a service that asks for tokens, and a store, have no vendor in them",
			Of:     []string{"bus/..."},
			Not:    []string{"plugins/..."},
			Deep:   true,
			Breaks: []string{"bus/service.go", module + "/web", module + "/plugins/host"},
			Allows: []string{"bus/service.go", module + "/core"},
		},
		{
			Name:   "a Go service gets a small client",
			Reason: "who imports bus/client or bus/wire should not compile a NATS server, an OTel SDK or the daemon into the service",
			Of:     []string{"bus/client", "bus/wire"},
			Not: []string{
				"bus", "web/...", "telemetry/...", ".", "github.com/nats-io/nats-server/...", "google.golang.org/grpc/...",
				"go.opentelemetry.io/otel/sdk/...", "go.uber.org/fx/...",
			},
			Deep:   true,
			Breaks: []string{"bus/client/watch.go", "github.com/nats-io/nats.go/jetstream", "github.com/nats-io/nats-server/v2/server"},
			Allows: []string{"bus/client/watch.go", module + "/bus/wire", module + "/core"},
		},
		{
			Name:   "only telemetry knows the OTel SDK and its exporters",
			Reason: "instrumentation speaks to the OTel API; one package decides where it goes and what is redacted on the way",
			Except: []string{"telemetry/..."},
			Not: []string{
				"go.opentelemetry.io/otel/sdk/...", "go.opentelemetry.io/otel/exporters/...", "go.opentelemetry.io/contrib/exporters/...",
				"go.opentelemetry.io/contrib/bridges/...", "github.com/prometheus/...",
			},
			Breaks: []string{"core/spans.go", "go.opentelemetry.io/otel/sdk/trace"},
			Allows: []string{"core/spans.go", "go.opentelemetry.io/otel/trace"},
		},
		{
			Name:       "fx stands in the root package, in files named module.go, and in the example of it",
			Reason:     "every constructor works without fx: in tests, and in programs that are wired otherwise",
			Except:     []string{".", "examples/embed-fx"},
			ExceptFile: "module.go",
			Not:        []string{"go.uber.org/fx/...", "go.uber.org/dig/..."},
			Breaks:     []string{"web/web.go", "go.uber.org/fx"},
			Allows:     []string{"web/module.go", "go.uber.org/fx"},
		},
		{
			Name:   "nothing imports cmd",
			Reason: "what a command does and others need belongs to the package that owns it",
			Not:    []string{"cmd/..."},
			Breaks: []string{"esignd.go", module + "/cmd/esignd/flags"},
			Allows: []string{"cmd/esignd/main.go", module},
		},
	}
}

// folders are the top-level folders, dot folders aside.
var folders = []string{"bus", "cmd", "core", "deploy", "docs", "examples", "plugins", "telemetry", "tests", "web", "workflow"}

// sleeps are the files without tests in them that may call time.Sleep.
var sleeps = map[string]string{
	"core/storetest/storetest.go": "a conformance suite, which polls real stores",
	"tests/system/main.go":        "polls the processes that end after the tests",
	"tests/system/process.go":     "polls for tests, with a deadline",
}

// banned are words that no file holds. They are put together here so that this file passes.
var banned = map[string]string{
	"../" + "shared":     "the project stands on its own: say it here in the project's words",
	"work/" + "shared":   "the project stands on its own: say it here in the project's words",
	"issue" + " tracker": "what a reader must know stands in the code or in docs",
}

// ignored are the top-level entries that git ignores.
var ignored = []string{"bin", "esignd-data", ".ci/tools"}

func readTree(t *testing.T) *arch.Tree {
	t.Helper()
	tree, err := arch.Read(os.DirFS(".."), module, ignored...)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func readGraph(t *testing.T) arch.Graph {
	t.Helper()
	g, err := arch.List(t.Context(), "..")
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func report(t *testing.T, found []string) {
	t.Helper()
	for _, f := range found {
		t.Error(f)
	}
}

func TestImportsKeepTheRules(t *testing.T) {
	tree, graph := readTree(t), readGraph(t)
	report(t, tree.Check(rules(), graph))
	report(t, tree.Unmatched(rules(), graph))
}

func TestEachImportRuleTellsItsExamplesApart(t *testing.T) {
	for _, r := range rules() {
		t.Run(r.Name, func(t *testing.T) {
			if r.Reason == "" {
				t.Error("the rule has no reason")
			}
			if found := example(t, r, r.Breaks); len(found) != 1 {
				t.Errorf("%v breaks the rule, and it finds %q", r.Breaks, found)
			}
			if found := example(t, r, r.Allows); len(found) != 0 {
				t.Errorf("%v keeps the rule, and it finds %q", r.Allows, found)
			}
		})
	}
}

// example checks the rule in a module of one file, whose import leads along the chain.
func example(t *testing.T, r arch.Rule, chain []string) []string {
	t.Helper()
	file, imports := chain[0], chain[1:]
	tree, err := arch.Read(fstest.MapFS{
		file: {Data: fmt.Appendf(nil, "package p\n\nimport %q\n", imports[0])},
	}, module)
	if err != nil {
		t.Fatal(err)
	}
	g := arch.Graph{}
	for i, p := range imports[:len(imports)-1] {
		g[p] = []string{"fmt", imports[i+1]}
	}
	found := tree.Check([]arch.Rule{r}, g)
	for _, f := range found {
		for _, part := range append([]string{r.Name, r.Reason, file + ":3"}, imports...) {
			if !strings.Contains(f, part) {
				t.Errorf("the finding does not name %q:\n%s", part, f)
			}
		}
	}
	return found
}

func TestTopLevelFoldersAreThoseOfTheProject(t *testing.T) {
	found, err := readTree(t).Folders(folders)
	if err != nil {
		t.Fatal(err)
	}
	report(t, found)
}

func TestEveryPackageHasOnePackageComment(t *testing.T) {
	report(t, readTree(t).Undocumented())
}

func TestNoInitFunctions(t *testing.T) {
	report(t, readTree(t).InitFunctions())
}

func TestNoSleepsOutsideOfTests(t *testing.T) {
	report(t, readTree(t).Sleeps(sleeps))
}

// TestLogSaysWhatHappensNext holds how the log is written, in what becomes a daemon or a plugin.
func TestLogSaysWhatHappensNext(t *testing.T) {
	report(t, readTree(t).Logs([]string{"bus/serverlog.go"}, ".", "core/...", "bus/...", "web/...", "plugins/host/...", "plugins/sdk", "telemetry", "cmd/esignd"))
}

func TestNoFilePointsOutOfTheProject(t *testing.T) {
	found, err := readTree(t).Words(banned)
	if err != nil {
		t.Fatal(err)
	}
	report(t, found)
}
