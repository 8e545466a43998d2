package hostile

import (
	"context"
	"strings"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/internal/wire"
	"github.com/esignd/esignd/plugins/internal/wire/pluginv1"
)

func connections() []Attack {
	return []Attack{
		{Vendor: "hangsup", Does: "closes the connection in every call", Code: core.CodePlugin, Ends: "exit status 0", serving: raw{hangUp: true}.serve},
		{Vendor: "headers", Does: "answers with headers of a quarter of a megabyte", Code: core.CodeInternal, serving: raw{headers: 256 << 10}.serve},
		{Vendor: "offers", Does: "offers its host thousands of connections", serving: raw{offers: true}.serve},
	}
}

// raw is a plugin without the sdk, which would not do what it does.
type raw struct {
	goplugin.NetRPCUnsupportedPlugin
	pluginv1.UnimplementedAdapterServer

	version int // of the protocol; 0: the right one
	hangUp  bool
	headers int // bytes
	offers  bool

	adapter core.Adapter
	server  *grpc.Server
}

func serveVersion(version int) func(core.Adapter) { return raw{version: version}.serve }

func (r raw) serve(a core.Adapter) {
	r.adapter = a
	version := wire.ProtocolVersion
	if r.version != 0 {
		version = r.version
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  goplugin.HandshakeConfig{MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue},
		VersionedPlugins: map[int]goplugin.PluginSet{version: {wire.PluginName: r}},
		GRPCServer:       goplugin.DefaultGRPCServer,
	})
}

// GRPCServer implements goplugin.GRPCPlugin.
func (r raw) GRPCServer(broker *goplugin.GRPCBroker, s *grpc.Server) error {
	r.server = s
	pluginv1.RegisterAdapterServer(s, r)
	if r.offers {
		go offerForever(broker)
	}
	return nil
}

// GRPCClient implements goplugin.GRPCPlugin.
func (raw) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

// offerForever says that there are listeners, which are closed again: only the offers stay.
func offerForever(broker *goplugin.GRPCBroker) {
	for id := uint32(1); ; id++ {
		l, err := broker.Accept(id)
		if err != nil {
			return
		}
		_ = l.Close()
	}
}

// Metadata implements pluginv1.AdapterServer.
func (r raw) Metadata(ctx context.Context, _ *pluginv1.MetadataRequest) (*pluginv1.MetadataResponse, error) {
	m, err := r.adapter.Metadata(ctx)
	return wire.EncodeMetadata(m, nil), err
}

// Token implements pluginv1.AdapterServer.
func (r raw) Token(ctx context.Context, request *pluginv1.TokenRequest) (*pluginv1.TokenResponse, error) {
	if r.hangUp {
		r.server.Stop() // does not return before this call does
	}
	if r.headers > 0 {
		if err := grpc.SetHeader(ctx, metadata.Pairs("x", strings.Repeat("x", r.headers))); err != nil {
			return nil, err
		}
	}
	return wire.EncodeTokenResponse(r.adapter.Token(ctx, wire.DecodeTokenRequest(request))), nil
}
