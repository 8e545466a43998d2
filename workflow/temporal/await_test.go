package esignd_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	temporalclient "go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/tests/system"
	esignd "github.com/esignd/esignd/workflow/temporal"
)

// use is an activity that needs a token.
func use(ctx context.Context, grant esignd.GrantRef) (uint64, error) {
	t, err := esignd.Token(ctx, grant)
	return t.Generation, err
}

var once = workflow.ActivityOptions{StartToCloseTimeout: time.Minute}

// resumes uses the grant as often as its owner has to connect it, and returns how often it waited. The query stage says where
// it is.
func resumes(ctx workflow.Context, grant esignd.GrantRef) (waited int, err error) {
	stage := "begins"
	if err := workflow.SetQueryHandler(ctx, "stage", func() (string, error) { return stage, nil }); err != nil {
		return 0, err
	}
	ctx = workflow.WithActivityOptions(ctx, once)
	for {
		err := workflow.ExecuteActivity(ctx, use, grant).Get(ctx, nil)
		if !esignd.NeedsOwner(err) {
			return waited, err
		}
		waited++
		stage = "waits"
		if err := esignd.AwaitGrant(ctx, grant); err != nil {
			return waited, err
		}
	}
}

// watches returns the first event that ends its grant.
func watches(ctx workflow.Context, grant esignd.GrantRef) (e esignd.GrantEvent, err error) {
	stage := "begins"
	if err := workflow.SetQueryHandler(ctx, "stage", func() (string, error) { return stage, nil }); err != nil {
		return e, err
	}
	ended, err := esignd.WatchGrant(ctx, grant)
	if err != nil {
		return e, err
	}
	stage = "watches"
	ended.Receive(ctx, &e)
	return e, nil
}

// attempts counts how often an activity of a run was tried, by what its history says of the last.
func attempts(t *testing.T, s *service, run temporalclient.WorkflowRun) (list []int32) {
	t.Helper()
	for _, e := range history(t, s.Client, run.GetID()).Events {
		if started := e.GetActivityTaskStartedEventAttributes(); started != nil {
			list = append(list, started.GetAttempt())
		}
	}
	return list
}

// TestReauthorizationIsWaitedFor revokes a grant: the activity is not retried, the workflow waits without a worker, and
// goes on when the owner has connected the account while no worker ran.
func TestReauthorizationIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := newService(t, runs{workflows: []any{resumes}, activities: []any{use}})
	a := connected(t)
	s.start()
	a.revoke()
	run := s.run(resumes, esignd.GrantRef(a.grant))
	s.await(run, "waits")
	s.awaitRegistered(a.grant)
	s.stop()
	a.connect()
	s.start()
	var waited int
	if err := run.Get(testContext(t), &waited); err != nil || waited == 0 {
		t.Fatalf("after %d waits: %v", waited, err)
	}
	if tried := attempts(t, s, run); slices.Max(tried) != 1 {
		t.Errorf("activities were tried %v times", tried)
	}
	s.replay(run.GetID())
	s.replay(s.registry(a.grant))
}

// TestRevocationSignalsRunningWorkflows revokes the grant of many workflows, once with a worker there and once without.
func TestRevocationSignalsRunningWorkflows(t *testing.T) {
	t.Parallel()
	const many = 20
	s := newService(t, runs{workflows: []any{watches}})
	a, other := connected(t), connectedAs(t, "other")
	s.start()
	for _, down := range []bool{false, true} {
		t.Run(fmt.Sprintf("no worker %v", down), func(t *testing.T) {
			var list []temporalclient.WorkflowRun
			for range many {
				list = append(list, s.run(watches, esignd.GrantRef(a.grant)))
			}
			untouched := s.run(watches, esignd.GrantRef(other.grant))
			for _, run := range append(list, untouched) {
				s.await(run, "watches")
			}
			if down {
				s.stop()
			}
			a.revoke()
			if down {
				s.start()
			}
			for _, run := range list {
				var got esignd.GrantEvent
				if err := run.Get(testContext(t), &got); err != nil {
					t.Fatal(err)
				}
				if got.Type != client.TokenRevoked || got.Grant != esignd.GrantRef(a.grant) || got.ID == "" {
					t.Errorf("the workflow heard %+v", got)
				}
			}
			s.replay(list[0].GetID())
			s.await(untouched, "watches")
			if err := s.TerminateWorkflow(testContext(t), untouched.GetID(), "", "enough"); err != nil {
				t.Error(err)
			}
			a.connect()
		})
	}
}

// TestWatchOfAGrantThatHasEndedSaysSo: there is no event to come.
func TestWatchOfAGrantThatHasEndedSaysSo(t *testing.T) {
	t.Parallel()
	s := newService(t, runs{workflows: []any{watches}})
	a := connected(t)
	a.revoke()
	s.start()
	var got esignd.GrantEvent
	if err := s.run(watches, esignd.GrantRef(a.grant)).Get(testContext(t), &got); err != nil {
		t.Fatal(err)
	}
	if got.Type != client.TokenRevoked {
		t.Errorf("the workflow heard %+v", got)
	}
}

// TestWhatIsNoGrantIsRefused: neither an account's name nor a grant that nobody knows is waited for.
func TestWhatIsNoGrantIsRefused(t *testing.T) {
	t.Parallel()
	s := newService(t, runs{workflows: []any{watches, awaits}})
	s.start()
	for _, w := range []any{watches, awaits} {
		err := s.run(w, esignd.GrantRef("jane@example.com")).Get(testContext(t), nil)
		if !failedAs(err, esignd.ErrorType(client.InvalidRequest)) || strings.Contains(err.Error(), "jane") {
			t.Errorf("a name for a grant: %v", err)
		}
		err = s.run(w, esignd.GrantRef("g_"+strings.Repeat("0", 40))).Get(testContext(t), nil)
		if !failedAs(err, esignd.ErrorType(client.NotFound)) {
			t.Errorf("an unknown grant: %v", err)
		}
	}
}

func awaits(ctx workflow.Context, grant esignd.GrantRef) error { return esignd.AwaitGrant(ctx, grant) }

func failedAs(err error, kind string) bool {
	var app *temporal.ApplicationError
	return errors.As(err, &app) && app.Type() == kind && app.NonRetryable()
}

// throttled fails once as esignd does where the vendor wants to be left alone.
type throttled struct{ tried []time.Time }

const throttle = 3 * time.Second

// Call is the activity.
func (c *throttled) Call(context.Context) error {
	if c.tried = append(c.tried, time.Now()); len(c.tried) > 1 {
		return nil
	}
	return fmt.Errorf("call the vendor: %w", &client.Error{Code: client.TemporarilyUnavailable, Reason: "rate_limited", RetryAfter: throttle})
}

func callsThrottled(ctx workflow.Context) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: time.Minute, RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Millisecond, BackoffCoefficient: 1},
	})
	var c *throttled
	return workflow.ExecuteActivity(ctx, c.Call).Get(ctx, nil)
}

// TestRetryAfterIsTheNextRetryDelay: the activity's own policy would try again after a millisecond.
func TestRetryAfterIsTheNextRetryDelay(t *testing.T) {
	t.Parallel()
	c := &throttled{}
	s := newService(t, runs{workflows: []any{callsThrottled}, activities: []any{c}})
	s.start()
	if err := s.run(callsThrottled).Get(testContext(t), nil); err != nil {
		t.Fatal(err)
	}
	if len(c.tried) != 2 || c.tried[1].Sub(c.tried[0]) < throttle-100*time.Millisecond {
		t.Errorf("the activity was tried at %v", c.tried)
	}
}

// awaitRegistered waits until the grant's workflow is there.
func (s *service) awaitRegistered(grant string) {
	s.t.Helper()
	system.Await(s.t, patience, "the workflow is registered for its grant", func() bool {
		_, err := s.DescribeWorkflowExecution(testContext(s.t), s.registry(grant), "")
		return err == nil
	})
}
