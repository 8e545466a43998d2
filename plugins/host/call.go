package host

import (
	"context"
	"errors"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/internal/wire"
	"github.com/esignd/esignd/plugins/internal/wire/pluginv1"
)

// effect says whether a call acts at the vendor.
type effect bool

const (
	acts effect = true
	// reads: the call computes and has no effect, so that its caller may walk away from it.
	reads effect = false
)

// method is one of the methods of pluginv1.AdapterClient.
type method[Req, Resp proto.Message] func(pluginv1.AdapterClient, context.Context, Req, ...grpc.CallOption) (Resp, error)

// call calls the plugin, once. Its errors are [*core.VendorError].
func call[Req, Resp proto.Message](ctx context.Context, p *Plugin, e effect, m method[Req, Resp], request Req) (Resp, error) {
	var none Resp
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.cfg.Limits.Call)
		defer cancel()
	}
	if ctx.Err() != nil {
		return none, &core.VendorError{
			Outcome: core.NotSent, Code: core.CodeTimeout, Detail: "the call's time was over before it began",
		}
	}
	if err := wire.Check(request); err != nil {
		return none, &core.VendorError{Outcome: core.NotSent, Code: core.CodeInvalidRequest, Detail: err.Error()}
	}
	i, err := p.begin()
	if err != nil {
		return none, err
	}
	defer i.end()
	p.secrets.learn(request)
	waiting, stop := patient(ctx)
	defer stop()
	var trailer metadata.MD
	began := time.Now()
	response, err := m(i.rpc, waiting, request, grpc.Trailer(&trailer))
	core.AddVendorTime(ctx, vendorTime(trailer, time.Since(began)))
	if err == nil {
		p.secrets.learn(response)
		if failed, ok := any(response).(interface{ GetError() *pluginv1.VendorError }); ok && failed.GetError() != nil {
			failed.GetError().Detail = p.secrets.clean(failed.GetError().GetDetail())
		}
		return response, nil
	}
	gone := status.Code(err) == codes.Unavailable && i.proc.endsByItself()
	if !gone && mustEnd(ctx, e, err) {
		i.kill("it left a call unanswered")
	}
	return none, callError(ctx, err)
}

// vendorTime is how long a plugin says that a call waited for the vendor, where it says so and the call took that long.
func vendorTime(trailer metadata.MD, took time.Duration) time.Duration {
	values := trailer.Get(wire.VendorTimeKey)
	if len(values) != 1 {
		return 0
	}
	us, err := strconv.ParseUint(values[0], 10, 40)
	if err != nil {
		return 0
	}
	return min(time.Duration(us)*time.Microsecond, took)
}

// patience is for how long an answer counts after the time of its call is over.
const patience = 250 * time.Millisecond

// patient returns ctx with the same deadline for the plugin, that ends here by patience later. A process that was stopped, or
// suspended with its machine, finds two things when it wakes: the answer, and that the time is over. The answer comes first,
// since the refresh token in it may be the only one there is.
func patient(ctx context.Context) (context.Context, func()) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(ctx, func() { time.AfterFunc(patience, cancel) })
	return deadlineOf{Context: longer, of: ctx}, func() {
		unhook()
		cancel()
	}
}

// deadlineOf is a context that names the deadline of another, for gRPC to send.
type deadlineOf struct {
	context.Context
	of context.Context
}

// Deadline implements context.Context.
func (d deadlineOf) Deadline() (time.Time, bool) { return d.of.Deadline() }

// mustEnd reports whether the process in which a call failed must end before the caller hears of it.
//
// A call that acts must not go on once its caller has given up, or lost the connection. Of one that only reads its caller
// may walk away, as browsers do, and then the process lives on; but where its time is over, it hangs.
func mustEnd(ctx context.Context, e effect, err error) bool {
	switch code := status.Code(err); {
	case code == codes.DeadlineExceeded, code == codes.Canceled && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return true
	case code == codes.Canceled, code == codes.Unavailable:
		return e == acts
	default:
		return e == acts && ctx.Err() != nil
	}
}

// callError turns gRPC's error into ours, without its text, which is the plugin's. A response that carries a
// VendorError is no gRPC error; so whatever comes here, nothing is known of the call.
func callError(ctx context.Context, err error) *core.VendorError {
	e := internal("the plugin failed; its log says how")
	switch code := status.Code(err); {
	case ctx.Err() != nil || code == codes.DeadlineExceeded:
		e.Code, e.Detail = core.CodeTimeout, "the plugin did not answer in time"
	case code == codes.Unavailable || code == codes.Canceled:
		e.Code, e.Detail = core.CodePlugin, "the plugin's process ended during the call"
	case code == codes.ResourceExhausted:
		e.Detail = "the plugin's answer is over 1 MiB"
	case code == codes.Unimplemented:
		e.Detail = "the plugin has no such call"
	}
	return e
}

// notSent is the error of a call for which there is no process.
func notSent(detail string) *core.VendorError {
	return &core.VendorError{Outcome: core.NotSent, Code: core.CodePlugin, Detail: detail}
}
