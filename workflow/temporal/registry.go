package esignd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	temporalclient "go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"

	"github.com/esignd/esignd/core"
)

const (
	grantWorkflowType = "esignd.grant"
	lookActivity      = "esignd.look"
	goneActivity      = "esignd.gone"
	subscribeSignal   = "subscribe" // with a workflow's id
	eventSignal       = "event"     // with a GrantEvent

	// signalsAtOnce is how many workflows are signaled before the first is waited for.
	signalsAtOnce = 200
	// mostBytes is how long the ids of the workflows of one grant may be in JSON, all together: what a workflow may hand to
	// the run that follows it is bounded by Temporal, which takes 2 MiB.
	mostBytes = 1 << 20
	// mostPassing is how many events wait for the run that follows.
	mostPassing = 256
	// tidyEvery is how often workflows that have ended are forgotten. So they are when there are twice as many as the last
	// time, and tidyFrom more.
	tidyEvery = 24 * time.Hour
	tidyFrom  = 64
)

// standing is how a grant stands.
type standing struct {
	State      core.State `json:"state"`
	Reason     string     `json:"reason,omitempty"`
	Generation uint64     `json:"generation,omitempty"`
}

// look is the activity that registers its workflow with the grant's, and then asks esignd how the grant stands. In that order:
// what happens before the registration is in the answer, what happens after it is signaled.
func (p *Plugin) look(ctx context.Context, grant GrantRef) (standing, error) {
	info := activity.GetInfo(ctx)
	_, err := activity.GetClient(ctx).SignalWithStartWorkflow(ctx, p.workflowID(grant), subscribeSignal, info.WorkflowExecution.ID,
		temporalclient.StartWorkflowOptions{TaskQueue: info.TaskQueue, WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE},
		grantWorkflowType, roll{})
	if err != nil {
		return standing{}, fmt.Errorf("register for what happens to grant %s: %w", grant, err)
	}
	g, err := p.esignd.Grant(ctx, grant.selector())
	if err != nil {
		return standing{}, fmt.Errorf("look grant %s up: %w", grant, err)
	}
	return standing{State: g.State, Reason: g.Reason, Generation: g.Generation}, nil
}

// workflowID is the id of the grant's workflow. Who has events of its own has workflows of its own.
func (p *Plugin) workflowID(grant GrantRef) string {
	return "esignd/" + p.durable + "/" + string(grant)
}

// roll is what the grant's workflow remembers from run to run.
type roll struct {
	Workflows []string `json:"workflows,omitempty"` // ids, in the order of their registration
	Tidied    int      `json:"tidied,omitempty"`    // how many there were when those that have ended were forgotten
	// Passing are events that the workflows do not know yet, but for the first of them, which the first Told know.
	Passing []GrantEvent `json:"passing,omitempty"`
	Told    int          `json:"told,omitempty"`
}

// add puts a workflow on the roll. It is false where there is no room.
func (r *roll) add(id string) bool {
	if slices.Contains(r.Workflows, id) {
		return true
	}
	bytes := inJSON(id)
	for _, other := range r.Workflows {
		bytes += inJSON(other)
	}
	if bytes > mostBytes {
		return false
	}
	r.Workflows = append(r.Workflows, id)
	return true
}

// inJSON is how long an id is at most in a list in JSON, where some characters are escaped.
func inJSON(id string) int {
	n := len(`"",`)
	for _, c := range []byte(id) {
		switch {
		case c < ' ', c == '"', c == '\\', c == '<', c == '>', c == '&':
			n += len(`\u0000`)
		case c >= 0x80:
			n += 2 // U+2028 has three bytes
		default:
			n++
		}
	}
	return n
}

func (r *roll) remove(gone []string) {
	r.Workflows = slices.DeleteFunc(r.Workflows, func(id string) bool { return slices.Contains(gone, id) })
}

// grantWorkflow knows which workflows want to hear of one grant, and passes on to them what happens to it. Its state is
// Temporal's, so that it survives every worker. It ends when none of these workflows is left, at a tidying.
func grantWorkflow(ctx workflow.Context, r roll) error {
	ctx = workflow.WithActivityOptions(ctx, quick)
	subscriptions, events := workflow.GetSignalChannel(ctx, subscribeSignal), workflow.GetSignalChannel(ctx, eventSignal)
	day := workflow.NewTimer(ctx, tidyEvery)
	if err := r.passOn(ctx); err != nil {
		return err
	}
	for len(r.Passing) == 0 {
		dayOver := false
		selector := workflow.NewSelector(ctx)
		selector.AddReceive(subscriptions, func(workflow.ReceiveChannel, bool) {})
		selector.AddReceive(events, func(workflow.ReceiveChannel, bool) {})
		selector.AddFuture(day, func(workflow.Future) { dayOver = true })
		selector.Select(ctx)
		if err := r.drain(ctx, subscriptions, events); err != nil {
			return err
		}
		if len(r.Passing) > 0 {
			break
		}
		if dayOver || len(r.Workflows) > 2*r.Tidied+tidyFrom {
			if err := r.tidy(ctx); err != nil {
				return err
			}
		}
		switch idle := subscriptions.Len() == 0 && events.Len() == 0; {
		case dayOver && idle && len(r.Workflows) == 0:
			return nil
		case idle && workflow.GetInfo(ctx).GetContinueAsNewSuggested():
			return workflow.NewContinueAsNewError(ctx, grantWorkflowType, r)
		case dayOver:
			day = workflow.NewTimer(ctx, tidyEvery)
		}
	}
	r.takeAlong(ctx, subscriptions, events)
	return workflow.NewContinueAsNewError(ctx, grantWorkflowType, r)
}

// drain takes what has come: before each event those who want to hear, so that nobody misses what came after. It leaves an
// event in Passing where this run's history has no room for more.
func (r *roll) drain(ctx workflow.Context, subscriptions, events workflow.ReceiveChannel) error {
	for len(r.Passing) == 0 {
		var e GrantEvent
		came := events.ReceiveAsync(&e)
		// While the event before was passed on, there may have come more than this one.
		r.enter(ctx, subscriptions)
		if !came {
			return ctx.Err()
		}
		r.Passing = append(r.Passing, e)
		if err := r.passOn(ctx); err != nil {
			return err
		}
	}
	return nil
}

// enter puts those on the roll who want to hear.
func (r *roll) enter(ctx workflow.Context, subscriptions workflow.ReceiveChannel) {
	for {
		var id string
		if !subscriptions.ReceiveAsync(&id) {
			return
		}
		if !r.add(id) {
			workflow.GetLogger(ctx).Error("esignd: too many workflows watch one grant; this one hears of it when it looks", "workflow", id)
		}
	}
}

// takeAlong takes what has come for the next run.
func (r *roll) takeAlong(ctx workflow.Context, subscriptions, events workflow.ReceiveChannel) {
	r.enter(ctx, subscriptions)
	for {
		var e GrantEvent
		if !events.ReceiveAsync(&e) {
			return
		}
		if len(r.Passing) == mostPassing {
			workflow.GetLogger(ctx).Error("esignd: too many events of one grant; workflows hear of this one when they look", "event", e.ID)
			continue
		}
		r.Passing = append(r.Passing, e)
	}
}

// passOn signals every workflow on the roll with each event of Passing, and forgets those that have ended. It stops
// between signals where Temporal wants another run: each signal takes some of the 51,200 events of a history.
func (r *roll) passOn(ctx workflow.Context) error {
	for ; len(r.Passing) > 0; r.Passing, r.Told = r.Passing[1:], 0 {
		for r.Told < len(r.Workflows) {
			ids := r.Workflows[r.Told:min(r.Told+signalsAtOnce, len(r.Workflows))]
			gone := signal(ctx, ids, r.Passing[0])
			r.Told += len(ids) - len(gone)
			r.remove(gone)
			if r.Told < len(r.Workflows) && workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
				return ctx.Err()
			}
		}
	}
	return ctx.Err()
}

// signal signals workflows, and returns those that have ended.
func signal(ctx workflow.Context, ids []string, e GrantEvent) (gone []string) {
	sent := make([]workflow.Future, len(ids))
	for i, id := range ids {
		sent[i] = workflow.SignalExternalWorkflow(ctx, id, "", signalName, e)
	}
	for i, id := range ids {
		if err := sent[i].Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Info("esignd: a workflow cannot be signaled any more", "workflow", id, "error", err)
			gone = append(gone, id)
		}
	}
	return gone
}

// tidy forgets the workflows that have ended. One that registers meanwhile waits in its channel.
func (r *roll) tidy(ctx workflow.Context) error {
	var all []string
	for ids := range slices.Chunk(r.Workflows, signalsAtOnce) {
		var gone []string
		if err := workflow.ExecuteActivity(ctx, goneActivity, ids).Get(ctx, &gone); err != nil {
			return err
		}
		all = append(all, gone...)
	}
	r.remove(all)
	r.Tidied = len(r.Workflows)
	return nil
}

// gone is the activity that says which of the workflows have ended.
func (p *Plugin) gone(ctx context.Context, ids []string) ([]string, error) {
	var gone []string
	for _, id := range ids {
		d, err := activity.GetClient(ctx).DescribeWorkflowExecution(ctx, id, "")
		var none *serviceerror.NotFound
		switch {
		case errors.As(err, &none):
			gone = append(gone, id)
		case err != nil:
			return nil, fmt.Errorf("look workflow %s up: %w", id, err)
		case d.GetWorkflowExecutionInfo().GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING:
			gone = append(gone, id)
		}
	}
	return gone, nil
}
