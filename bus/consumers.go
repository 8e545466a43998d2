package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/esignd/esignd/bus/wire"
)

// callerMark is the metadata by which a consumer is known to be that of a caller.
const callerMark = "esignd.caller"

// callerAckWait is how long a caller may take over an event before it is given out again.
const callerAckWait = 30 * time.Second

// keepConsumers makes the consumers of callers that have none, which are not permitted to make them. They get what is
// new from then on. With the embedded server those of callers that are gone are removed; on an external one other
// replicas may know of callers that we do not.
func (s *session) keepConsumers(ctx context.Context, callers []Caller) error {
	ctx, cancel := context.WithTimeout(ctx, serverReadyTimeout)
	defer cancel()
	wanted := map[string]bool{}
	for _, c := range callers {
		wanted[c.durable()] = true
		if err := s.keepConsumer(ctx, c); err != nil {
			return fmt.Errorf("make the consumer %s of %s: %w", c.durable(), wire.EventStream, err)
		}
	}
	if s.server == nil {
		return nil
	}
	list := s.events.ListConsumers(ctx)
	var gone []string
	for info := range list.Info() {
		if info.Config.Metadata[callerMark] != "" && !wanted[info.Name] {
			gone = append(gone, info.Name)
		}
	}
	if err := list.Err(); err != nil {
		return fmt.Errorf("list the consumers of %s: %w", wire.EventStream, err)
	}
	for _, name := range gone {
		if err := s.events.DeleteConsumer(ctx, name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return fmt.Errorf("remove the consumer %s of %s: %w", name, wire.EventStream, err)
		}
	}
	return nil
}

func (s *session) keepConsumer(ctx context.Context, c Caller) error {
	have, err := s.events.Consumer(ctx, c.durable())
	if err == nil {
		if filter := have.CachedInfo().Config.FilterSubject; filter != c.events(s.cfg.Prefix) {
			return fmt.Errorf("it is there and gives out %q, not %q: remove it", filter, c.events(s.cfg.Prefix))
		}
		return nil
	}
	if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return err
	}
	_, err = s.events.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       c.durable(),
		Description:   "esignd: service " + c.Name + " of tenant " + c.Tenant,
		Metadata:      map[string]string{callerMark: c.Name},
		FilterSubject: c.events(s.cfg.Prefix),
		DeliverPolicy: jetstream.DeliverNewPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       callerAckWait,
		// One on its way keeps them in order when one comes again.
		MaxAckPending: 1,
	})
	if errors.Is(err, jetstream.ErrConsumerExists) {
		return nil // another replica was faster
	}
	return err
}
