package esignd

import (
	"errors"
	"slices"
	"time"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
)

// GrantEvent tells a workflow what happened to a grant. It never holds a secret.
type GrantEvent struct {
	ID         string           `json:"id"` // of esignd's event; the same when a signal comes twice; empty where a look at the grant found it
	Type       client.EventType `json:"type"`
	Grant      GrantRef         `json:"grant"`
	Generation uint64           `json:"generation,omitempty"`
	Reason     string           `json:"reason,omitempty"`
	Time       time.Time        `json:"time,omitzero"`
}

// ended reports whether the grant gives no more tokens after the event.
func (e GrantEvent) ended() bool { return e.Type != client.TokenIssued }

const (
	// signalName is the signal by which a workflow hears a GrantEvent.
	signalName = "esignd.grant.event"
	// firstLook is after how long a workflow looks again: an esignd of several replicas may answer by what it knew two
	// seconds ago. laterLook is how often it does from then on.
	firstLook = 5 * time.Second
	laterLook = 6 * time.Hour
	// unread is how many events wait in a channel of WatchGrant at most.
	unread = 64
)

// AwaitGrant returns nil once the grant is active: at once where it is, else when its owner has connected the account
// again. It returns ctx's error where that ends before, and an application error where the grant is not known to esignd.
//
// It holds no slot of a worker, however long the owner takes.
func AwaitGrant(ctx workflow.Context, grant GrantRef) error {
	h, err := heardBy(ctx, grant)
	if err != nil {
		return err
	}
	for pause := firstLook; ; pause = laterLook {
		before := h.usable[grant]
		now, err := look(ctx, grant)
		if err != nil {
			return err
		}
		if now.State == core.Active {
			return nil
		}
		if _, err := workflow.AwaitWithTimeout(ctx, pause, func() bool { return h.usable[grant] != before }); err != nil {
			return err
		}
	}
}

// WatchGrant returns a channel of the [GrantEvent]s that end the grant, until ctx ends: client.TokenRevoked, and
// client.GrantReauthorizationRequired where esignd found it dead. When it returns, the workflow is registered: no revocation
// from then on is missed, and one may come twice. A grant that has ended already is the first event of the channel. An event
// that nobody receives while 64 others wait is dropped.
func WatchGrant(ctx workflow.Context, grant GrantRef) (workflow.ReceiveChannel, error) {
	h, err := heardBy(ctx, grant)
	if err != nil {
		return nil, err
	}
	w := &watcher{grant: grant, events: workflow.NewNamedBufferedChannel(ctx, "esignd "+string(grant), unread)}
	h.watchers = append(h.watchers, w)
	now, err := look(ctx, grant)
	if err != nil {
		h.drop(w)
		return nil, err
	}
	w.found(now)
	workflow.GoNamed(ctx, "esignd watch", func(ctx workflow.Context) {
		defer h.drop(w)
		for pause := firstLook; workflow.Sleep(ctx, pause) == nil; pause = laterLook {
			now, err := look(ctx, grant)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				now = standing{State: core.Revoked, Reason: string(client.NotFound)}
			}
			w.found(now)
		}
	})
	return w.events, nil
}

// watcher is one WatchGrant.
type watcher struct {
	grant  GrantRef
	events workflow.Channel
	dead   bool // the last that was told of the grant is that it has ended
}

func (w *watcher) hear(e GrantEvent) {
	if w.dead = e.ended(); w.dead {
		_ = w.events.SendAsync(e)
	}
}

// found tells what a look at the grant found, where no signal has.
func (w *watcher) found(now standing) {
	switch {
	case now.State == core.Active:
		w.dead = false
	case !w.dead:
		kind := client.GrantReauthorizationRequired
		if now.State == core.Revoked {
			kind = client.TokenRevoked
		}
		w.hear(GrantEvent{Type: kind, Grant: w.grant, Generation: now.Generation, Reason: now.Reason})
	}
}

// heard is what one run of a workflow has heard. It is used from that workflow's coroutines alone.
type heard struct {
	root     workflow.Context
	hearing  bool
	usable   map[GrantRef]int // how many events said that the grant gives tokens again
	watchers []*watcher
}

func (h *heard) drop(w *watcher) {
	h.watchers = slices.DeleteFunc(h.watchers, func(one *watcher) bool { return one == w })
}

func (h *heard) take(e GrantEvent) {
	if !e.ended() {
		h.usable[e.Grant]++
	}
	for _, w := range h.watchers {
		if w.grant == e.Grant {
			w.hear(e)
		}
	}
}

type heardKey struct{}

// workflowInbound gives each workflow its heard.
type workflowInbound struct {
	interceptor.WorkflowInboundInterceptorBase
}

// ExecuteWorkflow implements interceptor.WorkflowInboundInterceptor.
func (w *workflowInbound) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	h := &heard{usable: map[GrantRef]int{}}
	h.root = workflow.WithValue(ctx, heardKey{}, h)
	return w.Next.ExecuteWorkflow(h.root, in)
}

// heardBy returns what the workflow hears, and has it begin to where it does not yet.
func heardBy(ctx workflow.Context, grant GrantRef) (*heard, error) {
	if err := grant.Validate(); err != nil {
		return nil, temporal.NewNonRetryableApplicationError(err.Error(), ErrorType(client.InvalidRequest), nil)
	}
	h, ok := ctx.Value(heardKey{}).(*heard)
	if !ok {
		return nil, errors.New("esignd: the client of this worker does not have the plugin: give it to client.Options.Plugins")
	}
	if !h.hearing {
		h.hearing = true
		workflow.GoNamed(h.root, "esignd signals", func(ctx workflow.Context) {
			for signals := workflow.GetSignalChannel(ctx, signalName); ; {
				var e GrantEvent
				if !signals.Receive(ctx, &e) {
					return
				}
				h.take(e)
			}
		})
	}
	return h, nil
}

// look registers the workflow for what happens to the grant, and says how the grant stands after that.
func look(ctx workflow.Context, grant GrantRef) (now standing, err error) {
	ctx = workflow.WithActivityOptions(ctx, quick)
	err = workflow.ExecuteActivity(ctx, lookActivity, grant).Get(ctx, &now)
	return now, err
}

// quick are the options of this package's activities: they are tried until they work.
var quick = workflow.ActivityOptions{
	StartToCloseTimeout: time.Minute,
	RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: time.Minute},
}
