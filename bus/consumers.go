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

// auditAhead is how many messages of the audit a caller may have that it did not acknowledge.
const auditAhead = 64

// keepConsumers makes the consumers of callers that have none, which are not permitted to make them: each hears of events
// what is new from then on, and auditors have the audit from its beginning. With the embedded server those of callers
// that are gone are removed; on an external one other replicas may know of callers that we do not.
func (s *session) keepConsumers(ctx context.Context, callers []Caller) error {
	ctx, cancel := context.WithTimeout(ctx, serverReadyTimeout)
	defer cancel()
	var events, audit []jetstream.ConsumerConfig
	for _, c := range callers {
		events = append(events, s.eventConsumer(c))
		if c.role() == wire.Auditor {
			audit = append(audit, s.auditConsumer(c))
		}
	}
	if err := s.keepConsumersOf(ctx, s.events, events); err != nil || s.entries == nil {
		return err
	}
	return s.keepConsumersOf(ctx, s.entries, audit)
}

func (s *session) eventConsumer(c Caller) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       c.durable(),
		Description:   "esignd: service " + c.Name + " of tenant " + c.Tenant,
		Metadata:      map[string]string{callerMark: c.Name},
		FilterSubject: c.events(s.cfg.Prefix),
		DeliverPolicy: jetstream.DeliverNewPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       callerAckWait,
		// One on its way keeps them in order when one comes again.
		MaxAckPending: 1,
	}
}

func (s *session) auditConsumer(c Caller) jetstream.ConsumerConfig {
	cfg := s.eventConsumer(c)
	cfg.FilterSubject = wire.AuditSubject(s.cfg.Prefix, c.Tenant)
	cfg.DeliverPolicy = jetstream.DeliverAllPolicy
	cfg.MaxAckPending = auditAhead // an entry has its time, and is found by it
	return cfg
}

func (s *session) keepConsumersOf(ctx context.Context, stream jetstream.Stream, list []jetstream.ConsumerConfig) error {
	name := stream.CachedInfo().Config.Name
	wanted := map[string]bool{}
	for _, cfg := range list {
		wanted[cfg.Durable] = true
		if err := keepConsumer(ctx, stream, cfg); err != nil {
			return fmt.Errorf("make the consumer %s of %s: %w", cfg.Durable, name, err)
		}
	}
	if s.server == nil {
		return nil
	}
	there := stream.ListConsumers(ctx)
	var gone []string
	for info := range there.Info() {
		if info.Config.Metadata[callerMark] != "" && !wanted[info.Name] {
			gone = append(gone, info.Name)
		}
	}
	if err := there.Err(); err != nil {
		return fmt.Errorf("list the consumers of %s: %w", name, err)
	}
	for _, old := range gone {
		if err := stream.DeleteConsumer(ctx, old); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return fmt.Errorf("remove the consumer %s of %s: %w", old, name, err)
		}
	}
	return nil
}

func keepConsumer(ctx context.Context, stream jetstream.Stream, want jetstream.ConsumerConfig) error {
	have, err := stream.Consumer(ctx, want.Durable)
	if err == nil {
		if filter := have.CachedInfo().Config.FilterSubject; filter != want.FilterSubject {
			return fmt.Errorf("it is there and gives out %q, not %q: remove it", filter, want.FilterSubject)
		}
		return nil
	}
	if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return err
	}
	_, err = stream.CreateConsumer(ctx, want)
	if errors.Is(err, jetstream.ErrConsumerExists) {
		return nil // another replica was faster
	}
	return err
}
