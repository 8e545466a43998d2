package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"golang.org/x/oauth2"

	"github.com/esignd/esignd/bus/wire"
	"github.com/esignd/esignd/core"
)

// API is what a program asks of esignd for its tenant, wherever esignd is: a [Client] asks over NATS, and a [Local] the
// engine in this process. What the methods promise stands at Client; the errors are the same.
type API interface {
	Token(ctx context.Context, sel Selector, opts ...TokenOption) (Token, error)
	Refresh(ctx context.Context, sel Selector) (Token, error)
	Report(ctx context.Context, sel Selector, generation uint64) (Token, error)
	Authorize(ctx context.Context, r AuthorizeRequest) (Authorization, error)
	Revoke(ctx context.Context, sel Selector, reason string) (Grant, error)
	WaitReady(ctx context.Context, sel Selector) error
	Watch(ctx context.Context, cfg WatchConfig, fn func(Event) error) error
	TokenSource(ctx context.Context, sel Selector, opts ...TokenOption) oauth2.TokenSource
	Transport(sel Selector, base http.RoundTripper) http.RoundTripper
}

var (
	_ API = (*Client)(nil)
	_ API = (*Local)(nil)
)

// Local asks an engine in this process, without NATS. A Manager holds the tokens of all its grants, so that nothing is
// asked twice and a cached token costs what it costs there. Its methods may be called concurrently.
type Local struct {
	manager *core.Manager
	tenant  string
}

// NewLocal returns a Local for the grants of a tenant. The Manager stays the caller's, who starts and closes it.
func NewLocal(m *core.Manager, tenant string) (*Local, error) {
	switch {
	case m == nil:
		return nil, errors.New("client: NewLocal needs a Manager")
	case !wire.ValidToken(tenant):
		return nil, fmt.Errorf("client: tenant %q: letters, digits, - and _ are wanted", tenant)
	}
	return &Local{manager: m, tenant: tenant}, nil
}

// Token returns a live access token.
func (l *Local) Token(ctx context.Context, sel Selector, opts ...TokenOption) (Token, error) {
	req := optionsOf(opts).request(sel)
	if err := wire.Check(req); err != nil {
		return Token{}, err
	}
	if t, ok := l.manager.CachedToken(ctx, req.Core(l.tenant), req.Duration()); ok {
		return t, nil
	}
	return l.manager.Token(ctx, req.Core(l.tenant), req.Duration())
}

// Refresh is described at Client.
func (l *Local) Refresh(ctx context.Context, sel Selector) (Token, error) {
	sel, err := l.own(sel)
	if err != nil {
		return Token{}, err
	}
	return l.manager.Refresh(ctx, sel)
}

// Report is described at Client.
func (l *Local) Report(ctx context.Context, sel Selector, generation uint64) (Token, error) {
	sel, err := l.own(sel)
	if err != nil {
		return Token{}, err
	}
	return l.manager.Report(ctx, sel, generation)
}

// Authorize is described at Client.
func (l *Local) Authorize(ctx context.Context, r AuthorizeRequest) (Authorization, error) {
	r.Tenant = l.tenant
	return l.manager.Authorize(ctx, r)
}

// Revoke is described at Client.
func (l *Local) Revoke(ctx context.Context, sel Selector, reason string) (Grant, error) {
	sel, err := l.own(sel)
	if err != nil {
		return Grant{}, err
	}
	return l.manager.Revoke(ctx, sel, reason)
}

// Watch calls fn for each event of the tenant that the Manager publishes from now on, once, one at a time and in order,
// until ctx ends or fn returns an error, and returns that. It is core.Manager.Watch: what other processes publish is not
// heard, nor what was published before; WatchConfig.Durable and Since are for those who listen over NATS.
func (l *Local) Watch(ctx context.Context, cfg WatchConfig, fn func(Event) error) error {
	if cfg.Durable != "" || !cfg.Since.IsZero() {
		return errors.New("client: a Local hears events from now on and remembers nothing: leave Durable and Since empty, or watch over NATS")
	}
	if err := checkTypes(cfg.Types); err != nil {
		return err
	}
	seen := newRecent(remembered)
	return l.manager.Watch(ctx, func(e Event) error {
		if e.Tenant != l.tenant || seen.has(e.ID) || len(cfg.Types) > 0 && !slices.Contains(cfg.Types, e.Type) {
			return nil
		}
		seen.add(e.ID)
		return fn(e)
	})
}

// TokenSource is described at Client.
func (l *Local) TokenSource(ctx context.Context, sel Selector, opts ...TokenOption) oauth2.TokenSource {
	return newTokenSource(ctx, l, sel, opts)
}

// Transport is described at Client.
func (l *Local) Transport(sel Selector, base http.RoundTripper) http.RoundTripper {
	return newTransport(l, sel, base)
}

// own returns the selector for this Local's tenant, whatever it names.
func (l *Local) own(sel Selector) (Selector, error) {
	own := wire.SelectorOf(sel)
	return own.Core(l.tenant), wire.Check(own)
}
