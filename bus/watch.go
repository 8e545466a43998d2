package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/core"
)

const (
	// pollInterval is how often a watch compares itself with the stream's leader.
	pollInterval = 400 * time.Millisecond
	// pollTimeout is how long the leader has to answer that.
	pollTimeout = time.Second
	// contactAge is for how long what is heard may be called live after the leader was last heard.
	contactAge = 2 * time.Second
	// maxBehind is how many polls in a row may find the watch behind the leader and standing still.
	maxBehind = 3

	// nothingFresh stands until a first poll of a consumer has said where live begins.
	nothingFresh = math.MaxUint64

	watchBuffer       = 4096
	watchOpened       = 256 // messages that are open before they are told
	consumerInactive  = 30 * time.Second
	consumerCleanup   = 500 * time.Millisecond
	watchRetryInitial = 50 * time.Millisecond
	watchRetryMax     = 2 * time.Second
)

// errBehind ends one consumer of a watch, and the next one begins where it stood.
var (
	errBehind = errors.New("the consumer delivers nothing of what the leader has")
	errGap    = errors.New("the consumer left something out")
)

// watch follows the stream of records through one consumer after the other.
//
// Whether it is up to date it does not conclude from what the consumer says, which may be a replica that lags: it asks
// the stream's leader for the newest message there is, and is up to date if it has told that one.
type watch struct {
	ses *session
	log *slog.Logger
	fn  func(core.Update)

	created time.Time         // of the stream that seen counts in
	seen    uint64            // the newest sequence that was told or skipped
	known   map[string]uint64 // every record that was told and not told deleted, with its revision
	round   map[string]bool   // the keys seen since all were asked for anew; nil when they were not
	synced  bool              // Synced was told
	fresh   uint64            // what is newer than this sequence was written while the watch looked on
	asked   time.Time         // when the leader was last asked, and
	target  uint64            // what was its newest then
	contact time.Time         // when the leader was last asked of those times that it is known not to have been ahead
	behind  int               // polls in a row that found it ahead, with nothing delivered in between
}

// Watch tells fn of every record and every write. It resumes by itself, after a lost connection too.
func (s store) Watch(ctx context.Context, fn func(core.Update)) error {
	ses, err := s.bus.opened()
	if err != nil {
		return err
	}
	ctx, stop := ses.whileOpen(ctx)
	defer stop()
	w := &watch{ses: ses, log: s.bus.log, fn: fn, known: make(map[string]uint64)}
	wait := &backoff.ExponentialBackOff{
		InitialInterval: watchRetryInitial, MaxInterval: watchRetryMax, Multiplier: 2, RandomizationFactor: 0.2,
	}
	wait.Reset()
	for {
		before := w.contact
		err := w.follow(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if w.contact.After(before) {
			wait.Reset()
		}
		w.log.DebugContext(ctx, "the watch of the store begins anew where it stood", "error", err, "sequence", w.seen)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait.NextBackOff()):
		}
	}
}

// follow reads one consumer until it ends or is found to be of no use.
func (w *watch) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	consumer, err := w.subscribe(ctx)
	if err != nil {
		return err
	}
	defer w.ses.deleteConsumer(ctx, w.ses.records, consumer)
	it, err := consumer.Messages(jetstream.PullMaxMessages(watchBuffer))
	if err != nil {
		return fmt.Errorf("read the watch's consumer: %w", err)
	}
	messages, failed, done := make(chan message, watchOpened), make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		failed <- w.ses.forward(ctx, it, messages)
	}()
	defer func() {
		cancel()
		it.Stop()
		<-done
	}()
	return w.loop(ctx, messages, failed)
}

// message is one of the stream, with the record that it holds.
type message struct {
	key            string
	meta           *jetstream.MsgMetadata
	removed        bool // it says that the record is gone
	written        time.Time
	public, secret []byte
	err            error // of opening the record
}

// forward opens messages, while others are told, and hands them on until it ends.
func (s *session) forward(ctx context.Context, it jetstream.MessagesContext, to chan<- message) error {
	for {
		m, err := it.Next()
		if err != nil {
			return err
		}
		opened, err := s.openMessage(m)
		if err != nil {
			return err
		}
		select {
		case to <- opened:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *session) openMessage(m jetstream.Msg) (message, error) {
	meta, err := m.Metadata()
	if err != nil {
		return message{}, fmt.Errorf("read a message's metadata: %w", err)
	}
	o := message{key: recordKey(m.Subject()), meta: meta, removed: isMarker(m.Headers()), written: writtenAt(m.Headers(), meta.Timestamp)}
	if !o.removed {
		o.public, o.secret, o.err = s.keys.decode(o.key, m.Data())
	}
	return o, nil
}

func (w *watch) loop(ctx context.Context, messages <-chan message, failed <-chan error) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	var delivered uint64
	// The consumer exists: whatever is written after this poll is delivered and is live.
	if err := w.poll(ctx); err != nil {
		return err
	}
	for {
		select {
		case m := <-messages:
			if m.meta.Sequence.Consumer != delivered+1 {
				return errGap
			}
			delivered++
			w.tell(m)
			if w.contact.Before(w.asked) && w.seen >= w.target {
				w.caughtUp()
			}
		case <-tick.C:
			if err := w.poll(ctx); err != nil {
				return err
			}
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// subscribe makes a consumer that begins where the watch stands, or with every record where it stands nowhere any more:
// at first, after the marks of removed records may have ended, and on a stream that is another or went back in time.
func (w *watch) subscribe(ctx context.Context) (jetstream.Consumer, error) {
	info, err := w.ses.records.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("look at the store: %w", err)
	}
	cfg := jetstream.ConsumerConfig{
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: consumerInactive,
		MemoryStorage:     true,
		Replicas:          1,
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       w.seen + 1,
	}
	whole := w.seen == 0 || w.round != nil || !info.Created.Equal(w.created) || info.State.LastSeq < w.seen ||
		time.Since(w.contact) > markerTTL/2
	if whole {
		// Of each record there is one message. To deliver the last of each subject, or to filter by one that all have, the
		// server would first make an index of them, and keep it.
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverAllPolicy, 0
		w.seen, w.created, w.round = 0, info.Created, make(map[string]bool)
	}
	w.behind, w.fresh, w.target = 0, nothingFresh, 0
	consumer, err := w.ses.records.CreateConsumer(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("make the watch's consumer: %w", err)
	}
	return consumer, nil
}

// poll asks the leader for the newest message. It returns an error where the consumer is of no use any more; that the
// leader does not answer is none, and fn is silent meanwhile.
func (w *watch) poll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	asked := time.Now()
	newest, err := w.newest(ctx)
	if err != nil {
		return nil
	}
	if w.fresh == nothingFresh || time.Since(w.contact) > contactAge {
		w.fresh = max(newest, w.seen)
	}
	w.asked, w.target = asked, newest
	if w.seen >= newest {
		w.caughtUp()
		return nil
	}
	w.behind++
	if w.behind > maxBehind {
		return errBehind
	}
	return nil
}

// newest asks the leader for the sequence of its newest message. That nothing came after what was seen it knows at once;
// which the newest is, it finds by looking at every subject there is.
func (w *watch) newest(ctx context.Context) (uint64, error) {
	_, err := w.ses.records.GetMsg(ctx, w.seen+1, jetstream.WithGetMsgSubject(recordPrefix+">"))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return w.seen, nil
	}
	if err != nil {
		return 0, err
	}
	m, err := w.ses.records.GetLastMsgForSubject(ctx, recordPrefix+">")
	if errors.Is(err, jetstream.ErrMsgNotFound) { // it was the only one, and has just gone
		return w.seen, nil
	}
	if err != nil {
		return 0, err
	}
	return m.Sequence, nil
}

// caughtUp says that everything was told that the leader had when it was last asked.
func (w *watch) caughtUp() {
	w.behind, w.contact = 0, w.asked
	w.endRound()
	w.fn(core.Update{Synced: !w.synced})
	w.synced = true
}

// endRound tells the removal of each record that was known and is not there any more, now that all were asked for.
func (w *watch) endRound() {
	if w.round == nil {
		return
	}
	for key, revision := range w.known {
		if !w.round[key] {
			delete(w.known, key)
			w.fn(core.Update{Record: core.Record{Key: key, Revision: revision}, Deleted: true})
		}
	}
	w.round = nil
}

// tell tells one message.
func (w *watch) tell(m message) {
	key, sequence := m.key, m.meta.Sequence.Stream
	live := sequence > w.fresh && time.Since(w.contact) <= contactAge
	w.seen, w.behind = sequence, 0
	if w.round != nil {
		w.round[key] = !m.removed
	}
	if w.known[key] == sequence {
		return
	}
	if m.removed {
		w.tellRemoved(key, sequence, live)
		return
	}
	w.known[key] = sequence
	// A record that was sealed anew just now was written before: its age does not begin here.
	live = live && m.written.Equal(m.meta.Timestamp)
	w.fn(core.Update{Live: live, Err: m.err,
		Record: core.Record{Key: key, Revision: sequence, Time: m.written, Public: m.public, Secret: m.secret}})
}

func (w *watch) tellRemoved(key string, sequence uint64, live bool) {
	if _, ok := w.known[key]; !ok {
		return
	}
	delete(w.known, key)
	w.fn(core.Update{Record: core.Record{Key: key, Revision: sequence}, Deleted: true, Live: live})
}
