package bus

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// Bounds of the audit's writer.
const (
	// auditWaiting is how many acts may wait to be written, and how many that were done while nothing could be.
	auditWaiting = 16 << 10
	// auditRound is how many acts are written at once, and auditBody about how many bytes a message has.
	auditRound = 1024
	auditBody  = 256 << 10
	// auditAtOnce is how many messages are on their way.
	auditAtOnce = 16
	auditRetry  = time.Second
)

// act is one act, on its way into the audit.
type act struct {
	entry wire.AuditEntry
	token core.Secret // that is handed out, or was brought; the entry gets its fingerprint
	// handsOut says that the act is to hand out the token, which is not done unless the entry is written.
	handsOut bool
	// then is called once: with nil when the act may be done, or was done already. nil: nobody waits.
	then func(error)
}

func (a *act) end(err error) {
	if a.then != nil {
		a.then(err)
	}
}

// auditWriter appends acts to the stream. Each message is synced to the disk by itself, so acts that come while one is on
// its way share the next.
//
// While the stream takes none, nothing is handed out; of acts that are done all the same the entries are kept and written
// when it takes them again, after an entry that tells since when it did not.
type auditWriter struct {
	js      jetstream.JetStream
	prefix  string
	replica string
	key     []byte // of fingerprints
	log     *slog.Logger

	wake chan struct{} // holds one where there is something to do
	stop chan struct{} // closed by close
	done chan struct{} // closed when run has ended

	mu      sync.Mutex // guards what follows
	queue   []*act
	down    time.Time // since when the stream takes nothing; zero: it does
	refused uint64    // acts, since then
	ended   uint64    // acts that were refused in such times before
	closed  bool
}

func newAuditWriter(js jetstream.JetStream, cfg Config, replica string, key []byte) *auditWriter {
	return &auditWriter{
		js: js, prefix: cfg.Prefix, replica: replica, key: key, log: cfg.Logger,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
}

// fingerprint tells a token without telling it.
func (w *auditWriter) fingerprint(token core.Secret) string {
	mac := hmac.New(sha256.New, w.key)
	mac.Write([]byte("access token\x00"))
	mac.Write([]byte(token.Reveal()))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// errAudit is the answer to whoever gets nothing because the audit cannot be written.
func errAudit() *core.Error {
	return &core.Error{Code: core.TemporarilyUnavailable, Reason: "audit_unavailable", RetryAfter: 2 * time.Second,
		Description: "the audit cannot be written, and without it nothing is handed out; the operator must see to the stream " + wire.AuditStream}
}

// ready returns nil while the stream takes what is written, else the answer to a new request, which it counts.
func (w *auditWriter) ready() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down.IsZero() {
		return nil
	}
	w.refused++
	return errAudit()
}

// since returns since when the stream takes nothing, zero where it does.
func (w *auditWriter) since() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.down
}

// turnedAway returns how many acts were refused since the start.
func (w *auditWriter) turnedAway() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended + w.refused
}

// add takes an act, and calls its then in the order of acts, on another goroutine or on this one.
func (w *auditWriter) add(a *act) {
	a.entry.ID, a.entry.Time, a.entry.Replica = rand.Text(), time.Now().UTC().Truncate(time.Millisecond), w.replica
	w.mu.Lock()
	took := w.take(a)
	w.mu.Unlock()
	if took {
		w.stir()
		return
	}
	if a.handsOut {
		a.end(errAudit())
		return
	}
	w.lost(a)
	a.end(nil)
}

// take queues an act. false: there is no place for it. mu is held.
func (w *auditWriter) take(a *act) bool {
	most := 2 * auditWaiting // what is done is done: there is more place for it
	if a.handsOut {
		most = auditWaiting
	}
	if w.closed || len(w.queue) >= most || a.handsOut && !w.down.IsZero() {
		w.refused++
		return false
	}
	w.queue = append(w.queue, a)
	return true
}

func (w *auditWriter) stir() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// lost tells the log of an act that the stream will not have.
func (w *auditWriter) lost(a *act) {
	e := a.entry
	w.log.Error("an act is not in the audit; it will not be, and this line is what there is of it", "id", e.ID, "action", string(e.Action), "tenant", e.Tenant, "grant", e.Grant, "by", string(e.By.Kind),
		"service", e.By.Service, "outcome", e.Outcome, "trace_id", e.TraceID)
}

// run writes until close is called, and then what is left, once.
func (w *auditWriter) run() {
	defer close(w.done)
	for stopped := false; !stopped; {
		wake, again := w.wake, (<-chan time.Time)(nil)
		if !w.since().IsZero() {
			wake, again = nil, time.After(auditRetry)
		}
		select {
		case <-wake:
		case <-again:
		case <-w.stop:
			stopped = true
		}
		for w.round() {
		}
	}
	w.mu.Lock()
	rest := w.queue
	w.queue = nil
	w.mu.Unlock()
	for _, a := range rest {
		w.lost(a)
	}
}

// close takes no more acts, and returns when those that were taken are written or told to the log.
func (w *auditWriter) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	close(w.stop)
	<-w.done
}

// round writes what waits, oldest first, as much as goes at once. It reports whether there may be more that can be
// written.
func (w *auditWriter) round() bool {
	acts := w.next()
	if len(acts) == 0 {
		return false
	}
	messages := w.encode(acts)
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout) // of no request; close waits for it
	defer cancel()
	var all errgroup.Group
	all.SetLimit(auditAtOnce)
	for _, m := range messages {
		all.Go(func() error {
			_, m.err = w.js.PublishMsg(ctx, &nats.Msg{Subject: m.subject, Data: m.body})
			return m.err
		})
	}
	err := all.Wait()
	w.settle(messages, err)
	return err == nil
}

// next takes what is to be written from the queue. Where the stream took nothing it begins with an entry that says so.
func (w *auditWriter) next() []*act {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(w.queue), auditRound)
	var acts []*act
	if !w.down.IsZero() {
		since := w.down.UTC().Truncate(time.Millisecond)
		acts = append(acts, &act{entry: wire.AuditEntry{
			ID: rand.Text(), Time: time.Now().UTC().Truncate(time.Millisecond), Action: wire.AuditResumed, By: wire.AuditActor{Kind: wire.ActorEsignd},
			Outcome: wire.AuditOK, Replica: w.replica, Since: &since, Refused: w.refused,
		}})
	}
	acts = append(acts, w.queue[:n]...)
	clear(w.queue[:n])
	w.queue = w.queue[n:]
	if len(w.queue) == 0 {
		w.queue = nil // the array is not kept
	}
	return acts
}

// auditMessage is a message of the stream and the acts that it tells of.
type auditMessage struct {
	subject string
	body    []byte
	acts    []*act
	err     error
}

// encode makes messages, each of one tenant.
func (w *auditWriter) encode(acts []*act) []*auditMessage {
	var messages []*auditMessage
	open := map[string]*auditMessage{}
	for _, a := range acts {
		if a.entry.Token == "" && !a.token.IsZero() {
			a.entry.Token = w.fingerprint(a.token)
		}
		entry, err := json.Marshal(a.entry)
		if err != nil { // a time beyond the year 9999
			a.entry.Time, a.entry.Since = time.Unix(0, 0).UTC(), nil
			entry, _ = json.Marshal(a.entry)
		}
		m := open[a.entry.Tenant]
		if m == nil || len(m.body)+len(entry) > auditBody {
			m = &auditMessage{subject: wire.AuditSubject(w.prefix, a.entry.Tenant), body: []byte(`{"entries":[`)}
			open[a.entry.Tenant], messages = m, append(messages, m)
		} else {
			m.body = append(m.body, ',')
		}
		m.body, m.acts = append(m.body, entry...), append(m.acts, a)
	}
	for _, m := range messages {
		m.body = append(m.body, "]}"...)
	}
	return messages
}

// settle ends the acts that were written. Of the others those that would hand something out are not done, and those that
// were done are kept.
func (w *auditWriter) settle(messages []*auditMessage, err error) {
	var done, undone, kept []*act
	sort := func(a *act) {
		switch {
		case a.handsOut:
			undone = append(undone, a)
		case a.entry.Action != wire.AuditResumed:
			kept = append(kept, a)
		}
	}
	for _, m := range messages {
		if m.err == nil {
			done = append(done, m.acts...)
			continue
		}
		for _, a := range m.acts {
			sort(a)
		}
	}
	w.mu.Lock()
	w.note(err)
	if err != nil {
		for _, a := range w.queue {
			sort(a)
		}
		w.queue = slices.Clone(kept)
		w.refused += uint64(len(undone))
	}
	w.mu.Unlock()
	for _, a := range done {
		a.end(nil)
	}
	for _, a := range undone {
		a.end(errAudit())
	}
	for _, a := range kept {
		a.end(nil)
		a.then = nil
	}
}

// note keeps whether the stream takes what is written. mu is held.
func (w *auditWriter) note(err error) {
	switch {
	case err != nil && w.down.IsZero():
		w.down = time.Now()
		w.log.Error("the audit cannot be written; nothing is handed out until it can be", "stream", wire.AuditStream, "error", err)
	case err == nil && !w.down.IsZero():
		w.log.Info("the audit can be written again", "since", w.down, "refused", w.refused)
		w.down, w.refused, w.ended = time.Time{}, 0, w.ended+w.refused
	}
}
