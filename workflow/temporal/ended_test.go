package esignd_test

import (
	"slices"
	"testing"

	"go.temporal.io/sdk/workflow"

	esignd "github.com/esignd/esignd/workflow/temporal"
)

// asksWhoEnded has the plugin's activity say which of some workflows have ended, as the workflow of a grant does.
func asksWhoEnded(ctx workflow.Context, ids []string) (ended []string, err error) {
	err = workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, once), "esignd.gone", ids).Get(ctx, &ended)
	return ended, err
}

// TestWhoHasEndedIsKnown: a workflow that is over, and one that Temporal does not know any more.
func TestWhoHasEndedIsKnown(t *testing.T) {
	t.Parallel()
	s := newService(t, runs{workflows: []any{watches, asksWhoEnded}})
	a := connected(t)
	s.start()
	living := s.run(watches, esignd.GrantRef(a.grant))
	s.await(living, "watches")
	over := s.run(asksWhoEnded, []string{})
	if err := over.Get(testContext(t), nil); err != nil {
		t.Fatal(err)
	}
	var ended []string
	if err := s.run(asksWhoEnded, []string{"nobody", living.GetID(), over.GetID()}).Get(testContext(t), &ended); err != nil {
		t.Fatal(err)
	}
	if want := []string{"nobody", over.GetID()}; !slices.Equal(ended, want) {
		t.Errorf("%v have ended, want %v", ended, want)
	}
	if err := s.TerminateWorkflow(testContext(t), living.GetID(), "", "enough"); err != nil {
		t.Error(err)
	}
}
