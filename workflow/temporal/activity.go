package esignd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"go.temporal.io/sdk/interceptor"
	"golang.org/x/oauth2"

	"github.com/esignd/esignd/bus/client"
)

type pluginKey struct{}

// activityInbound puts the plugin into each activity's context, and makes application errors of esignd's.
type activityInbound struct {
	interceptor.ActivityInboundInterceptorBase
	plugin *Plugin
}

// ExecuteActivity implements interceptor.ActivityInboundInterceptor.
func (a *activityInbound) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	out, err := a.Next.ExecuteActivity(context.WithValue(ctx, pluginKey{}, a.plugin), in)
	return out, applicationError(err)
}

func pluginOf(ctx context.Context, grant GrantRef) (*Plugin, error) {
	p, ok := ctx.Value(pluginKey{}).(*Plugin)
	if !ok {
		return nil, errors.New("esignd: this is not the context of an activity whose worker's client has the plugin")
	}
	return p, grant.Validate()
}

// Token returns a live access token of the grant, in an activity. Its AccessToken prints as "[redacted]" and refuses to be
// marshalled; Reveal returns it.
func Token(ctx context.Context, grant GrantRef, opts ...client.TokenOption) (client.Token, error) {
	p, err := pluginOf(ctx, grant)
	if err != nil {
		return client.Token{}, err
	}
	t, err := p.esignd.Token(ctx, grant.selector(), opts...)
	if err != nil {
		return client.Token{}, fmt.Errorf("get a token of grant %s: %w", grant, err)
	}
	p.guard.note(t.AccessToken.Reveal())
	return t, nil
}

// TokenSource returns an oauth2.TokenSource, in an activity, for libraries that take one. Its Token asks esignd each time,
// within ctx.
func TokenSource(ctx context.Context, grant GrantRef, opts ...client.TokenOption) oauth2.TokenSource {
	return tokenSource(func() (*oauth2.Token, error) {
		p, err := pluginOf(ctx, grant)
		if err != nil {
			return nil, err
		}
		t, err := p.esignd.TokenSource(ctx, grant.selector(), opts...).Token()
		if err != nil {
			return nil, fmt.Errorf("get a token of grant %s: %w", grant, err)
		}
		p.guard.note(t.AccessToken)
		return t, nil
	})
}

type tokenSource func() (*oauth2.Token, error)

// Token implements oauth2.TokenSource.
func (f tokenSource) Token() (*oauth2.Token, error) { return f() }

// HTTPClient returns a client of the vendor's API, in an activity: each request gets a live token, and one that the vendor answers
// with 401 is sent once more with a new one where it can be, as client.Client.Transport says. base is
// http.DefaultTransport where it is nil.
func HTTPClient(ctx context.Context, grant GrantRef, base http.RoundTripper) (*http.Client, error) {
	p, err := pluginOf(ctx, grant)
	if err != nil {
		return nil, err
	}
	if base == nil {
		base = http.DefaultTransport
	}
	return &http.Client{Transport: p.esignd.Transport(grant.selector(), &noting{guard: p.guard, base: base})}, nil
}

// noting sees which tokens a transport uses.
type noting struct {
	guard *guard
	base  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (n *noting) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok {
		n.guard.note(token)
	}
	return n.base.RoundTrip(r)
}

// ConnectURL returns, in an activity, where the grant's owner connects the account again. Send it to the owner from
// there; it is good for ten minutes and does not belong in a workflow's history.
func ConnectURL(ctx context.Context, grant GrantRef) (string, error) {
	p, err := pluginOf(ctx, grant)
	if err != nil {
		return "", err
	}
	g, err := p.esignd.Grant(ctx, grant.selector())
	if err != nil {
		return "", fmt.Errorf("look grant %s up: %w", grant, err)
	}
	a, err := p.esignd.Authorize(ctx, client.AuthorizeRequest{Client: g.Client, Account: g.Account})
	if err != nil {
		return "", fmt.Errorf("make a link to connect grant %s again: %w", grant, err)
	}
	p.guard.note(a.ConnectURL)
	return a.ConnectURL, nil
}
