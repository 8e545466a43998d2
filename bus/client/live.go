package client

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/esignd/esignd/bus/wire"
)

// liveEvents is how many events wait for fn at most; what comes beyond is lost, and logged by nats.go's error handler.
const liveEvents = 4096

// live is Watch for a service that has no consumer of this name and may make none: by a plain subscription.
func (w *watch) live(ctx context.Context) error {
	if !w.cfg.Since.IsZero() {
		return fmt.Errorf("client: service %s hears what is past from its consumer only: set Durable to its name", w.client.service)
	}
	messages := make(chan *nats.Msg, liveEvents)
	sub, err := w.client.conn.ChanSubscribe(wire.TenantEvents(w.client.prefix, w.client.tenant, ">"), messages)
	if err != nil {
		return fmt.Errorf("watch the events of tenant %s: %w", w.client.tenant, err)
	}
	// The connection may be closed by now.
	defer func() { _ = sub.Unsubscribe() }()
	closed := w.client.conn.StatusChanged(nats.CLOSED)
	defer w.client.conn.RemoveStatusListener(closed)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-closed:
			return errors.New("the NATS connection was closed")
		case m := <-messages:
			if err := w.tell(ctx, m); err != nil {
				return err
			}
		}
	}
}

// tell hands one message to fn.
func (w *watch) tell(ctx context.Context, m *nats.Msg) error {
	e, err := wire.DecodeEvent(m.Data)
	switch {
	case err != nil:
		w.client.log.WarnContext(ctx, "a message on the subject of events cannot be read; it is skipped", "subject", m.Subject, "error", err)
		return nil
	case len(w.cfg.Types) > 0 && !slices.Contains(w.cfg.Types, e.Type):
		return nil
	}
	return w.hear(ctx, m.Subject, e)
}
