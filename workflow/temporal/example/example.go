// Package example sends documents for signature at Dropbox Sign, one after another, in a workflow that survives what
// happens to its token meanwhile: it expires, the account is disconnected and connected again, the worker is killed.
//
// Program worker runs it.
package example

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.temporal.io/sdk/workflow"

	esignd "github.com/esignd/esignd/workflow/temporal"
)

// TaskQueue is where the worker finds its work.
const TaskQueue = "signatures"

// Batch says what to send. It names the account by the id of its grant alone.
type Batch struct {
	Grant  esignd.GrantRef
	Titles []string
	Signer string        // e-mail address
	Pause  time.Duration // between two documents
}

// SendBatch is the workflow. It returns the ids of the signature requests.
func SendBatch(ctx workflow.Context, b Batch) ([]string, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	ended, err := esignd.WatchGrant(ctx, b.Grant)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, title := range b.Titles {
		id, err := send(ctx, b, title)
		if err != nil {
			return ids, err
		}
		ids = append(ids, id)
		if err := rest(ctx, b, ended); err != nil {
			return ids, err
		}
	}
	return ids, nil
}

// send sends one document, as often as the account has to be connected again before that works.
func send(ctx workflow.Context, b Batch, title string) (id string, err error) {
	var activities *Activities
	for {
		err := workflow.ExecuteActivity(ctx, activities.Send, b.Grant, title, b.Signer).Get(ctx, &id)
		if !esignd.NeedsOwner(err) {
			return id, err
		}
		if err := reconnect(ctx, b.Grant); err != nil {
			return "", err
		}
	}
}

// rest waits until the next document is due. An account that is disconnected meanwhile is connected again in that time,
// and not only when the next document fails.
func rest(ctx workflow.Context, b Batch, ended workflow.ReceiveChannel) (err error) {
	over := false
	due := workflow.NewTimer(ctx, b.Pause)
	for !over && err == nil {
		selector := workflow.NewSelector(ctx)
		selector.AddFuture(due, func(workflow.Future) { over = true })
		selector.AddReceive(ended, func(c workflow.ReceiveChannel, _ bool) {
			var e esignd.GrantEvent
			c.Receive(ctx, &e)
			workflow.GetLogger(ctx).Info("the account was disconnected", "event", e.Type, "reason", e.Reason)
			err = reconnect(ctx, b.Grant)
		})
		selector.Select(ctx)
	}
	return err
}

// reconnect tells the owner, and waits. Nothing but this workflow's history waits with it.
func reconnect(ctx workflow.Context, grant esignd.GrantRef) error {
	var activities *Activities
	if err := workflow.ExecuteActivity(ctx, activities.TellOwner, grant).Get(ctx, nil); err != nil {
		return err
	}
	return esignd.AwaitGrant(ctx, grant)
}

// Activities are the activities. Tell brings the account's owner the address at which the account is connected.
type Activities struct {
	Tell func(ctx context.Context, grant esignd.GrantRef, connectURL string) error
}

// Send sends one document for signature. It may be called again where its answer was lost, and then sends it twice:
// Dropbox Sign has no key for that.
func (*Activities) Send(ctx context.Context, grant esignd.GrantRef, title, signer string) (string, error) {
	token, err := esignd.Token(ctx, grant)
	if err != nil {
		return "", err
	}
	api, err := esignd.HTTPClient(ctx, grant, nil)
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(map[string]any{
		"title": title, "test_mode": true, "signers": []map[string]string{{"email_address": signer, "name": signer}},
	})
	if err != nil {
		return "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, token.APIBaseURL+"/v3/signature_request/send", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := api.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	if err := esignd.CheckResponse(answer); err != nil {
		return "", err
	}
	var sent struct {
		Request struct {
			ID string `json:"signature_request_id"`
		} `json:"signature_request"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&sent); err != nil {
		return "", fmt.Errorf("read the vendor's answer: %w", err)
	}
	if sent.Request.ID == "" {
		return "", errors.New("the vendor's answer has no signature_request_id")
	}
	return sent.Request.ID, nil
}

// TellOwner brings the account's owner the address at which to connect it again. The address does not leave the activity
// in any other way.
func (a *Activities) TellOwner(ctx context.Context, grant esignd.GrantRef) error {
	url, err := esignd.ConnectURL(ctx, grant)
	if err != nil {
		return err
	}
	return a.Tell(ctx, grant, url)
}
