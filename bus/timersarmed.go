package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// armedBatch is how many timers are on their way at a time.
const armedBatch = 1000

// Armed reads the stream once. The server would list its subjects too, but sorts all of them for each page of 100,000: with a
// million timers that takes half a minute.
func (t timers) Armed(ctx context.Context) (map[string]bool, error) {
	ses, err := t.bus.opened()
	if err != nil {
		return nil, err
	}
	ctx, stop := ses.whileOpen(ctx)
	defer stop()
	armed, err := ses.armed(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the timers: %w", err)
	}
	return armed, nil
}

func (s *session) armed(ctx context.Context) (map[string]bool, error) {
	consumer, err := s.timers.CreateConsumer(ctx, jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, HeadersOnly: true, InactiveThreshold: consumerInactive, MemoryStorage: true, Replicas: 1,
	})
	if err != nil {
		return nil, err
	}
	defer s.deleteConsumer(ctx, s.timers, consumer)
	messages, err := consumer.Messages(jetstream.PullMaxMessages(armedBatch))
	if err != nil {
		return nil, err
	}
	defer messages.Stop()
	armed, read := map[string]bool{}, uint64(0)
	for left := consumer.CachedInfo().NumPending; left > 0; {
		m, err := nextArmed(ctx, messages)
		if isTimeout(err) && ctx.Err() == nil {
			return armed, allRead(ctx, consumer, read)
		}
		if err != nil {
			return nil, err
		}
		meta, err := m.Metadata()
		if err != nil {
			return nil, err
		}
		if read++; meta.Sequence.Consumer != read {
			return nil, errGap
		}
		armed[lastToken(m.Subject())] = true
		left = meta.NumPending
	}
	return armed, nil
}

// nextArmed waits for the next timer. How long all of them take is a matter of the connection; silence is not.
func nextArmed(ctx context.Context, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	within, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return messages.Next(jetstream.NextContext(within))
}

// allRead returns an error unless those timers that did not come have gone meanwhile.
func allRead(ctx context.Context, consumer jetstream.Consumer, read uint64) error {
	info, err := consumer.Info(ctx)
	if err == nil && (info.NumPending > 0 || info.Delivered.Consumer != read) {
		err = errGap
	}
	return err
}
