package host

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/internal/wire"
	"github.com/esignd/esignd/plugins/internal/wire/pluginv1"
)

const (
	maxInFlight  = 512             // calls in one process
	killPatience = 2 * time.Second // for the kernel to end a killed process
	maxMisses    = 3               // health checks in a row
)

// instance is one process that serves the adapter, from its handshake to its end.
type instance struct {
	proc    *process
	client  *goplugin.Client
	grpc    *grpc.ClientConn
	conn    *connKeeper
	rpc     pluginv1.AdapterClient
	limits  Limits
	logger  *slog.Logger
	started time.Time

	metadata  core.Metadata
	abilities []wire.Ability

	mu       sync.Mutex // guards inFlight and draining
	inFlight int
	draining bool
	idle     chan struct{} // one signal, when the last call ends while draining
}

// begin takes a place for a call, unless the process is being stopped, is lost, or has too many.
func (i *instance) begin() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.draining:
		return notSent("the plugin is being stopped")
	case i.grpc.GetState() != connectivity.Ready:
		return notSent("the connection to the plugin is lost")
	case i.inFlight >= maxInFlight:
		return notSent("the plugin has as many calls in flight as it may")
	}
	i.inFlight++
	return nil
}

// end gives the place back.
func (i *instance) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.inFlight--
	if i.draining && i.inFlight == 0 {
		i.idle <- struct{}{}
	}
}

// drain lets no call begin any more and waits, for a bounded time, for those in flight.
func (i *instance) drain(ctx context.Context) {
	i.mu.Lock()
	i.draining = true
	calls := i.inFlight
	i.mu.Unlock()
	if calls == 0 {
		return
	}
	timeout := time.NewTimer(i.limits.Drain)
	defer timeout.Stop()
	select {
	case <-i.idle:
	case <-i.proc.exited:
	case <-ctx.Done():
	case <-timeout.C:
		i.logger.WarnContext(ctx, "the plugin is stopped with calls in flight; their outcome is unknown", "waited", i.limits.Drain)
	}
}

// healthy reports whether the process says in time that it serves.
func (i *instance) healthy(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, i.limits.HealthTimeout)
	defer cancel()
	reply, err := grpc_health_v1.NewHealthClient(i.grpc).Check(ctx, &grpc_health_v1.HealthCheckRequest{
		Service: goplugin.GRPCServiceName,
	})
	return err == nil && reply.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING
}

// kill ends the process and waits until it is gone, so that a call which got no answer cannot act any more.
func (i *instance) kill(cause string) {
	i.proc.kill(cause)
	i.awaitGone(i.proc.exited)
}

// awaitGone waits for what follows a kill at once, unless the kernel cannot end the process.
func (i *instance) awaitGone(gone <-chan struct{}) {
	timeout := time.NewTimer(killPatience)
	defer timeout.Stop()
	select {
	case <-gone:
	case <-timeout.C:
		i.logger.Error("the plugin was killed and does not end; nothing more is asked of it, and another process takes its place", "pid", i.proc.pid())
	}
}

// stop ends the process in order: calls in flight, then its server, then, by force, what is left. go-plugin's Kill may
// wait for ever for a process that hangs, so it waits in a goroutine of its own, which the force ends.
func (i *instance) stop(ctx context.Context) {
	i.drain(ctx)
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		i.client.Kill()
	}()
	patience := time.NewTimer(i.limits.Kill)
	defer patience.Stop()
	select {
	case <-killed:
	case <-ctx.Done():
	case <-patience.C:
		i.logger.WarnContext(ctx, "the plugin does not end by itself; it is killed", "waited", i.limits.Kill)
	}
	i.proc.kill("it was stopped")
	i.awaitGone(i.proc.closed)
	i.awaitGone(killed)
	i.removeSocketDir()
}

// abandon ends what a failed start left.
func (i *instance) abandon() {
	if i.proc.pid() != 0 {
		i.proc.kill("it did not start")
		i.awaitGone(i.proc.closed)
	}
	i.conn.close()
	i.removeSocketDir()
}

func (i *instance) removeSocketDir() {
	if i.proc.socketDir != "" {
		_ = os.RemoveAll(i.proc.socketDir)
	}
}
