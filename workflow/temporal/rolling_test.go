package esignd_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	historypb "go.temporal.io/api/history/v1"
	temporalclient "go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"

	"github.com/esignd/esignd/tests/system"
	"github.com/esignd/esignd/tests/witness"
	esignd "github.com/esignd/esignd/workflow/temporal"
)

const (
	// room is how many events a history has when Temporal wants another run: a few signals' worth.
	room = 25
	// rounds is how often the grant is revoked, and watchers how many workflows more watch it each time.
	rounds, watchers = 3, 12
)

// hears returns the reasons of the revocations that it was told of, up to the last.
func hears(ctx workflow.Context, grant esignd.GrantRef) (reasons []string, err error) {
	stage := "begins"
	if err := workflow.SetQueryHandler(ctx, "stage", func() (string, error) { return stage, nil }); err != nil {
		return nil, err
	}
	ended, err := esignd.WatchGrant(ctx, grant)
	if err != nil {
		return nil, err
	}
	for stage = "watches"; !slices.Contains(reasons, strconv.Itoa(rounds-1)); stage = fmt.Sprint("heard ", reasons) {
		var e esignd.GrantEvent
		ended.Receive(ctx, &e)
		if e.ID != "" && !slices.Contains(reasons, e.Reason) { // a look at the grant tells nothing of signals
			reasons = append(reasons, e.Reason)
		}
	}
	return reasons, nil
}

// TestNobodyIsLostWhereAGrantsWorkflowContinuesAsNew has workflows register and a grant's owner come and go while the grant's
// workflow begins run after run. Each hears of every revocation since it watched; and no run's history holds a secret.
func TestNobodyIsLostWhereAGrantsWorkflowContinuesAsNew(t *testing.T) {
	t.Parallel()
	server, stop, err := startTemporal("--room", strconv.Itoa(room))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	s := newServiceAt(t, server, runs{workflows: []any{hears}})
	a, secrets := connected(t), witness.New()
	s.start()
	var watching [rounds][]temporalclient.WorkflowRun
	for round := range rounds {
		for range watchers {
			watching[round] = append(watching[round], s.run(hears, esignd.GrantRef(a.grant)))
		}
		if round > 0 { // which they are told of while they register
			a.connect()
		}
		secrets.Note("access_token", a.token().AccessToken.Reveal())
		for _, run := range watching[round] {
			s.awaitStage(run, "that it watches", func(stage string) bool { return stage != "begins" })
		}
		system.Must(a.esign.Revoke(t.Context(), a.selector, strconv.Itoa(round)))(t)
	}
	for round, list := range watching {
		for _, run := range list {
			var reasons []string
			if err := run.Get(testContext(t), &reasons); err != nil {
				t.Fatal(err)
			}
			for since := round; since < rounds; since++ {
				if !slices.Contains(reasons, strconv.Itoa(since)) {
					t.Errorf("a workflow that watched since before revocation %d heard of %v", round, reasons)
				}
			}
			s.holdsNothing(secrets, history(t, s.Client, run.GetID()))
		}
	}
	all := s.allRuns(s.registry(a.grant))
	s.holdsNothing(secrets, all...)
	if len(all) < 2 || len(secrets.Kinds()) != 1 {
		t.Errorf("the grant's workflow had %d runs, and %v was looked for: this shows nothing", len(all), secrets.Kinds())
	}
	// The last run may not have done anything yet.
	s.replayAll(s.registry(a.grant), all[1:]...)
	t.Logf("%d workflows heard of %d revocations from a workflow in %d runs", rounds*watchers, rounds, len(all))
}

// allRuns returns the histories of a workflow's runs, the last one first.
func (s *service) allRuns(id string) (list []*historypb.History) {
	s.t.Helper()
	for run := ""; ; {
		h := historyOf(s.t, s.Client, id, run)
		list = append(list, h)
		if run = h.Events[0].GetWorkflowExecutionStartedEventAttributes().GetContinuedExecutionRunId(); run == "" {
			return list
		}
	}
}

// holdsNothing looks for secrets in histories.
func (s *service) holdsNothing(secrets *witness.Witness, histories ...*historypb.History) {
	s.t.Helper()
	for _, h := range histories {
		for _, text := range exported(s.t, h) {
			if found := secrets.Search(text); len(found) > 0 {
				s.t.Errorf("a history holds %v", found)
			}
		}
	}
}
