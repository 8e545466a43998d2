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
	// mostBytes is how long the ids of the workflows of one grant may be, all together: what a workflow may hand to
	// the run that follows it is bounded by Temporal.
	mostBytes = 1 << 20
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
}

// add puts a workflow on the roll. It is false where there is no room.
func (r *roll) add(id string) bool {
	if slices.Contains(r.Workflows, id) {
		return true
	}
	bytes := len(id)
	for _, other := range r.Workflows {
		bytes += len(other)
	}
	if bytes > mostBytes {
		return false
	}
	r.Workflows = append(r.Workflows, id)
	return true
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
	for {
		dayOver := false
		selector := workflow.NewSelector(ctx)
		selector.AddReceive(subscriptions, func(workflow.ReceiveChannel, bool) {})
		selector.AddReceive(events, func(workflow.ReceiveChannel, bool) {})
		selector.AddFuture(day, func(workflow.Future) { dayOver = true })
		selector.Select(ctx)
		if err := r.drain(ctx, subscriptions, events); err != nil {
			return err
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
}

// drain takes what has come: first who wants to hear, so that nobody misses what came after.
func (r *roll) drain(ctx workflow.Context, subscriptions, events workflow.ReceiveChannel) error {
	for {
		var id string
		if !subscriptions.ReceiveAsync(&id) {
			break
		}
		if !r.add(id) {
			workflow.GetLogger(ctx).Error("esignd: too many workflows watch one grant; this one hears of it when it looks", "workflow", id)
		}
	}
	for {
		var e GrantEvent
		if !events.ReceiveAsync(&e) {
			return ctx.Err()
		}
		r.pass(ctx, e)
	}
}

// pass signals every workflow on the roll, and forgets those that have ended.
func (r *roll) pass(ctx workflow.Context, e GrantEvent) {
	var gone []string
	for ids := range slices.Chunk(r.Workflows, signalsAtOnce) {
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
	}
	r.remove(gone)
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
