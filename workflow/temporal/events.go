package esignd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.temporal.io/api/serviceerror"
	temporalclient "go.temporal.io/sdk/client"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
)

const (
	// again is after how long an event whose signal failed is tried again.
	again = time.Second
	// signalTimeout is shorter than what NATS waits before it gives the event to another worker.
	signalTimeout = 15 * time.Second
	// overlap is how far back the first worker of all hears: it looks at grants before NATS knows that it listens.
	overlap = time.Minute
)

// hearing is a worker's ear. All workers share one consumer: an event goes to one of them, and to another where that one
// does not get it into Temporal.
type hearing struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// hear passes events to the workflows of their grants until close. It closes c at its end.
func (p *Plugin) hear(c temporalclient.Client) *hearing {
	// The context of a worker's start ends with it.
	ctx, cancel := context.WithCancel(context.Background())
	h := &hearing{cancel: cancel}
	h.done.Go(func() {
		defer c.Close()
		p.watch(ctx, c)
	})
	return h
}

func (h *hearing) close() {
	h.cancel()
	h.done.Wait()
}

func (p *Plugin) watch(ctx context.Context, c temporalclient.Client) {
	cfg := client.WatchConfig{
		Types:   []client.EventType{client.TokenIssued, client.TokenRevoked, client.GrantReauthorizationRequired},
		Durable: p.durable, Since: time.Now().Add(-overlap),
	}
	for {
		err := p.esignd.Watch(ctx, cfg, func(e client.Event) error { return p.pass(ctx, c, e) })
		if ctx.Err() != nil {
			return
		}
		p.log.WarnContext(ctx, "esignd's events do not reach the workflows, and are tried again", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(again):
		}
	}
}

// pass signals the grant's workflow, where there is one. The event counts as heard once Temporal has the signal.
func (p *Plugin) pass(ctx context.Context, c temporalclient.Client, e client.Event) error {
	if e.Grant == "" || e.Type == client.TokenIssued && e.Reason == core.IssuedRefreshed {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, signalTimeout)
	defer cancel()
	out := GrantEvent{ID: e.ID, Type: e.Type, Grant: GrantRef(e.Grant), Generation: e.Generation, Reason: e.Reason, Time: e.Time}
	err := c.SignalWorkflow(ctx, p.workflowID(out.Grant), "", eventSignal, out)
	var nobody *serviceerror.NotFound
	if err != nil && !errors.As(err, &nobody) {
		return fmt.Errorf("signal the workflow of grant %s: %w", e.Grant, err)
	}
	return nil
}
