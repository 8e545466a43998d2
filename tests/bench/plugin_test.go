//go:build heavy

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/host"
	"github.com/esignd/esignd/tests/system"
)

// pluginResult compares calls of a plugin with bare gRPC over a Unix socket to another process, without TLS.
type pluginResult struct{ Plugin, Bare []callResult } // for each of pluginCallers

// pluginCallers are how many call at once.
var pluginCallers = []int{1, 16}

// measurePlugin calls an adapter's AuthorizationURL, which asks no vendor, through its plugin process.
func measurePlugin(t testing.TB, calls int) *pluginResult {
	set := system.Must(host.NewSet(host.SetConfig{
		Dir: string(binaries), Vendors: []string{vendorName}, SocketDir: filepath.Join(t.TempDir(), "s"), Logger: slog.New(slog.DiscardHandler),
	}))(t)
	if err := set.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := set.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	adapter := system.Must(set.Adapter(vendorName))(t)
	request := core.AuthorizationRequest{
		Client:      core.Credentials{ClientID: clientID, ClientSecret: core.NewSecret(clientSecret), Settings: map[string]string{"account_url": "http://127.0.0.1:1"}},
		RedirectURI: "http://127.0.0.1:8080/oauth/callback/bench", State: "state", Scope: []string{"signature"},
	}
	conn, message := dialBare(t)
	defer func() { _ = conn.Close() }()
	r := &pluginResult{}
	for _, callers := range pluginCallers {
		r.Plugin = append(r.Plugin, repeat(t, callers, calls, func(ctx context.Context) error {
			_, err := adapter.AuthorizationURL(ctx, request)
			return err
		}))
		r.Bare = append(r.Bare, repeat(t, callers, calls, func(ctx context.Context) error {
			return conn.Invoke(ctx, "/bench.Echo/Echo", message, new(wrapperspb.BytesValue))
		}))
	}
	for i, n := range pluginCallers {
		t.Logf("plugin, %d callers: p50 %s, %.0f/s; bare gRPC p50 %s, %.0f/s", n, r.Plugin[i].P50, r.Plugin[i].rate(), r.Bare[i].P50, r.Bare[i].rate())
	}
	return r
}

// repeat makes calls and measures them.
func repeat(t testing.TB, callers, calls int, call func(context.Context) error) callResult {
	t.Helper()
	for range min(100, calls) {
		if err := call(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	var all []time.Duration
	var failed error
	var wg sync.WaitGroup
	begun := time.Now()
	for range callers {
		wg.Go(func() {
			var took []time.Duration
			var err error
			for range calls / callers {
				begun := time.Now()
				err = errors.Join(err, call(t.Context()))
				took = append(took, time.Since(begun))
			}
			mu.Lock()
			defer mu.Unlock()
			all, failed = append(all, took...), errors.Join(failed, err)
		})
	}
	wg.Wait()
	if failed != nil {
		t.Fatal(failed)
	}
	elapsed := time.Since(begun)
	slices.Sort(all)
	return callResult{Count: len(all), Elapsed: elapsed, P50: quantile(all, 0.5), P99: quantile(all, 0.99), Max: quantile(all, 1)}
}

// dialBare starts a bare gRPC server in a process of its own.
func dialBare(t testing.TB) (*grpc.ClientConn, *wrapperspb.BytesValue) {
	t.Helper()
	address := serve(t, "grpc", filepath.Join(t.TempDir(), "grpc"))
	conn := system.Must(grpc.NewClient("unix://"+address, grpc.WithTransportCredentials(insecure.NewCredentials())))(t)
	return conn, wrapperspb.Bytes(make([]byte, 300)) // about what the request above takes
}

// bareGRPC is the role of that process: it answers what it was sent.
func bareGRPC(b []byte) error {
	var path string
	if err := json.Unmarshal(b, &path); err != nil {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("bare gRPC: %w", err)
	}
	s := grpc.NewServer()
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "bench.Echo", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Echo", Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			m := new(wrapperspb.BytesValue)
			return m, decode(m)
		}}},
	}, struct{}{})
	if err := json.NewEncoder(os.Stdout).Encode(path); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		s.Stop()
	}()
	return s.Serve(l)
}
