package esignd

import (
	"context"

	commonpb "go.temporal.io/api/common/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"
)

// guardedData refuses payloads that hold a token.
type guardedData struct {
	guard *guard
	next  converter.DataConverter
}

func (d *guardedData) refusal() error {
	return temporal.NewNonRetryableApplicationError(
		"esignd: what is to be written into the history holds a token or a connect URL: pass the grant's id, and ask for the token in the activity that uses it",
		TypeTokenInPayload, nil)
}

// ToPayload implements converter.DataConverter.
func (d *guardedData) ToPayload(value any) (*commonpb.Payload, error) {
	p, err := d.next.ToPayload(value)
	if err != nil {
		return nil, err
	}
	if d.holds(p, value) {
		return nil, d.refusal()
	}
	return p, nil
}

// ToPayloads implements converter.DataConverter.
func (d *guardedData) ToPayloads(values ...any) (*commonpb.Payloads, error) {
	ps, err := d.next.ToPayloads(values...)
	if err != nil {
		return nil, err
	}
	for i, p := range ps.GetPayloads() {
		if i < len(values) && d.holds(p, values[i]) {
			return nil, d.refusal()
		}
	}
	return ps, nil
}

// holds looks at the payload and, where the client's own converter may have encrypted it, at the plain one.
func (d *guardedData) holds(p *commonpb.Payload, value any) bool {
	if d.guard.has(p.GetData()) {
		return true
	}
	plain := converter.GetDefaultDataConverter()
	if d.next == plain {
		return false
	}
	q, err := plain.ToPayload(value)
	return err == nil && d.guard.has(q.GetData())
}

// FromPayload implements converter.DataConverter.
func (d *guardedData) FromPayload(p *commonpb.Payload, to any) error {
	return d.next.FromPayload(p, to)
}

// FromPayloads implements converter.DataConverter.
func (d *guardedData) FromPayloads(p *commonpb.Payloads, to ...any) error {
	return d.next.FromPayloads(p, to...)
}

// ToString implements converter.DataConverter.
func (d *guardedData) ToString(p *commonpb.Payload) string { return d.next.ToString(p) }

// ToStrings implements converter.DataConverter.
func (d *guardedData) ToStrings(p *commonpb.Payloads) []string { return d.next.ToStrings(p) }

// WithWorkflowContext implements workflow.ContextAware.
func (d *guardedData) WithWorkflowContext(ctx workflow.Context) converter.DataConverter {
	if aware, ok := d.next.(workflow.ContextAware); ok {
		return &guardedData{guard: d.guard, next: aware.WithWorkflowContext(ctx)}
	}
	return d
}

// WithContext implements workflow.ContextAware.
func (d *guardedData) WithContext(ctx context.Context) converter.DataConverter {
	if aware, ok := d.next.(workflow.ContextAware); ok {
		return &guardedData{guard: d.guard, next: aware.WithContext(ctx)}
	}
	return d
}

// WithSerializationContext implements converter.DataConverterWithSerializationContext.
func (d *guardedData) WithSerializationContext(ctx converter.SerializationContext) converter.DataConverter {
	return &guardedData{guard: d.guard, next: converter.WithDataConverterSerializationContext(d.next, ctx)}
}

// guardedFailure redacts failures that hold a token.
type guardedFailure struct {
	guard *guard
	next  converter.FailureConverter
}

// ErrorToFailure implements converter.FailureConverter.
func (f *guardedFailure) ErrorToFailure(err error) *failurepb.Failure {
	if err == nil {
		return f.next.ErrorToFailure(err)
	}
	out := f.next.ErrorToFailure(err)
	if !f.holds(out) && !f.guard.has([]byte(err.Error())) {
		return out
	}
	// The plain one is redacted, and turned into what the client's own converter makes of it.
	plain := temporal.GetDefaultFailureConverter()
	clean := plain.ErrorToFailure(err)
	f.redact(clean)
	return f.next.ErrorToFailure(plain.FailureToError(clean))
}

// FailureToError implements converter.FailureConverter.
func (f *guardedFailure) FailureToError(failure *failurepb.Failure) error {
	return f.next.FailureToError(failure)
}

// WithSerializationContext implements converter.FailureConverterWithSerializationContext.
func (f *guardedFailure) WithSerializationContext(ctx converter.SerializationContext) converter.FailureConverter {
	return &guardedFailure{guard: f.guard, next: converter.WithFailureConverterSerializationContext(f.next, ctx)}
}

func (f *guardedFailure) holds(m proto.Message) bool {
	b, err := proto.Marshal(m)
	return err != nil || f.guard.has(b)
}

// redact takes the tokens out of a failure and its causes: out of texts where they stand, and details that hold one whole.
func (f *guardedFailure) redact(failure *failurepb.Failure) {
	for one := failure; one != nil; one = one.Cause {
		one.Message, one.StackTrace = f.guard.redact(one.Message), f.guard.redact(one.StackTrace)
		if info := one.GetApplicationFailureInfo(); info != nil {
			info.Type = f.guard.redact(info.Type)
		}
		f.dropDetails(one)
	}
}

func (f *guardedFailure) dropDetails(one *failurepb.Failure) {
	switch {
	case one.GetApplicationFailureInfo() != nil && f.holds(one.GetApplicationFailureInfo()):
		one.GetApplicationFailureInfo().Details = nil
	case one.GetCanceledFailureInfo() != nil && f.holds(one.GetCanceledFailureInfo()):
		one.GetCanceledFailureInfo().Details = nil
	case one.GetTimeoutFailureInfo() != nil && f.holds(one.GetTimeoutFailureInfo()):
		one.GetTimeoutFailureInfo().LastHeartbeatDetails = nil
	}
}
