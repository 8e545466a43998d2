package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/core"
)

const (
	// operationHeader marks a removed record, as NATS key-value buckets do.
	operationHeader = "KV-Operation"
	operationPurge  = "PURGE"

	// writtenHeader is on a record that was sealed anew: when it was written, by which a token's age counts.
	writtenHeader = "Esignd-Written"
)

// store is the core.Store on a stream that has the shape of a key-value bucket.
type store struct{ bus *Bus }

var _ core.Store = store{}

// Get asks the stream's leader.
func (s store) Get(ctx context.Context, key string) (r core.Record, err error) {
	defer func(began time.Time) { s.bus.metrics.operated(ctx, opRead, began, err) }(time.Now())
	if err := checkKey(key); err != nil {
		return core.Record{}, err
	}
	ses, err := s.bus.opened()
	if err != nil {
		return core.Record{}, err
	}
	msg, err := ses.records.GetLastMsgForSubject(ctx, recordPrefix+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) || (err == nil && isMarker(msg.Header)) {
		return core.Record{}, fmt.Errorf("read record %s: %w", key, core.ErrNoRecord)
	}
	if err != nil {
		return core.Record{}, fmt.Errorf("read record %s: %w", key, err)
	}
	r = core.Record{Key: key, Revision: msg.Sequence, Time: writtenAt(msg.Header, msg.Time)}
	r.Public, r.Secret, err = ses.keys.decode(key, msg.Data)
	return r, err
}

// Put publishes on the condition that the subject's last message is the one that is named.
func (s store) Put(ctx context.Context, r core.Record) (revision uint64, err error) {
	defer func(began time.Time) { s.bus.metrics.operated(ctx, opWrite, began, err) }(time.Now())
	if err := checkKey(r.Key); err != nil {
		return 0, err
	}
	ses, err := s.bus.opened()
	if err != nil {
		return 0, err
	}
	value, err := ses.keys.encode(r.Key, r.Public, r.Secret)
	if err != nil {
		return 0, err
	}
	m := &nats.Msg{Subject: recordPrefix + r.Key, Data: value, Header: nats.Header{}}
	setTTL(m.Header, r.TTL)
	revision, err = ses.write(ctx, m, r.Revision)
	if r.Revision == 0 && errors.Is(err, core.ErrConflict) {
		revision, err = ses.writeOverMarker(ctx, m)
	}
	if err != nil {
		return 0, fmt.Errorf("write record %s: %w", r.Key, err)
	}
	return revision, nil
}

// Delete leaves a marker in the record's place, by which watches learn of it and which ends by itself.
func (s store) Delete(ctx context.Context, key string, revision uint64) (err error) {
	defer func(began time.Time) { s.bus.metrics.operated(ctx, opRemove, began, err) }(time.Now())
	if err := checkKey(key); err != nil {
		return err
	}
	ses, err := s.bus.opened()
	if err != nil {
		return err
	}
	if revision == 0 {
		return fmt.Errorf("remove record %s: it has no revision 0: %w", key, core.ErrConflict)
	}
	m := &nats.Msg{Subject: recordPrefix + key, Header: nats.Header{}}
	m.Header.Set(operationHeader, operationPurge)
	m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	setTTL(m.Header, markerTTL)
	if _, err := ses.write(ctx, m, revision); err != nil {
		return fmt.Errorf("remove record %s: %w", key, err)
	}
	return nil
}

// Now is the clock of the stream's leader.
func (s store) Now(ctx context.Context) (time.Time, error) {
	ses, err := s.bus.opened()
	if err != nil {
		return time.Time{}, err
	}
	info, err := ses.records.Info(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the store's clock: %w", err)
	}
	return info.TimeStamp, nil
}

// write publishes m if the last message of its subject has the revision.
func (s *session) write(ctx context.Context, m *nats.Msg, revision uint64) (uint64, error) {
	ack, err := s.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(revision))
	if isConflict(err) {
		return 0, core.ErrConflict
	}
	if err != nil {
		if isTimeout(err) {
			now := time.Now()
			s.unanswered.Store(&now)
		}
		return 0, err
	}
	s.unanswered.Store(nil)
	return ack.Sequence, nil
}

// unansweredFor is how long it counts that a write was not answered: what is owed is tried again more often than that.
const unansweredFor = time.Minute

// takesWrites reports whether the last write that was tried a short while ago was answered. A server whose disk was full
// or broken answers none until it is started again, though it reads.
func (s *session) takesWrites() bool {
	at := s.unanswered.Load()
	return at == nil || time.Since(*at) > unansweredFor
}

// writeOverMarker writes a record that is new to its caller where the marker of a removed one still lies.
func (s *session) writeOverMarker(ctx context.Context, m *nats.Msg) (uint64, error) {
	last, err := s.records.GetLastMsgForSubject(ctx, m.Subject)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound): // the marker has just ended
		return s.write(ctx, m, 0)
	case err != nil:
		return 0, err
	case !isMarker(last.Header):
		return 0, core.ErrConflict
	}
	return s.write(ctx, m, last.Sequence)
}

func isConflict(err error) bool {
	var e *jetstream.APIError
	return errors.As(err, &e) &&
		(e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
			e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// isMarker reports whether a message stands for a removed record: ours, a NATS tool's, or the server's own after a TTL.
func isMarker(h nats.Header) bool {
	return h.Get(operationHeader) != "" || h.Get(jetstream.MarkerReasonHeader) != ""
}

// writtenAt returns when a record was written. That is when it was stored, unless it was only sealed anew since.
func writtenAt(h nats.Header, stored time.Time) time.Time {
	if at, err := time.Parse(time.RFC3339Nano, h.Get(writtenHeader)); err == nil && at.Before(stored) {
		return at
	}
	return stored
}

// setTTL writes whole seconds, rounded up, which is what the server counts in.
func setTTL(h nats.Header, ttl time.Duration) {
	if ttl <= 0 {
		return
	}
	seconds := int64((ttl + time.Second - 1) / time.Second)
	h.Set(jetstream.MsgTTLHeader, strconv.FormatInt(seconds, 10)+"s")
}

// recordKey returns the key of the record that is on a subject.
func recordKey(subject string) string { return strings.TrimPrefix(subject, recordPrefix) }
