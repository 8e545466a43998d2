package esignd_test

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	temporalclient "go.temporal.io/sdk/client"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/tests/system"
	"github.com/esignd/esignd/tests/transcript"
	"github.com/esignd/esignd/tests/witness"
	esignd "github.com/esignd/esignd/workflow/temporal"
	"github.com/esignd/esignd/workflow/temporal/example"
)

// exampleWorker is the process of example/worker.
type exampleWorker struct {
	t      testing.TB
	cmd    *exec.Cmd
	output transcript.Transcript
}

func startWorker(t testing.TB) *exampleWorker {
	t.Helper()
	w := &exampleWorker{t: t}
	w.cmd = exec.Command(filepath.Join(world.dir, "worker"), "--nats", world.nats, "--temporal", world.temporal.address, "--namespace", world.temporal.namespace)
	w.cmd.Stdout, w.cmd.Stderr = &w.output, &w.output
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.end(syscall.SIGINT) })
	return w
}

// end ends the process, where it runs.
func (w *exampleWorker) end(how syscall.Signal) {
	if w.cmd.ProcessState == nil {
		_ = w.cmd.Process.Signal(how)
		_ = w.cmd.Wait()
	}
}

// link waits for the address that the worker would send to the grant's owner.
func (w *exampleWorker) link(grant string) (url string) {
	w.t.Helper()
	system.Await(w.t, patience, "the owner is told", func() bool {
		_, rest, found := strings.Cut(w.output.String(), "connect "+grant+" at ")
		line, _, whole := strings.Cut(rest, "\n")
		url = line
		return found && whole
	})
	return url
}

// sent are the titles of the account's signature requests, as the vendor has them.
func (a *account) sent() (titles []string) {
	a.t.Helper()
	var list struct {
		Requests []struct{ Title string } `json:"signature_requests"`
	}
	token := a.token()
	if status := call(a.t, token, "/v3/signature_request/list", &list); status != http.StatusOK {
		a.t.Fatalf("the vendor's list answers %d", status)
	}
	for _, r := range list.Requests {
		titles = append(titles, r.Title)
	}
	return titles
}

// completed counts how often an activity of the workflow has ended well.
func completed(t testing.TB, c temporalclient.Client, id, activity string) (n int) {
	t.Helper()
	scheduled := map[int64]string{}
	for _, e := range history(t, c, id).Events {
		if s := e.GetActivityTaskScheduledEventAttributes(); s != nil {
			scheduled[e.GetEventId()] = s.GetActivityType().GetName()
		}
		if done := e.GetActivityTaskCompletedEventAttributes(); done != nil && scheduled[done.GetScheduledEventId()] == activity {
			n++
		}
	}
	return n
}

// call asks the vendor's API with a token, and returns the status.
func call(t testing.TB, token client.Token, path string, into any) int {
	t.Helper()
	r := system.Must(http.NewRequestWithContext(testContext(t), http.MethodGet, token.APIBaseURL+path, nil))(t)
	r.Header.Set("Authorization", "Bearer "+token.AccessToken.Reveal())
	answer := system.Must((&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r))(t)
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode == http.StatusOK {
		if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
			t.Fatal(err)
		}
	}
	return answer.StatusCode
}

// TestExampleSurvives sends three documents with the example: after the first the token expires, after the second the account is
// disconnected, its owner told, and the worker killed; the owner connects it while there is none.
func TestExampleSurvives(t *testing.T) {
	t.Parallel()
	a, secrets := connected(t), witness.New()
	first := a.token()
	secrets.Note("access_token", first.AccessToken.Reveal())
	c := dialTemporal(t)
	worker := startWorker(t)
	run := system.Must(c.ExecuteWorkflow(testContext(t), temporalclient.StartWorkflowOptions{TaskQueue: example.TaskQueue}, example.SendBatch, example.Batch{
		Grant: esignd.GrantRef(a.grant), Titles: []string{"NDA", "lease", "offer"}, Signer: "jack@example.com", Pause: lifetime + 5*time.Second,
	}))(t)
	system.Await(t, patience, "two documents are sent", func() bool { return completed(t, c, run.GetID(), "Send") == 2 })
	if status := call(t, first, "/v3/account", nil); status != http.StatusUnauthorized {
		t.Errorf("the token of the beginning lives: %d", status)
	}
	secrets.Note("access_token", a.token().AccessToken.Reveal())
	a.revoke()
	link := worker.link(a.grant)
	secrets.Note("connect_url", link[strings.LastIndexByte(link, '/')+1:])
	worker.end(syscall.SIGKILL)
	a.open(link)
	startWorker(t)
	var ids []string
	if err := run.Get(testContext(t), &ids); err != nil {
		t.Fatal(err)
	}
	if slices.Sort(ids); len(slices.Compact(ids)) != 3 || !slices.Equal(a.sent(), []string{"NDA", "lease", "offer"}) {
		t.Errorf("the workflow sent %v, and the vendor has %v", ids, a.sent())
	}
	secrets.Note("access_token", a.token().AccessToken.Reveal())
	if kinds := secrets.Kinds(); !slices.Equal(kinds, []string{"access_token", "connect_url"}) {
		t.Fatalf("the search knows %v", kinds)
	}
	for _, id := range []string{run.GetID(), "esignd/" + esignd.DefaultDurable + "/" + a.grant} {
		for _, text := range exported(t, history(t, c, id)) {
			if found := secrets.Search(text); len(found) > 0 {
				t.Errorf("the history of %s holds %v", id, found)
			}
		}
	}
}
