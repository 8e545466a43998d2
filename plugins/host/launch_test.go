package host

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

func TestConnectionIsReadyBeforeCallsBegin(t *testing.T) {
	for name, tt := range map[string]struct {
		connects, took time.Duration
		want           connectivity.State
	}{
		"at once":         {want: connectivity.Ready},
		"a moment later":  {connects: 10 * time.Millisecond, took: 10 * time.Millisecond, want: connectivity.Ready},
		"after the start": {connects: 2 * time.Second, took: time.Second, want: connectivity.Connecting},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listener := bufconn.Listen(1 << 16)
				server := grpc.NewServer()
				go func() { _ = server.Serve(listener) }() // until Stop
				defer server.Stop()
				conn, err := grpc.NewClient("passthrough:///plugin", grpc.WithTransportCredentials(insecure.NewCredentials()),
					grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
						select {
						case <-time.After(tt.connects):
							return listener.DialContext(ctx)
						case <-ctx.Done():
							return nil, ctx.Err()
						}
					}))
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = conn.Close() }()
				began := time.Now()
				conn.Connect()
				conn.WaitForStateChange(t.Context(), connectivity.Idle)

				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				awaitState(ctx, conn)
				if took, state := time.Since(began), conn.GetState(); took != tt.took || state != tt.want {
					t.Errorf("%s after %s, want %s after %s", state, took, tt.want, tt.took)
				}
			})
		})
	}
}
