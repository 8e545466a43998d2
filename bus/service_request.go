package bus

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// request is one request, until it is answered.
type request struct {
	service *Service
	conn    *nats.Conn
	*endpoint
	tenant string
	by     Identity
	named  wire.Selector // what the request names, once it is read
	reply  string
	asked  micro.Headers // of the request
	caller *quotaUse
	sealTo string // the key to which the answer is sealed; empty: it is not
	span   trace.Span
	began  time.Time
	cached bool      // it was answered from memory
	failed core.Code // of the error that it was answered with
}

// take runs on the endpoint's own goroutine, one request at a time: it answers what needs no waiting and hands the rest
// to a goroutine of its own.
func (s *Service) take(conn *nats.Conn, e *endpoint, m micro.Request) {
	began := time.Now()
	tenant, err := wire.TenantOf(s.cfg.Prefix, e.name, m.Subject())
	if !s.mayAnswer(e, m.Reply(), tenant) {
		return
	}
	by := identityOf(m, tenant)
	caller := s.quotas.of(by)
	if !caller.ask(began) {
		s.overQuota(conn, e, caller, m.Reply())
		return
	}
	sealTo, sealErr := wire.SealTo(m.Headers())
	if err == nil {
		err = sealErr
	}
	// Sealing takes longer than all the rest: it is not done on the goroutine that all requests go through.
	quick := e.quick != nil && err == nil && sealTo == ""
	begin, recorded := s.sample(m.Headers())
	plainly := !recorded && s.cfg.Audit == nil
	if quick && plainly && s.takeQuickly(conn, e, tenant, m, began) {
		return
	}
	r := &request{
		service: s, conn: conn, endpoint: e, tenant: tenant, by: by, reply: m.Reply(), asked: m.Headers(), caller: caller, sealTo: sealTo,
		began: began,
	}
	ctx := r.trace(m, begin)
	kept := false
	defer func() {
		if v := recover(); v != nil {
			r.panicked(ctx, v)
		}
		if !kept {
			r.span.End()
		}
	}()
	if err == nil && e.name != wire.TokenRevoke { // a revocation hands nothing out, and is never held back
		err = s.cfg.Audit.ready()
	}
	if err != nil {
		r.fail(ctx, err)
		return
	}
	if quick && !plainly {
		var done bool
		if done, kept = r.quickly(ctx, m.Data()); done {
			return
		}
	}
	var j job
	if j, r.named, err = e.read(tenant, m.Data()); err != nil {
		r.auditFailure(ctx, err)
		r.fail(ctx, err)
		return
	}
	kept = r.start(withIdentity(ctx, by), j, 1+int64(len(m.Data()))/1024)
}

// mayAnswer reports whether there is a subject to answer to, and whether it is an inbox. What a program asks from another
// NATS account is answered to the server, which hands the answer to that account and to no other.
func (s *Service) mayAnswer(e *endpoint, reply, tenant string) bool {
	switch {
	case reply == "":
		e.count.noReply.Add(1)
		return false
	case isInbox(reply, tenant), strings.HasPrefix(reply, importReply):
		return true
	}
	e.count.badReply.Add(1)
	s.complain.Do(func() {
		s.log.Warn("a request was dropped, its reply subject being no inbox; callers use _INBOX.> or _INBOX_<tenant>_<service>.>",
			"endpoint", string(e.name), "tenant", tenant)
	})
	return false
}

// isInbox reports whether a reply subject is below _INBOX or below the inbox prefix of a service of the tenant.
func isInbox(reply, tenant string) bool {
	rest, ok := strings.CutPrefix(reply, "_INBOX.")
	if !ok && tenant != "" {
		var service string
		if rest, ok = strings.CutPrefix(reply, "_INBOX_"+tenant+"_"); ok {
			service, rest, ok = strings.Cut(rest, ".")
			ok = ok && wire.ValidToken(service)
		}
	}
	if !ok {
		return false
	}
	return literal(rest)
}

// literal reports whether a subject is one to publish on: it has no empty token, no wildcard and no space.
func literal(subject string) bool {
	begin := 0 // of a token
	for i := range len(subject) {
		switch subject[i] {
		case ' ', '\t', '\r', '\n':
			return false
		case '.':
			if !plainToken(subject[begin:i]) {
				return false
			}
			begin = i + 1
		}
	}
	return plainToken(subject[begin:])
}

func plainToken(token string) bool { return token != "" && token != "*" && token != ">" }

// sample decides whether the span of a request is to be recorded, and in what context it would begin.
func (s *Service) sample(asked micro.Headers) (begin trace.SpanContext, recorded bool) {
	switch {
	case s.untraced:
		return begin, false
	case s.sampler == nil:
		return begin, true
	}
	return s.sampler.Sample(parentOf(asked))
}

// inTrace returns ctx where it is in a trace, else ctx in that of the caller.
func (r *request) inTrace(ctx context.Context) context.Context {
	if trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, wire.Header(r.asked))
}

// trace begins the request's span, which continues the caller's trace, or one of its own that begin has the id of.
func (r *request) trace(m micro.Request, begin trace.SpanContext) context.Context {
	ctx := r.inTrace(r.service.base)
	if begin.HasTraceID() && !begin.HasSpanID() {
		ctx = trace.ContextWithSpanContext(ctx, begin)
	}
	ctx, r.span = r.service.tracer.Start(ctx, "process "+r.template,
		trace.WithSpanKind(trace.SpanKindConsumer),
		messaging("process", "process", m.Subject(), r.template),
		trace.WithAttributes(
			attribute.String("messaging.consumer.group.name", serviceName),
			attribute.Int("messaging.message.body.size", len(m.Data())),
		))
	return ctx
}

// start runs the job on a goroutine, which ends the span. It answers and reports false where too much is being worked on.
func (r *request) start(ctx context.Context, j job, weight int64) bool {
	s := r.service
	if !r.caller.enter(weight) {
		r.count.overQuota.Add(1)
		r.fail(ctx, errQuota())
		return false
	}
	if !s.pending.TryAcquire(weight) {
		r.caller.leave(weight)
		r.overload(ctx)
		return false
	}
	if !s.begin() {
		s.pending.Release(weight)
		r.caller.leave(weight)
		r.overload(ctx)
		return false
	}
	r.count.pending.Add(1)
	go func() {
		defer s.work.Done()
		defer s.pending.Release(weight)
		defer r.caller.leave(weight)
		defer r.count.pending.Add(-1)
		defer r.span.End()
		defer func() {
			if v := recover(); v != nil {
				r.panicked(ctx, v)
			}
		}()
		ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
		defer cancel()
		answer, err := j(ctx)
		err = r.audited(ctx, answer, err)
		r.answer(ctx, answer, err)
	}()
	return true
}

func (r *request) overload(ctx context.Context) {
	r.count.overloaded.Add(1)
	r.fail(ctx, &core.Error{Code: core.TemporarilyUnavailable, Reason: "overloaded", RetryAfter: overloadRetry,
		Description: "esignd is working on as many requests as it takes; ask again"})
}

// panicked answers for a handler that panicked. What it panicked with could hold a piece of the request and is not
// logged, unless it is the runtime's own.
func (r *request) panicked(ctx context.Context, v any) {
	text := "not shown"
	if re, ok := v.(runtime.Error); ok {
		text = re.Error()
	}
	r.service.log.ErrorContext(r.inTrace(ctx), "the handler of a request panicked; its caller is told server_error, and the others are served", "endpoint", string(r.name), "tenant", r.tenant,
		"panic", text, "stack", string(debug.Stack()))
	err := core.Errorf(core.ServerError, "esignd could not do this; its log says why")
	r.auditFailure(ctx, err)
	r.fail(ctx, err)
}

// answer sends the answer, or the error where there is one.
func (r *request) answer(ctx context.Context, answer any, err error) {
	if err != nil {
		r.fail(ctx, err)
		return
	}
	body, err := json.Marshal(answer)
	if err != nil {
		r.fail(ctx, err)
		return
	}
	r.send(ctx, nil, body)
}

// fail sends an error.
func (r *request) fail(ctx context.Context, err error) {
	e := core.AsError(err)
	if e.Code == core.ServerError && e.Unwrap() != nil {
		r.service.log.ErrorContext(ctx, "a request could not be answered; its caller is told server_error", "endpoint", string(r.name), "tenant", r.tenant,
			"error", e.Unwrap())
	}
	r.failed = e.Code
	r.count.failed(e.Code)
	r.span.SetAttributes(attribute.String("error.type", string(e.Code)))
	r.span.SetStatus(codes.Error, string(e.Code))
	headers, body := wire.EncodeError(e)
	r.send(ctx, headers, body)
}

// send publishes on the reply subject. micro's own ways to answer are not for other goroutines.
func (r *request) send(ctx context.Context, headers map[string]string, body []byte) {
	m := &nats.Msg{Subject: r.reply, Data: body}
	if len(headers) > 0 || r.sealTo != "" {
		m.Header = make(nats.Header, len(headers)+1)
	}
	for name, value := range headers {
		m.Header.Set(name, value)
	}
	err := r.seal(m)
	if err == nil {
		err = r.conn.PublishMsg(m)
	}
	if errors.Is(err, nats.ErrMaxPayload) && headers[wire.HeaderErrorCode] == "" {
		r.fail(ctx, core.Errorf(core.ServerError, "the answer is larger than the NATS server's max_payload"))
		return
	}
	if err != nil {
		r.count.unsent.Add(1)
		r.service.log.WarnContext(r.inTrace(ctx), "an answer could not be sent; its caller has none, and asks again", "endpoint", string(r.name), "tenant", r.tenant, "error", err)
		return
	}
	r.count.answered.Add(1)
	r.service.metrics.answered(ctx, r)
}

// seal seals the body where the request wants that. Headers stay in the clear, and so does the code of an error.
func (r *request) seal(m *nats.Msg) (err error) {
	if r.sealTo == "" {
		return nil
	}
	m.Header.Set(wire.HeaderSealedBy, r.service.sealKey.Public())
	m.Data, err = r.service.sealKey.Seal(m.Data, r.sealTo)
	return err
}
