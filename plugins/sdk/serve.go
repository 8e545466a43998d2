package sdk

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc/filters"
	"google.golang.org/grpc"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/internal/nodump"
	"github.com/esignd/esignd/plugins/internal/wire"
	"github.com/esignd/esignd/plugins/internal/wire/pluginv1"
	"github.com/esignd/esignd/telemetry"
)

const (
	startTimeout = 5 * time.Second // for the adapter's Metadata and the start of telemetry
	parentPeriod = time.Second     // between two looks at whether the host lives
)

// Serve serves the adapter to the host that started this process, and returns when the host ends it. Started by a
// person it says what it is, and exits with status 1; so it does where the adapter cannot be served.
func Serve(adapter core.Adapter) {
	if os.Getenv(wire.CookieKey) != wire.CookieValue {
		explain(os.Stderr, os.Args[0])
		os.Exit(1)
	}
	if err := serve(adapter); err != nil {
		slog.Error("the plugin cannot serve; it ends", "error", err)
		os.Exit(1)
	}
}

// explain tells a person what this binary is.
func explain(w io.Writer, path string) {
	name := filepath.Base(path)
	_, _ = fmt.Fprintf(w, `%s is a plugin of esignd: esignd starts it by itself, from the folder in "plugins.dir".

To see what it offers, run:

    plugin-host describe %s
`, name, path)
}

func serve(adapter core.Adapter) error {
	// A signal to the whole service is for the host: it lets calls end, and then ends this process.
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP)

	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	metadata, err := adapter.Metadata(ctx)
	if err != nil {
		return fmt.Errorf("ask the adapter for its metadata: %w", err)
	}
	hidden := nodump.Set() // before the first secret comes
	stderr := os.Stderr    // go-plugin puts a pipe in its place later
	t, err := telemetry.Start(ctx, telemetry.Config{
		Service: wire.FilePrefix + metadata.Vendor,
		Version: metadata.Version,
		Log:     telemetry.LogConfig{Level: os.Getenv(wire.LogLevelKey), Format: "json"},
		Stderr:  stderr,
		Plugin:  true,
		Global:  true,
	})
	if err != nil {
		return err
	}
	slog.SetDefault(t.Logger())
	if hidden != nil {
		slog.Warn("the memory of this plugin is not closed to others; programs of the same user may read it", "error", hidden)
	}

	shutdown := func() {
		if err := t.Shutdown(context.Background()); err != nil {
			t.Logger().Warn("telemetry was not flushed; the last spans are missing", "error", err)
		}
	}
	stop := watchParent(os.Getppid, parentPeriod, func() {
		shutdown()
		os.Exit(1)
	})
	serveUntilStopped(adapter, t.Logger(), stderr)
	stop()
	shutdown()
	return nil
}

func serveUntilStopped(adapter core.Adapter, logger *slog.Logger, stderr io.Writer) {
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			MagicCookieKey:   wire.CookieKey,
			MagicCookieValue: wire.CookieValue,
		},
		VersionedPlugins: map[int]goplugin.PluginSet{
			wire.ProtocolVersion: {wire.PluginName: grpcPlugin{adapter: adapter}},
		},
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server { return newServer(options, logger) },
		Logger:     hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: stderr, JSONFormat: true}),
	})
}

func newServer(options []grpc.ServerOption, logger *slog.Logger) *grpc.Server {
	traced := otelgrpc.NewServerHandler(otelgrpc.WithFilter(filters.ServicePrefix(wire.ServicePrefix)))
	return grpc.NewServer(append(options,
		grpc.MaxRecvMsgSize(wire.MaxMessageSize),
		grpc.MaxSendMsgSize(wire.MaxMessageSize),
		grpc.StatsHandler(traced),
		grpc.ChainUnaryInterceptor(recoverPanic(logger), tellVendorTime, shortenDeadline),
	)...)
}

// grpcPlugin registers the adapter with go-plugin's server.
type grpcPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
	adapter core.Adapter
}

// GRPCServer implements goplugin.GRPCPlugin.
func (p grpcPlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	pluginv1.RegisterAdapterServer(s, server{adapter: p.adapter})
	return nil
}

// GRPCClient implements goplugin.GRPCPlugin; the host has its own.
func (p grpcPlugin) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, fmt.Errorf("serve %s: this is the plugin's side", wire.PluginName)
}
