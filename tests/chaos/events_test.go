//go:build heavy && linux

package chaos

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// events reads the whole stream of events, each id once, in order.
func (a *arena) events() ([]core.Event, error) {
	conn, err := nats.Connect(a.daemon.NATSURL())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Minute)
	defer cancel()
	stream, err := js.Stream(ctx, wire.EventStream)
	if err != nil {
		return nil, err
	}
	if stream.CachedInfo().State.Msgs == 0 {
		return nil, nil
	}
	consumer, err := js.OrderedConsumer(ctx, wire.EventStream, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return nil, err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return nil, err
	}
	defer messages.Stop()
	return readAll(ctx, messages)
}

func readAll(ctx context.Context, messages jetstream.MessagesContext) ([]core.Event, error) {
	var list []core.Event
	known := map[string]bool{}
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return nil, fmt.Errorf("read the events: %w", err)
		}
		e, err := wire.DecodeEvent(m.Data())
		if err != nil {
			return nil, err
		}
		if !known[e.ID] {
			known[e.ID] = true
			list = append(list, e)
		}
		if meta, err := m.Metadata(); err != nil || meta.NumPending == 0 {
			return list, err
		}
	}
}
