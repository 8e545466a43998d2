package bus

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/transcript"
)

func TestIsInbox(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]bool{
		"_INBOX.abc":                      true,
		"_INBOX.abc.def":                  true,
		"_INBOX_t_svc.abc":                true,
		"_INBOX_t_my_svc.abc.x":           true,
		"_INBOX":                          false,
		"_INBOX.":                         false,
		"_INBOX.>":                        false,
		"_INBOX.a.*":                      false,
		"_INBOX.a..b":                     false,
		"_INBOX.a b":                      false,
		"_INBOXX.a":                       false,
		"_INBOX_other_svc.a":              false,
		"_INBOX_t.a":                      false,
		"_INBOX_t_.a":                     false,
		"_INBOX_t_svc":                    false,
		"_INBOX_t_svc.":                   false,
		"$KV.ESIGN.grant.g":               false,
		"esign.event.t.token.issued.v.g":  false,
		"esign.timer.x":                   false,
		"$JS.API.STREAM.DELETE.KV_ESIGN":  false,
		"$JS.ACK.ESIGN_EVENTS.c.1.1.1.1.": false,
		"_R_.x":                           false,
	} {
		if got := isInbox(reply, "t"); got != want {
			t.Errorf("%s: %v", reply, got)
		}
	}
	if isInbox("_INBOX__svc.a", "") {
		t.Error("an inbox of no tenant was accepted")
	}
}

// On a server that is not ours, records, events and callers are in one account, and our connection may write anywhere.
func TestServiceWritesNothingOnASubjectThatIsNoInbox(t *testing.T) {
	t.Parallel()
	e := startExternal(t, nil)
	d := startDaemon(t, openBus(t, externalConfig(t, e.ClientURL())), nil)
	_, nc := d.caller(t, "default")
	d.seed(t, "default", "alice")
	eventually(t, "the import's events are paid", func() bool { return d.manager.Ready() == nil && d.quiescent(t) })
	records, events := d.lastSeq(t, recordStream), d.lastSeq(t, wire.EventStream)
	spy, err := nc.SubscribeSync("spy.>")
	if err != nil {
		t.Fatal(err)
	}
	for _, reply := range []string{"$KV.ESIGN.x", "esign.event.default.token.issued.acme.g_1", "spy.x", "esign.timer.x", "_INBOX_other_svc.x"} {
		for _, body := range []string{`{"client":"main","account":"alice"}`, `{"broken`} {
			if err := nc.PublishRequest("esign.api.default.token.get", reply, []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := nc.Publish("esign.api.default.token.get", []byte(`{"client":"main","account":"alice"}`)); err != nil {
		t.Fatal(err)
	}
	// The endpoint takes its requests in order: what comes before this one has been dealt with.
	if m, err := nc.Request("esign.api.default.token.get", []byte(`{"client":"main","account":"alice"}`), 10*time.Second); err != nil || !strings.Contains(string(m.Data), "access_token") {
		t.Fatalf("%v %v", m, err)
	}
	if got := d.lastSeq(t, recordStream); got != records {
		t.Errorf("%d messages were written to the records", got-records)
	}
	if got := d.lastSeq(t, wire.EventStream); got != events {
		t.Errorf("%d messages were written to the events", got-events)
	}
	if m, err := spy.NextMsg(50 * time.Millisecond); err == nil {
		t.Errorf("an answer on %s", m.Subject)
	}
	c := d.endpoint(wire.TokenGet).count.snapshot()
	if c.BadReply != 10 || c.NoReply != 1 || c.Answered != 1 {
		t.Errorf("counts %+v", c)
	}
}

func (d *daemon) lastSeq(t *testing.T, stream string) uint64 {
	t.Helper()
	s, err := d.session.Load().js.Stream(testContext(t), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.LastSeq
}

// quiescent reports whether the record of a grant stays as it is: its event is published and no longer owed.
func (d *daemon) quiescent(t *testing.T) bool {
	before := d.lastSeq(t, recordStream)
	time.Sleep(300 * time.Millisecond)
	return d.lastSeq(t, wire.EventStream) > 0 && d.lastSeq(t, recordStream) == before
}

func TestServiceAnswersToTheInboxOfACaller(t *testing.T) {
	t.Parallel()
	cfg := embeddedConfig(t.TempDir())
	billing, proof := newCaller(t, "default", "billing", wire.Caller)
	cfg.Auth = Auth{Callers: []Caller{billing}}
	d := startDaemon(t, openBus(t, cfg), nil)
	nc := dialOutside(t, d.Bus, proof.Options()...)
	c, err := client.New(client.Config{Conn: nc, Tenant: "default"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Token(testContext(t), client.Selector{Client: "app"}); err != nil {
		t.Error(err)
	}
}

func TestServiceAnswersOverload(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, openBus(t, embeddedConfig(t.TempDir())), func(c *ServiceConfig) { c.Pending = 1 })
	c, _ := d.caller(t, "default")
	entered, release := d.vendor.hold()
	defer release()
	first := make(chan error, 1)
	go func() {
		_, err := c.Token(testContext(t), client.Selector{Client: "app"})
		first <- err
	}()
	<-entered
	_, err := c.Token(testContext(t), client.Selector{Client: "app2"})
	if e := asError(t, err); e.Code != core.TemporarilyUnavailable || e.Reason != "overloaded" || e.RetryAfter != time.Second {
		t.Errorf("got %+v", e)
	}
	release()
	if err := <-first; err != nil {
		t.Error(err)
	}
	if _, err := c.Token(testContext(t), client.Selector{Client: "app"}); err != nil {
		t.Errorf("after the overload: %v", err)
	}
}

func TestServiceCloseAnswersWhatCame(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, openBus(t, embeddedConfig(t.TempDir())), nil)
	c, nc := d.caller(t, "default")
	entered, release := d.vendor.hold()
	defer release()
	waiting := make(chan error, 1)
	go func() {
		_, err := c.Token(testContext(t), client.Selector{Client: "app"})
		waiting <- err
	}()
	<-entered
	closed := make(chan error, 1)
	go func() { closed <- d.service.Close(testContext(t)) }()
	eventually(t, "nobody listens any more", func() bool {
		_, err := nc.Request("esign.api.default.grant.list", nil, time.Second)
		return errors.Is(err, nats.ErrNoResponders)
	})
	release()
	if err := <-waiting; err != nil {
		t.Errorf("the request that was on its way: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, err := c.Grant(testContext(t), client.Selector{Client: "app"}); !errors.Is(err, client.TemporarilyUnavailable) || !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("after Close: %v", err)
	}
}

func TestServiceCloseDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, openBus(t, embeddedConfig(t.TempDir())), nil)
	c, _ := d.caller(t, "default")
	entered, release := d.vendor.hold()
	defer release()
	waiting := make(chan error, 1)
	go func() {
		_, err := c.Token(testContext(t), client.Selector{Client: "app"})
		waiting <- err
	}()
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := d.service.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := <-waiting; !errors.Is(err, client.TemporarilyUnavailable) {
		t.Errorf("the caller heard %v", err)
	}
}

func TestServiceCloseLosesNoRequest(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, openBus(t, embeddedConfig(t.TempDir())), nil)
	_, nc := d.caller(t, "default")
	d.seed(t, "default", "alice")
	const requests = 500
	answers := make(chan *nats.Msg, requests)
	inbox := nats.NewInbox()
	sub, err := nc.ChanSubscribe(inbox+".*", answers)
	if err != nil {
		t.Fatal(err)
	}
	for range requests {
		if err := nc.PublishRequest("esign.api.default.grant.get", inbox+"."+nuid.Next(), []byte(`{"client":"main","account":"alice"}`)); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := d.service.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(time.Minute)
	for i := range requests {
		select {
		case <-answers: // an answer, or the server's word that nobody listens
		case <-deadline:
			t.Fatalf("%d of %d requests were answered", i, requests)
		}
	}
	if err := sub.Unsubscribe(); err != nil {
		t.Error(err)
	}
}

func TestServiceSurvivesAPanicAndLogsNoRequest(t *testing.T) {
	t.Parallel()
	var log transcript.Transcript
	d := startDaemon(t, openBus(t, embeddedConfig(t.TempDir())), func(c *ServiceConfig) {
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	_, nc := d.caller(t, "default")
	const canary = "canary-9d"
	d.endpoint(wire.GrantGet).read = func(string, []byte) (job, wire.Selector, error) { panic(canary) }
	d.endpoint(wire.GrantForget).read = func(string, []byte) (job, wire.Selector, error) {
		return func(context.Context) (any, error) { panic(canary) }, wire.Selector{}, nil
	}
	d.endpoint(wire.GrantImport).read = func(string, []byte) (job, wire.Selector, error) {
		return func(context.Context) (any, error) { var none []string; return none[len(canary)], nil }, wire.Selector{}, nil
	}
	for _, e := range []wire.Endpoint{wire.GrantGet, wire.GrantForget, wire.GrantImport} {
		for range 2 {
			m, err := nc.Request("esign.api.default."+string(e), []byte(`{"grant":"`+canary+`"}`), 10*time.Second)
			if err != nil {
				t.Fatalf("%s: %v", e, err)
			}
			if got := m.Header.Get("Nats-Service-Error-Code"); got != "server_error" {
				t.Errorf("%s: %v %s", e, m.Header, m.Data)
			}
		}
	}
	if s := log.String(); strings.Contains(s, canary) || !strings.Contains(s, "panicked") || !strings.Contains(s, "index out of range") {
		t.Errorf("log: %s", s)
	}
}

func TestServiceContinuesTheCallersTrace(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	d := startDaemon(t, openBus(t, embeddedConfig(t.TempDir())), func(c *ServiceConfig) { c.TracerProvider = provider })
	c, nc := d.caller(t, "default")
	ctx, parent := provider.Tracer("test").Start(testContext(t), "caller")
	if _, err := c.Token(ctx, client.Selector{Client: "app"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Token(ctx, client.Selector{Client: "nope"}); err == nil {
		t.Fatal("an unknown client has a token")
	}
	parent.End()
	// A caller in another language may write the header as HTTP does.
	m := &nats.Msg{Subject: "esign.api.default.grant.list", Header: nats.Header{}}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	m.Header.Set("Traceparent", carrier.Get("traceparent"))
	if _, err := nc.RequestMsg(m, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"process esign.api.{tenant}.token.get": 2, "process esign.api.{tenant}.grant.list": 1}
	eventually(t, "the spans ended", func() bool { return len(spans.Ended()) >= 4 })
	for _, s := range spans.Ended() {
		if s.Name() == "caller" {
			continue
		}
		want[s.Name()]--
		if s.SpanContext().TraceID() != parent.SpanContext().TraceID() || s.Parent().SpanID() != parent.SpanContext().SpanID() {
			t.Errorf("%s is not part of the caller's trace", s.Name())
		}
		if s.SpanKind() != trace.SpanKindConsumer {
			t.Errorf("%s has the kind %s", s.Name(), s.SpanKind())
		}
	}
	for name, n := range want {
		if n != 0 {
			t.Errorf("%s: %d spans are missing", name, n)
		}
	}
	if !hasAttribute(spans.Ended(), attribute.String("error.type", "not_found")) {
		t.Error("no span has the error's code")
	}
	if !hasAttribute(spans.Ended(), attribute.String("messaging.destination.name", "esign.api.default.token.get")) {
		t.Error("no span has the subject")
	}
}

func hasAttribute(spans []sdktrace.ReadOnlySpan, want attribute.KeyValue) bool {
	for _, s := range spans {
		for _, a := range s.Attributes() {
			if a == want {
				return true
			}
		}
	}
	return false
}
