package sdk

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/internal/wire"
)

const (
	// answerMargin is how long before the host's deadline a call's context ends, and a tenth of what is left at most.
	answerMargin = 500 * time.Millisecond
	maxStack     = 6 << 10 // bytes of a panic's stack that are logged
)

// recoverPanic turns a panic in a handler into the error Internal. What was panicked with is not logged unless it is
// the runtime's own error: it may hold a part of the request.
func recoverPanic(logger *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (resp any, err error) {
		defer func() {
			if p := recover(); p != nil {
				logger.ErrorContext(ctx, "the adapter panicked; this call has an unknown outcome, and others go on", "method", info.FullMethod, "panic", describePanic(p), "stack", stack())
				resp, err = nil, status.Error(codes.Internal, "the adapter panicked")
			}
		}()
		return handle(ctx, req)
	}
}

func describePanic(p any) string {
	if e, ok := p.(runtime.Error); ok {
		return e.Error()
	}
	return fmt.Sprintf("a value of type %T", p)
}

func stack() string {
	s := debug.Stack()
	return string(s[:min(len(s), maxStack)])
}

// tellVendorTime tells the host how long a call waited for the vendor.
func tellVendorTime(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	timed, waited := core.WithVendorTime(ctx)
	response, err := handle(timed, req)
	// It fails where the call is over already: then nobody wants to know.
	_ = grpc.SetTrailer(ctx, metadata.Pairs(wire.VendorTimeKey, strconv.FormatInt(waited.Total().Microseconds(), 10)))
	return response, err
}

// shortenDeadline leaves the adapter time to answer after its own deadline and before its host's.
func shortenDeadline(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return handle(ctx, req)
	}
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(-margin(time.Until(deadline))))
	defer cancel()
	return handle(ctx, req)
}

func margin(left time.Duration) time.Duration { return min(answerMargin, max(0, left/10)) }

// watchParent calls orphaned once when the process has got another parent, which happens when its own ends. The
// returned function ends the watch and waits for it.
func watchParent(getppid func() int, period time.Duration, orphaned func()) (stop func()) {
	parent := getppid()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(period)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if getppid() != parent {
				orphaned()
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
