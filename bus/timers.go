package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

const (
	// A due timer that is being worked is told to nobody else for dueAckWait, which is renewed while the work lasts.
	dueAckWait  = 30 * time.Second
	dueProgress = 10 * time.Second
	dueSettle   = 5 * time.Second

	dueRetryInitial = time.Second
	dueRetryMax     = time.Minute

	duePull          = 30 * time.Second
	workRetryInitial = 100 * time.Millisecond
	workRetryMax     = 5 * time.Second
	maxWorkers       = 256
	dueWaiting       = 16 * maxWorkers // requests open at once, over all replicas
)

// timers are the core.Timers on message schedules: a schedule on <prefix>.timer.at.<vendor>.<grant> is due on
// <prefix>.timer.due.<vendor>.<grant>.
type timers struct{ bus *Bus }

var _ core.Timers = timers{}

// Arm publishes a schedule, which takes the place of the one before.
func (t timers) Arm(ctx context.Context, vendor, grant string, at time.Time) (err error) {
	defer func(began time.Time) { t.bus.metrics.operated(ctx, opArm, began, err) }(time.Now())
	ses, err := t.open(vendor, grant)
	if err != nil {
		return err
	}
	m := &nats.Msg{Subject: t.subject("at", vendor, grant), Header: nats.Header{}}
	// The client's own option cuts the time to seconds and so fires up to one too early.
	m.Header.Set(jetstream.ScheduleHeader, "@at "+at.UTC().Format(time.RFC3339Nano))
	m.Header.Set(jetstream.ScheduleTargetHeader, t.subject("due", vendor, grant))
	// The server hands it on with the message that is due.
	propagation.TraceContext{}.Inject(ctx, wire.Header(m.Header))
	if _, err := ses.js.PublishMsg(ctx, m); err != nil {
		return fmt.Errorf("arm the timer of grant %s: %w", grant, err)
	}
	return nil
}

// Disarm purges the schedule, and what is due and not worked. A plain message in a schedule's place would not do: after
// a crash of the server the schedule would fire nevertheless.
func (t timers) Disarm(ctx context.Context, vendor, grant string) error {
	ses, err := t.open(vendor, grant)
	if err != nil {
		return err
	}
	if err := ses.timers.Purge(ctx, jetstream.WithPurgeSubject(t.subject("*", vendor, grant))); err != nil {
		return fmt.Errorf("disarm the timer of grant %s: %w", grant, err)
	}
	return nil
}

// Work asks for one due timer at a time with each of limit workers, so that a replica holds no more than it works on.
func (t timers) Work(ctx context.Context, vendor string, limit int, fn func(context.Context, core.Due) error) error {
	ses, err := t.open(vendor, "_")
	if err != nil {
		return err
	}
	if limit < 1 || limit > maxWorkers {
		return fmt.Errorf("work the timers of %s: limit %d: from 1 to %d", vendor, limit, maxWorkers)
	}
	ctx, stop := ses.whileOpen(ctx)
	defer stop()
	var workers errgroup.Group
	told := &dueTold{unworked: rate.Sometimes{Interval: dueTellEvery}}
	consumer := t.consumer(ses, vendor)
	for range limit {
		workers.Go(func() error {
			w := dueWorker{timers: t, ses: ses, consumer: consumer, vendor: vendor, fn: fn, told: told}
			return w.run(ctx)
		})
	}
	return workers.Wait()
}

func (t timers) open(vendor, grant string) (*session, error) {
	if !wire.ValidToken(vendor) || !wire.ValidToken(grant) {
		return nil, fmt.Errorf("timer of vendor %q, grant %q: both are letters, digits, _ and -", vendor, grant)
	}
	return t.bus.opened()
}

func (t timers) subject(kind, vendor, grant string) string {
	return t.bus.cfg.Prefix + ".timer." + kind + "." + vendor + "." + grant
}

func lastToken(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

// dueWorker works one due timer after the other.
type dueWorker struct {
	timers   timers
	ses      *session
	consumer *dueConsumer
	vendor   string
	fn       func(context.Context, core.Due) error
	told     *dueTold
}

func (w dueWorker) run(ctx context.Context) error {
	wait := &backoff.ExponentialBackOff{
		InitialInterval: workRetryInitial, MaxInterval: workRetryMax, Multiplier: 2, RandomizationFactor: 0.5,
	}
	wait.Reset()
	for {
		w.consume(ctx, wait)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait.NextBackOff()):
		}
	}
}

// consume works until something fails.
func (w dueWorker) consume(ctx context.Context, wait *backoff.ExponentialBackOff) {
	began := time.Now()
	consumer, err := w.consumer.get(ctx)
	if err != nil {
		w.interrupted(ctx, began, fmt.Errorf("make the consumer of due timers: %w", err))
		return
	}
	for {
		began := time.Now()
		m, err := next(ctx, consumer)
		if err != nil {
			w.consumer.drop(consumer)
			w.interrupted(ctx, began, err)
			return
		}
		w.resumed(ctx, began)
		wait.Reset()
		if m != nil {
			w.work(ctx, m)
		}
	}
}

// dueConsumer is the consumer of a vendor's due timers, which its workers share. One of them makes it, and anew where it may
// be gone: the server writes it down each time, and the requests of all of them would keep those waiting that read records.
type dueConsumer struct {
	ses *session
	cfg jetstream.ConsumerConfig

	turn chan struct{}      // of the one who holds it
	made jetstream.Consumer // nil: it is to be made; of the one whose turn it is
}

func (t timers) consumer(ses *session, vendor string) *dueConsumer {
	return &dueConsumer{ses: ses, turn: make(chan struct{}, 1), cfg: jetstream.ConsumerConfig{
		Durable:       "due_" + vendor,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       dueAckWait,
		MaxDeliver:    -1,
		FilterSubject: t.subject("due", vendor, "*"),
		// A replica asks for no more than it has workers; the bound over all of them is not to stop one.
		MaxAckPending: -1,
		MaxWaiting:    dueWaiting,
	}}
}

func (c *dueConsumer) get(ctx context.Context) (made jetstream.Consumer, err error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-c.turn }()
	if c.made == nil {
		if made, err = c.ses.timers.CreateOrUpdateConsumer(ctx, c.cfg); err != nil {
			return nil, err
		}
		c.made = made
	}
	return c.made, nil
}

// drop has the consumer made anew, unless that was done since.
func (c *dueConsumer) drop(failed jetstream.Consumer) {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	if c.made == failed {
		c.made = nil
	}
}

// next waits for one message; nil when none came in the time that a request is open.
func next(ctx context.Context, consumer jetstream.Consumer) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, duePull)
	defer cancel()
	batch, err := consumer.Fetch(1, jetstream.FetchContext(ctx), jetstream.FetchHeartbeat(dueAckWait/6))
	if err != nil {
		return nil, err
	}
	if m, ok := <-batch.Messages(); ok {
		return m, nil
	}
	if err = batch.Error(); isTimeout(err) {
		return nil, nil
	}
	return nil, err
}

// work calls fn and settles the message by what it returns.
func (w dueWorker) work(ctx context.Context, m jetstream.Msg) {
	w.traced(ctx, m, func(ctx context.Context) error {
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read a due timer: %w", err)
		}
		if err := w.call(ctx, m, core.Due{Grant: lastToken(m.Subject()), Time: meta.Timestamp}); err != nil {
			return errors.Join(err, m.NakWithDelay(retryDelay(meta.NumDelivered)))
		}
		return w.settle(ctx, m, meta.Sequence.Stream)
	})
}

// traced works a timer in a trace of its own, since who armed it has gone on, and links to the trace of that.
func (w dueWorker) traced(ctx context.Context, m jetstream.Msg, work func(context.Context) error) {
	template := w.timers.subject("due", "{vendor}", "{grant}")
	ctx, span := w.timers.bus.tracer.Start(ctx, "process "+template, append(linkTo(m.Headers()), trace.WithNewRoot(),
		trace.WithSpanKind(trace.SpanKindConsumer), messaging("process", "process", m.Subject(), template),
		trace.WithAttributes(attribute.String("esignd.vendor", w.vendor)))...)
	err := work(ctx)
	if err != nil {
		w.unworked(ctx, lastToken(m.Subject()), err)
	}
	ended(span, err)
}

// call runs fn and keeps the message ours meanwhile.
func (w dueWorker) call(ctx context.Context, m jetstream.Msg, due core.Due) error {
	done, kept := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(kept)
		tick := time.NewTicker(dueProgress)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				// One that is lost is made up for by the next; when all are, another replica works the timer as well.
				_ = m.InProgress()
			case <-done:
				return
			}
		}
	}()
	defer func() {
		close(done)
		<-kept
	}()
	return w.fn(ctx, due)
}

// settle removes the message and acknowledges it, in this order: a crash in between leaves nothing to be told, where
// the other order would leave a message that looks due and is never told.
func (w dueWorker) settle(ctx context.Context, m jetstream.Msg, sequence uint64) error {
	// fn is done; that its context may have ended since does not undo it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dueSettle)
	defer cancel()
	worked := []jetstream.StreamPurgeOpt{jetstream.WithPurgeSubject(m.Subject()), jetstream.WithPurgeSequence(sequence + 1)}
	if err := w.ses.timers.Purge(ctx, worked...); err != nil {
		return fmt.Errorf("remove a worked timer: %w", err)
	}
	if err := m.Ack(); err != nil {
		return fmt.Errorf("acknowledge a worked timer: %w", err)
	}
	return nil
}

func retryDelay(delivered uint64) time.Duration {
	return min(dueRetryInitial<<min(delivered-1, 10), dueRetryMax)
}
