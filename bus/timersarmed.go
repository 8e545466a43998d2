package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// armedBatch is how many timers are read with one request.
const armedBatch = 5000

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
	armed, read := map[string]bool{}, uint64(0)
	for {
		info, err := consumer.Info(ctx)
		if err != nil {
			return nil, err
		}
		if info.NumPending == 0 {
			if info.Delivered.Consumer != read {
				return nil, errGap
			}
			return armed, nil
		}
		ask := armedBatch
		if info.NumPending < armedBatch {
			ask = int(info.NumPending)
		}
		n, err := readArmed(ctx, consumer, ask, armed)
		if err != nil {
			return nil, err
		}
		read += n
	}
}

// readArmed adds the grants of the next timers, and returns how many timers it read: fewer than asked for where some went
// meanwhile.
func readArmed(ctx context.Context, consumer jetstream.Consumer, ask int, armed map[string]bool) (n uint64, err error) {
	within, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	batch, err := consumer.Fetch(ask, jetstream.FetchContext(within), jetstream.FetchHeartbeat(requestTimeout/5))
	if err != nil {
		return 0, err
	}
	for m := range batch.Messages() {
		armed[lastToken(m.Subject())] = true
		n++
	}
	if err := batch.Error(); err != nil && (ctx.Err() != nil || !isTimeout(err)) {
		return n, err
	}
	return n, nil
}
