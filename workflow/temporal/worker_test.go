package esignd_test

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	temporal "go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/esignd/esignd/tests/system"
	esignd "github.com/esignd/esignd/workflow/temporal"
)

const (
	// patience is how long a test waits for what has to come.
	patience = 2 * time.Minute
	// queryPatience is how long it waits for one answer: no worker may be there.
	queryPatience = 5 * time.Second
)

// service is a program that has the plugin: a Temporal client, and workers that come and go.
type service struct {
	temporal.Client
	t      testing.TB
	plugin *esignd.Plugin
	name   string // of the task queue, and of what NATS remembers
	runs   runs
	worker worker.Worker
}

// runs is what a service's workers run.
type runs struct{ workflows, activities []any }

// newService makes a client, and no worker yet.
func newService(t testing.TB, r runs) *service {
	t.Helper()
	return newServiceAt(t, world.temporal, r)
}

func newServiceAt(t testing.TB, server temporalServer, r runs) *service {
	t.Helper()
	s := &service{t: t, name: strings.ReplaceAll(t.Name(), "/", "-"), runs: r}
	s.plugin = system.Must(esignd.New(esignd.Config{Client: dial(t), Durable: s.name, Logger: quiet()}))(t)
	s.Client = dialTemporalAt(t, server, s.plugin)
	t.Cleanup(s.stop)
	return s
}

func dialTemporal(t testing.TB) temporal.Client {
	t.Helper()
	return dialTemporalAt(t, world.temporal)
}

func dialTemporalAt(t testing.TB, server temporalServer, plugins ...temporal.Plugin) temporal.Client {
	t.Helper()
	c := system.Must(temporal.Dial(temporal.Options{
		HostPort: server.address, Namespace: server.namespace, Plugins: plugins, Logger: log.NewStructuredLogger(quiet()),
	}))(t)
	t.Cleanup(c.Close)
	return c
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// start starts a worker.
func (s *service) start() {
	s.t.Helper()
	s.worker = worker.New(s.Client, s.name, worker.Options{})
	for _, w := range s.runs.workflows {
		s.worker.RegisterWorkflow(w)
	}
	for _, a := range s.runs.activities {
		s.worker.RegisterActivity(a)
	}
	if err := s.worker.Start(); err != nil {
		s.t.Fatal(err)
	}
}

// stop stops the worker, where there is one.
func (s *service) stop() {
	if s.worker != nil {
		s.worker.Stop()
		s.worker = nil
		// What the worker knew of workflows that go on is gone, as with its process.
		worker.PurgeStickyWorkflowCache()
	}
}

func (s *service) run(workflow any, args ...any) temporal.WorkflowRun {
	s.t.Helper()
	return system.Must(s.ExecuteWorkflow(testContext(s.t), temporal.StartWorkflowOptions{TaskQueue: s.name}, workflow, args...))(s.t)
}

// registry is the id of the workflow that knows who wants to hear of the grant.
func (s *service) registry(grant string) string { return "esignd/" + s.name + "/" + grant }

// await waits until the query of a workflow answers what is wanted.
func (s *service) await(run temporal.WorkflowRun, want string) {
	s.t.Helper()
	s.awaitStage(run, want, func(stage string) bool { return stage == want })
}

func (s *service) awaitStage(run temporal.WorkflowRun, what string, wanted func(string) bool) {
	s.t.Helper()
	var got string
	system.Await(s.t, patience, "the workflow says "+what, func() bool {
		ctx, cancel := context.WithTimeout(s.t.Context(), queryPatience)
		defer cancel()
		v, err := s.QueryWorkflow(ctx, run.GetID(), run.GetRunID(), "stage")
		return err == nil && v.Get(&got) == nil && wanted(got)
	})
}

// history returns all events of a workflow's current run.
func history(t testing.TB, c temporal.Client, id string) *historypb.History {
	t.Helper()
	return historyOf(t, c, id, "")
}

func historyOf(t testing.TB, c temporal.Client, id, run string) *historypb.History {
	t.Helper()
	out := &historypb.History{}
	for events := c.GetWorkflowHistory(testContext(t), id, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
		out.Events = append(out.Events, system.Must(events.Next())(t))
	}
	return out
}

// exported are the forms in which a message can be read: as the server keeps it, and as it exports it.
func exported(t testing.TB, m proto.Message) [][]byte {
	t.Helper()
	return [][]byte{system.Must(proto.Marshal(m))(t), system.Must(protojson.Marshal(m))(t)}
}

// replay runs the workflow's code against its history, and fails where it would not do the same again.
func (s *service) replay(id string) {
	s.t.Helper()
	s.replayAll(id, history(s.t, s.Client, id))
}

// replayAll is replay of several runs.
func (s *service) replayAll(id string, runs ...*historypb.History) {
	s.t.Helper()
	replayer := system.Must(worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{Plugins: []worker.Plugin{s.plugin}}))(s.t)
	for _, w := range s.runs.workflows {
		replayer.RegisterWorkflow(w)
	}
	for _, h := range runs {
		if err := replayer.ReplayWorkflowHistory(log.NewStructuredLogger(quiet()), h); err != nil {
			s.t.Errorf("replay %s: %v", id, err)
		}
	}
}
