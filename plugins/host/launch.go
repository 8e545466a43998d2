package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc/filters"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/esignd/esignd/plugins/internal/wire"
	"github.com/esignd/esignd/plugins/internal/wire/pluginv1"
)

// ErrVersion is wrapped by the error about a plugin that speaks no version of the protocol that esignd speaks. Rebuild
// the plugin with the plugins/sdk of the esignd that is to run it.
var ErrVersion = errors.New("the plugin speaks another version of the protocol")

// ErrNotPlugin is wrapped by the error about a program that did not say hello as a plugin does.
var ErrNotPlugin = errors.New("the program does not answer as a plugin")

// launch starts one process and returns it once it has told its metadata. It leaves nothing behind where it fails.
func (p *Plugin) launch(ctx context.Context, s *spawner, socketDir string) (*instance, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Limits.Start)
	defer cancel()
	if err := p.checkBinary(); err != nil {
		return nil, err
	}
	log := newOutputLog(p.cfg.Logger, &p.secrets)
	i := &instance{
		proc:   newProcess(s, p.cfg, log, p.environment()),
		limits: p.cfg.Limits,
		logger: p.cfg.Logger,
		conn:   &connKeeper{},
		idle:   make(chan struct{}, 1),
	}
	i.client = goplugin.NewClient(clientConfig(i, p.cfg, socketDir, log))
	if err := i.connect(ctx); err != nil {
		ended := i.proc.endsByItself()
		i.abandon()
		return nil, i.startError(ctx, err, ended)
	}
	if err := i.readMetadata(ctx, p.cfg.Vendor); err != nil {
		ended := i.proc.endsByItself()
		i.stop(context.WithoutCancel(ctx)) // bounded by Limits
		return nil, i.startError(ctx, err, ended)
	}
	awaitState(ctx, i.grpc)
	i.started = time.Now()
	return i, nil
}

// checkBinary looks at the file before each start, since it may be another than at the last.
func (p *Plugin) checkBinary() error {
	way, err := checkFile(p.cfg.Path)
	if err != nil {
		return err
	}
	if err := checkParents(way); err != nil && p.cfg.LooseParents {
		p.cfg.Logger.Warn("this plugin is started, where others may change it; in production it would not be", "error", err)
	} else if err != nil {
		return err
	}
	if p.digest == nil {
		return nil
	}
	return checkDigest(p.cfg.Path, p.digest)
}

// environment is what the plugin gets, before go-plugin adds its part.
func (p *Plugin) environment() []string {
	level := slog.LevelInfo
	if p.cfg.Logger.Enabled(context.Background(), slog.LevelDebug) {
		level = slog.LevelDebug
	}
	env := append(pluginEnv(os.Environ()), wire.LogLevelKey+"="+strings.ToLower(level.String()))
	if os.Getenv(memoryVariable) == "" {
		// A Go program collects garbage harder before it comes to the limit that ends it.
		env = append(env, fmt.Sprintf("%s=%d", memoryVariable, p.cfg.Limits.Memory/4*3))
	}
	return append(env, p.cfg.Env...)
}

// clientConfig is good for one start: nothing in it can be used twice.
func clientConfig(i *instance, cfg Config, socketDir string, log *outputLog) *goplugin.ClientConfig {
	which := vendorKey.String(cfg.Vendor)
	traced := otelgrpc.NewClientHandler(otelgrpc.WithFilter(filters.ServicePrefix(wire.ServicePrefix)),
		otelgrpc.WithSpanAttributes(which), otelgrpc.WithMetricAttributes(which),
		otelgrpc.WithTracerProvider(cfg.TracerProvider), otelgrpc.WithMeterProvider(cfg.MeterProvider), otelgrpc.WithPropagators(propagation.TraceContext{}))
	return &goplugin.ClientConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			MagicCookieKey:   wire.CookieKey,
			MagicCookieValue: wire.CookieValue,
		},
		VersionedPlugins: map[int]goplugin.PluginSet{
			wire.ProtocolVersion: {wire.PluginName: grpcPlugin{}},
		},
		RunnerFunc:       i.proc.prepare,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: socketDir},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		StartTimeout:     i.limits.Start + time.Second, // the context given to launch ends first
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Off}),
		SyncStdout:       log.stdout(),
		SyncStderr:       log.stderr(),
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(wire.MaxMessageSize), grpc.MaxCallSendMsgSize(wire.MaxMessageSize)),
			grpc.WithMaxHeaderListSize(maxHeaders),
			grpc.WithDisableRetry(),
			grpc.WithDisableServiceConfig(),
			grpc.WithStatsHandler(traced),
			grpc.WithChainStreamInterceptor(i.conn.keep),
		},
	}
}

// connKeeper keeps the connection that go-plugin opens: it forgets to close it where it fails right after.
type connKeeper struct {
	mu   sync.Mutex // guards conn
	conn *grpc.ClientConn
}

// maxHeaders bounds what a plugin sends around a message, in bytes.
const maxHeaders = 64 << 10

// keep is a stream interceptor: go-plugin's first call on a new connection is a stream. The stream of go-plugin's broker is
// not listened to: a plugin has nothing to offer by it, and each offer would cost a goroutine and memory for seconds.
func (k *connKeeper) keep(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string,
	open grpc.Streamer, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	k.mu.Lock()
	k.conn = conn
	k.mu.Unlock()
	stream, err := open(ctx, desc, conn, method, options...)
	if err == nil && strings.HasPrefix(method, "/plugin.GRPCBroker/") {
		stream = deaf{stream}
	}
	return stream, err
}

// deaf is a stream from which nothing is received but its end.
type deaf struct{ grpc.ClientStream }

// RecvMsg implements grpc.ClientStream.
func (d deaf) RecvMsg(m any) error {
	for {
		if err := d.ClientStream.RecvMsg(m); err != nil {
			return err
		}
	}
}

func (k *connKeeper) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conn != nil {
		_ = k.conn.Close()
	}
}

// grpcPlugin gives out the connection itself.
type grpcPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
}

// GRPCServer implements goplugin.GRPCPlugin; the plugin has its own.
func (grpcPlugin) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error {
	return errors.New("serve an adapter: this is the host's side")
}

// GRPCClient implements goplugin.GRPCPlugin.
func (grpcPlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// connect starts the process and makes the connection. When the context ends it kills the process, which is what ends
// go-plugin's waiting: that knows no context.
func (i *instance) connect(ctx context.Context) error {
	result := make(chan error, 1)
	go func() { result <- i.dispense() }()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		i.proc.kill("it did not start in time")
		return errors.Join(ctx.Err(), <-result)
	}
}

func (i *instance) dispense() error {
	client, err := i.client.Client()
	if err != nil {
		return err
	}
	conn, err := client.Dispense(wire.PluginName)
	if err != nil {
		return err
	}
	i.grpc = conn.(*grpc.ClientConn)
	i.rpc = pluginv1.NewAdapterClient(i.grpc)
	return nil
}

// awaitState waits until a connection that has carried a call says so of its state, by which calls begin or are refused. gRPC
// lets a call through before that.
func awaitState(ctx context.Context, conn *grpc.ClientConn) {
	conn.WaitForStateChange(ctx, connectivity.Connecting)
}

// readMetadata asks the new process who it is.
func (i *instance) readMetadata(ctx context.Context, vendor string) error {
	reply, err := i.rpc.Metadata(ctx, &pluginv1.MetadataRequest{})
	if err != nil {
		return fmt.Errorf("ask for its metadata: %w", callError(ctx, err))
	}
	i.metadata, i.abilities = wire.DecodeMetadata(reply)
	i.abilities = slices.DeleteFunc([]wire.Ability{wire.CheckAPIBaseURL, wire.VerifyAccount, wire.CreateAccount, wire.ReadEvent},
		func(known wire.Ability) bool { return !slices.Contains(i.abilities, known) })
	return checkMetadata(i.metadata, vendor)
}

// startError says why the process is not ready, in the words of whoever has to mend it. The process is gone by now; ended
// says that it went by itself.
func (i *instance) startError(ctx context.Context, err error, ended bool) error {
	proc := i.proc
	if proc.pid() == 0 {
		return err
	}
	quoted := printable(proc.firstLine, maxLastLine)
	version, hello := parseHello(proc.firstLine)
	switch {
	case hello && version != wire.ProtocolVersion:
		return fmt.Errorf("%s speaks version %d, this esignd speaks %d: %w; rebuild the plugin with plugins/sdk of this esignd, or run the esignd it was built for",
			proc.path, version, wire.ProtocolVersion, ErrVersion)
	case hello && ended:
		return fmt.Errorf("%s said hello and then ended (%s)%s", proc.path, proc.exitText(), i.lastWords())
	case hello:
		return fmt.Errorf("%s is not usable after its hello: %w%s", proc.path, err, i.lastWords())
	case quoted != "":
		return fmt.Errorf("%s wrote %q to its standard output before sdk.Serve, where the host expects the handshake: %w; "+
			"let it write to standard error, or take it out of plugins.dir if it is no plugin", proc.path, quoted, ErrNotPlugin)
	case ctx.Err() != nil:
		return fmt.Errorf("%s said nothing in time (%w): %w; is it a plugin? `plugin-host describe %s` shows what it does%s",
			proc.path, ctx.Err(), ErrNotPlugin, proc.path, i.lastWords())
	default:
		return fmt.Errorf("%s ended (%s) before it said hello: %w%s", proc.path, proc.exitText(), ErrNotPlugin, i.lastWords())
	}
}

// lastWords quotes standard error. It is for processes that were given no secret yet.
func (i *instance) lastWords() string {
	if last := i.proc.log.lastLine(); last != "" {
		return fmt.Sprintf("; the last it wrote to standard error: %q", last)
	}
	return ""
}

// parseHello reads go-plugin's handshake line and reports whether it is one.
func parseHello(line string) (version int, ok bool) {
	var protocol int
	n, _ := fmt.Sscanf(line, "%d|%d|", &protocol, &version)
	return version, n == 2 && protocol == goplugin.CoreProtocolVersion && strings.Count(line, "|") >= 3
}
