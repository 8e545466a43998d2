package esignd_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/esignd/esignd/tests/system"
	"github.com/esignd/esignd/tests/witness"
	esignd "github.com/esignd/esignd/workflow/temporal"
)

// leaker is an activity that does with tokens what it should not, and tells the test which they were.
type leaker struct{ secrets *witness.Witness }

// ways are those in which an activity can write into a history.
var ways = []string{"result", "bytes", "source", "connect url", "heartbeat", "error", "application error", "panic"}

// Leak gives a token away.
func (l *leaker) Leak(ctx context.Context, grant esignd.GrantRef, how string) (any, error) {
	token, err := esignd.Token(ctx, grant)
	if err != nil {
		return nil, err
	}
	secret := token.AccessToken.Reveal()
	l.secrets.Note("access_token", secret)
	switch how {
	case "result":
		return map[string]string{"authorization": "Bearer " + secret}, nil
	case "bytes":
		return []byte("Bearer " + secret), nil
	case "source":
		t, err := esignd.TokenSource(ctx, grant).Token()
		if err != nil {
			return nil, err
		}
		l.secrets.Note("access_token", t.AccessToken)
		return t.AccessToken, nil
	case "connect url":
		url, err := esignd.ConnectURL(ctx, grant)
		l.secrets.Note("connect_url", url[strings.LastIndexByte(url, '/')+1:]) // before it is the same for all
		return url, err
	case "heartbeat":
		activity.RecordHeartbeat(ctx, "at", secret)
		return "went on", nil
	case "error":
		return nil, fmt.Errorf("the vendor refuses %s: %w", secret, errors.New(hex.EncodeToString([]byte(secret))))
	case "application error":
		return nil, temporal.NewApplicationError("refused "+base64.URLEncoding.EncodeToString([]byte(secret)), "vendor", secret, []byte(secret))
	case "panic":
		panic("no answer to " + secret)
	}
	return nil, errors.New("the test does not know " + how)
}

// leaky runs the activity in each way, twice where it is retried, and fails with all that it heard.
func leaky(ctx workflow.Context, grant esignd.GrantRef) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: time.Minute, RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Millisecond, MaximumAttempts: 2},
	})
	var l *leaker
	var all []error
	for _, how := range ways {
		err := workflow.ExecuteActivity(ctx, l.Leak, grant, how).Get(ctx, nil)
		if err == nil {
			return temporal.NewNonRetryableApplicationError("nothing refused "+how, "test", nil)
		}
		all = append(all, err)
	}
	return errors.Join(all...)
}

// TestTokensNeverEnterHistory lets an activity give tokens away in every way that leads into a history, and looks for
// them in everything that the server keeps of the workflow.
func TestTokensNeverEnterHistory(t *testing.T) {
	t.Parallel()
	l := &leaker{secrets: witness.New()}
	s := newService(t, runs{workflows: []any{leaky}, activities: []any{l}})
	a := connected(t)
	s.start()
	run := s.run(leaky, esignd.GrantRef(a.grant))
	err := run.Get(testContext(t), nil)
	if err == nil || strings.Contains(err.Error(), "nothing refused") {
		t.Fatalf("the workflow ended with %v", err)
	}
	if got := strings.Count(err.Error(), "holds a token or a connect URL"); got != 5 {
		t.Errorf("%d of 5 results and heartbeats were refused for what they hold: %v", got, err)
	}
	if kinds := l.secrets.Kinds(); len(kinds) != 2 {
		t.Fatalf("the search knows %v", kinds)
	}
	for _, text := range exported(t, history(t, s.Client, run.GetID())) {
		if found := l.secrets.Search(text); len(found) > 0 {
			t.Errorf("the history holds %v", found)
		}
	}
	s.replay(run.GetID())
}

// stubborn fails with a token in the text and the details, again and again.
func stubborn(ctx workflow.Context, grant esignd.GrantRef) error {
	var l *leaker
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	return workflow.ExecuteActivity(ctx, l.Leak, grant, "application error").Get(ctx, nil)
}

// TestTokensAreNotInWhatTheServerSaysOfARetry: the last failure of an activity that goes on is not in the history yet.
func TestTokensAreNotInWhatTheServerSaysOfARetry(t *testing.T) {
	t.Parallel()
	l := &leaker{secrets: witness.New()}
	s := newService(t, runs{workflows: []any{stubborn}, activities: []any{l}})
	a := connected(t)
	s.start()
	run := s.run(stubborn, esignd.GrantRef(a.grant))
	system.Await(t, patience, "the activity is retried", func() bool {
		d := system.Must(s.DescribeWorkflowExecution(testContext(t), run.GetID(), ""))(t)
		pending := d.GetPendingActivities()
		if len(pending) == 0 || pending[0].GetLastFailure() == nil {
			return false
		}
		for _, text := range exported(t, d) {
			if found := l.secrets.Search(text); len(found) > 0 {
				t.Fatalf("the server tells %v", found)
			}
		}
		return true
	})
	if err := s.TerminateWorkflow(testContext(t), run.GetID(), "", "enough"); err != nil {
		t.Error(err)
	}
}

// TestTheSearchFindsATokenInAHistory shows that the tests above would see one: a client without the plugin writes it.
func TestTheSearchFindsATokenInAHistory(t *testing.T) {
	t.Parallel()
	secrets, token := witness.New(), connected(t).token().AccessToken.Reveal()
	secrets.Note("access_token", token)
	plain := &service{Client: dialTemporal(t), t: t, name: t.Name()}
	run := plain.run("nobody runs this", token)
	for i, text := range exported(t, history(t, plain.Client, run.GetID())) {
		if len(secrets.Search(text)) == 0 {
			t.Errorf("the token is not found in form %d of the history", i)
		}
	}
	if err := plain.TerminateWorkflow(testContext(t), run.GetID(), "", "enough"); err != nil {
		t.Error(err)
	}
}
