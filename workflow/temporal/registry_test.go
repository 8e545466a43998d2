package esignd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/esignd/esignd/bus/client"
)

// registry runs the workflow of a grant where time passes as soon as nothing else is to be done.
type registry struct {
	*testsuite.TestWorkflowEnvironment
	t     *testing.T
	begun time.Time

	mu      sync.Mutex
	ended   []string // workflows that have
	tidied  []tidying
	signals []string // the events and workflows that were signaled
	onFirst func()   // is called by the first signal
}

// tidying is one question for the workflows that have ended.
type tidying struct {
	at  time.Duration // after the start
	ids []string
}

func newRegistry(t *testing.T) *registry {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(nothing{})
	r := &registry{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), t: t}
	r.begun = r.Now()
	r.RegisterWorkflowWithOptions(grantWorkflow, workflow.RegisterOptions{Name: grantWorkflowType})
	r.RegisterActivityWithOptions(r.gone, activity.RegisterOptions{Name: goneActivity})
	const anything = "mock.Anything" // of testify, for the SDK
	r.OnSignalExternalWorkflow("default-test-namespace", anything, "", signalName, anything).Return(r.signal)
	return r
}

// signal is what becomes of a signal: who has ended refuses it.
func (r *registry) signal(_, id, _, _ string, e any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.ended, id) {
		return errors.New("it has ended")
	}
	r.signals = append(r.signals, fmt.Sprint(e.(GrantEvent).ID, " ", id))
	if len(r.signals) == 1 && r.onFirst != nil {
		r.onFirst()
	}
	return nil
}

// gone is the activity.
func (r *registry) gone(_ context.Context, ids []string) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tidied = append(r.tidied, tidying{r.Now().Sub(r.begun).Round(time.Second), ids})
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !slices.Contains(r.ended, id) }), nil
}

// end ends workflows.
func (r *registry) end(ids ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = append(r.ended, ids...)
}

// at has something happen some time after the start.
func (r *registry) at(after time.Duration, do func()) { r.RegisterDelayedCallback(do, after) }

// subscribe registers workflows.
func (r *registry) subscribe(ids ...string) {
	for _, id := range ids {
		r.SignalWorkflow(subscribeSignal, id)
	}
}

// continued is what the workflow hands to its next run.
func (r *registry) continued() (next roll) {
	r.t.Helper()
	var again *workflow.ContinueAsNewError
	if err := r.GetWorkflowError(); !errors.As(err, &again) {
		r.t.Fatalf("the workflow ended with %v, and was to continue as new", err)
	}
	if err := converter.GetDefaultDataConverter().FromPayloads(again.Input, &next); err != nil {
		r.t.Fatal(err)
	}
	return next
}

// nothing is a log that keeps nothing.
type nothing struct{}

func (nothing) Debug(string, ...any) {}
func (nothing) Info(string, ...any)  {}
func (nothing) Warn(string, ...any)  {}
func (nothing) Error(string, ...any) {}

func ids(kind string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(kind, "-", i)
	}
	return list
}

const day = 24 * time.Hour

func TestGrantWorkflowForgetsEachDayWhoHasEnded(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	r.at(time.Minute, func() { r.subscribe("a", "b", "a") })
	r.at(time.Hour, func() { r.end("a") })
	r.at(36*time.Hour, func() { r.subscribe("c"); r.end("b") })
	r.at(60*time.Hour, func() { r.end("c") })
	r.ExecuteWorkflow(grantWorkflowType, roll{})
	if err := r.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	want := []tidying{{day, []string{"a", "b"}}, {2 * day, []string{"b", "c"}}, {3 * day, []string{"c"}}}
	if got := fmt.Sprint(r.tidied); got != fmt.Sprint(want) {
		t.Errorf("it tidied %s, want %v", got, want)
	}
	if lived := r.Now().Sub(r.begun).Round(time.Second); lived != 3*day {
		t.Errorf("it ended after %s", lived)
	}
}

func TestGrantWorkflowForgetsSoonerWhereManyRegister(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	first, second := ids("first", tidyFrom+1), ids("second", tidyFrom+3)
	r.at(time.Minute, func() { r.end(first[2:]...); r.subscribe(first...) })
	r.at(2*time.Minute, func() { r.subscribe(second[:len(second)-1]...) }) // with the 2 that live: twice as many, and tidyFrom
	r.at(3*time.Minute, func() { r.subscribe(second[len(second)-1]); r.end(first...); r.end(second...) })
	r.ExecuteWorkflow(grantWorkflowType, roll{})
	if err := r.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, one := range r.tidied {
		got = append(got, fmt.Sprint(one.at, " ", len(one.ids)))
	}
	if want := []string{"1m0s 65", "3m0s 69"}; !slices.Equal(got, want) {
		t.Errorf("it tidied %v, want %v", got, want)
	}
}

func TestGrantWorkflowContinuesAsNewWithItsRoll(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	e := GrantEvent{ID: "e", Type: client.TokenRevoked, Grant: "g"}
	r.end("gone")
	r.at(time.Minute, func() {
		r.SetContinueAsNewSuggested(true)
		r.SignalWorkflowSkippingWorkflowTask(subscribeSignal, "new")
		r.SignalWorkflow(eventSignal, e)
	})
	r.ExecuteWorkflow(grantWorkflowType, roll{Workflows: []string{"gone", "here"}, Tidied: 7})
	if next := r.continued(); !reflect.DeepEqual(next, roll{Workflows: []string{"here", "new"}, Tidied: 7}) {
		t.Errorf("the next run begins with %+v", next)
	}
	slices.Sort(r.signals)
	if !slices.Equal(r.signals, []string{"e here", "e new"}) {
		t.Errorf("it signaled %v", r.signals)
	}
}

// A history has no room for signals to all that a roll has room for: the rest are signaled by later runs.
func TestGrantWorkflowSignalsManyInSeveralRuns(t *testing.T) {
	t.Parallel()
	all := ids("w", 2*signalsAtOnce+1)
	e, later := GrantEvent{ID: "e", Type: client.TokenRevoked, Grant: "g"}, GrantEvent{ID: "later", Type: client.TokenIssued, Grant: "g"}
	next, told := roll{Workflows: all, Passing: []GrantEvent{e, later}}, []string(nil)
	for runs := 1; len(next.Passing) > 0; runs++ {
		if runs > 6 {
			t.Fatalf("after %d runs %d events are still to be passed on", runs, len(next.Passing))
		}
		r := newRegistry(t)
		r.end(all[0], all[signalsAtOnce])
		r.SetContinueAsNewSuggested(true)
		before := len(next.Passing)
		r.at(time.Minute, func() { r.subscribe("idle") })
		r.ExecuteWorkflow(grantWorkflowType, next)
		next = r.continued()
		if told = append(told, r.signals...); before == 2 && len(r.signals) > 2*signalsAtOnce {
			t.Errorf("one run signaled %d workflows", len(r.signals))
		}
	}
	living := slices.DeleteFunc(slices.Clone(all), func(id string) bool { return id == all[0] || id == all[signalsAtOnce] })
	var want []string
	for _, id := range living {
		want = append(want, "e "+id, "later "+id)
	}
	slices.Sort(want)
	if slices.Sort(told); !slices.Equal(told, want) {
		t.Errorf("of %d signals %d were sent", len(want), len(told))
	}
	if living = append(living, "idle"); !slices.Equal(next.Workflows, living) {
		t.Errorf("%d workflows are on the roll, not %d", len(next.Workflows), len(living))
	}
}

// Who wants to hear while an event is passed on hears of the next one, which comes meanwhile too.
func TestGrantWorkflowEntersWhoComesBeforeTheNextEvent(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	r.onFirst = func() {
		r.subscribe("late")
		r.SignalWorkflow(eventSignal, GrantEvent{ID: "later", Type: client.TokenRevoked, Grant: "g"})
	}
	r.at(time.Minute, func() { r.subscribe("early") })
	r.at(time.Hour, func() { r.SignalWorkflow(eventSignal, GrantEvent{ID: "first", Type: client.TokenIssued, Grant: "g"}) })
	r.at(2*time.Hour, func() { r.end("early", "late") })
	r.ExecuteWorkflow(grantWorkflowType, roll{})
	if err := r.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if slices.Sort(r.signals); !slices.Equal(r.signals, []string{"first early", "later early", "later late"}) {
		t.Errorf("it signaled %v", r.signals)
	}
}

// What the workflow hands on stays below the 2 MiB that Temporal takes, whatever the ids are.
func TestRollIsBounded(t *testing.T) {
	t.Parallel()
	for name, form := range map[string]string{
		"plain": strings.Repeat("x", 3600) + "%d", "escaped": strings.Repeat("<&\"\x01", 800) + "%d", "of other scripts": strings.Repeat("契約\u2028", 320) + "%d",
	} {
		var r roll
		n := 0
		for r.add(fmt.Sprintf(form, n)) {
			n++
		}
		b, err := json.Marshal(r)
		if err != nil || len(b) > 2<<20-1<<10 || len(b) < 1<<19 {
			t.Errorf("%s: %d ids take %d bytes: %v", name, n, len(b), err)
		}
		if !r.add(r.Workflows[0]) {
			t.Errorf("%s: one that is on the roll is refused", name)
		}
		r.remove(r.Workflows[:1:1])
		if !r.add(fmt.Sprintf(form, n)) {
			t.Errorf("%s: there is no room where another has left", name)
		}
	}
	short := roll{Workflows: ids("w", 120_000)} // 0.8 MiB, and 0.3 of JSON around it
	if short.add("another") {
		t.Error("there is room for more than a MiB")
	}
}
