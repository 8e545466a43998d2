package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/core"
)

// sealedRecord is a record of the store that has a sealed part.
type sealedRecord struct {
	envelope
	key      string
	revision uint64
	header   nats.Header
	stored   time.Time
}

// eachSealed calls fn with every record that has a sealed part and stands there now, the longest unchanged first. What is written meanwhile
// may be left out.
func (s *session) eachSealed(ctx context.Context, fn func(sealedRecord) error) error {
	info, err := s.records.Info(ctx)
	if err != nil {
		return fmt.Errorf("look at the store: %w", err)
	}
	last := info.State.LastSeq
	for next := info.State.FirstSeq; next <= last; {
		msg, err := s.records.GetMsg(ctx, next, jetstream.WithGetMsgSubject(recordPrefix+">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the store: %w", err)
		}
		next = msg.Sequence + 1
		r := sealedRecord{key: recordKey(msg.Subject), revision: msg.Sequence, header: msg.Header, stored: msg.Time}
		// What is in no form of ours is no business of ours: who reads it reports it.
		if r.envelope, err = readEnvelope(r.key, msg.Data); err != nil || len(r.Sealed) == 0 || isMarker(msg.Header) {
			continue
		}
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

// reseal seals every record anew that is not under the primary key. One that another writes meanwhile it leaves to the
// other. It returns how many it found, and how many of them cannot be opened and stay as they are.
func (s *session) reseal(ctx context.Context) (found, broken int, err error) {
	err = s.eachSealed(ctx, func(r sealedRecord) error {
		if id, ok := keyOf(r.Sealed); ok && id == s.keys.now.Load().primary {
			return nil
		}
		found++
		err := s.resealRecord(ctx, r)
		if errors.Is(err, core.ErrDamaged) {
			broken++
			s.cfg.Logger.WarnContext(ctx, "a record is damaged and cannot be sealed anew; it stays as it is", "error", err)
			return nil
		}
		return err
	})
	return found, broken, err
}

// resealRecord writes the record as it is under the primary key, on the condition that nobody wrote it meanwhile.
func (s *session) resealRecord(ctx context.Context, r sealedRecord) error {
	secret, err := s.keys.unseal(r.key, r.envelope)
	if err != nil {
		return err
	}
	value, err := s.keys.encode(r.key, r.Public, secret)
	if err != nil {
		return err
	}
	m := &nats.Msg{Subject: recordPrefix + r.key, Data: value, Header: nats.Header{}}
	m.Header.Set(writtenHeader, writtenAt(r.header, r.stored).UTC().Format(time.RFC3339Nano))
	if ttl := r.header.Get(jetstream.MsgTTLHeader); ttl != "" {
		left, err := s.ttlLeft(ctx, ttl, r.stored)
		if err != nil {
			return fmt.Errorf("seal record %s anew: %w", r.key, err)
		}
		setTTL(m.Header, left)
	}
	if _, err := s.write(ctx, m, r.revision); err != nil && !errors.Is(err, core.ErrConflict) {
		return fmt.Errorf("seal record %s anew: %w", r.key, err)
	}
	return nil
}

// ttlLeft returns for how long a record stands that was stored with a TTL, at least a second.
func (s *session) ttlLeft(ctx context.Context, ttl string, stored time.Time) (time.Duration, error) {
	whole, err := time.ParseDuration(ttl)
	if err != nil {
		return 0, fmt.Errorf("its TTL is %q", ttl)
	}
	info, err := s.records.Info(ctx)
	if err != nil {
		return 0, err
	}
	return max(whole-info.TimeStamp.Sub(stored), time.Second), nil
}
