package plugintest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/host"
)

// subject is one adapter under test: a plugin's process, or an adapter in this one. It is a core.Adapter that keeps what
// is said as evidence, and whose calls end.
type subject struct {
	adapter  core.Adapter
	plugin   *host.Plugin // nil in process
	evidence *evidence
	timeout  time.Duration
	calls    sync.WaitGroup
}

// What becomes of a call that does not end as a call should.
var (
	// errPanic is a panic of an adapter in process. Its value is not told: it may hold a secret.
	errPanic = errors.New("the adapter panicked")
	// errStuck is a call that did not return when its context had ended. It may still run.
	errStuck = errors.New("the adapter did not return when its context had ended")
)

// within calls f with a context that ends, and returns soon after that whatever f does.
func within[T any](ctx context.Context, s *subject, method string, f func(context.Context) (T, error)) (T, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		var cancel context.CancelFunc
		deadline = time.Now().Add(s.timeout)
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	type answer struct {
		result T
		err    error
	}
	answers := make(chan answer, 1)
	s.calls.Go(func() {
		a := answer{err: errPanic}
		defer func() {
			_ = recover() // a is what it was
			answers <- a
		}()
		result, err := f(ctx)
		a = answer{result, err}
	})
	patience := time.NewTimer(time.Until(deadline) + 2*lateness)
	defer patience.Stop()
	select {
	case a := <-answers:
		s.evidence.err(method, a.err)
		return a.result, a.err
	case <-patience.C:
		var none T
		return none, errStuck
	}
}

func (s *subject) Metadata(ctx context.Context) (core.Metadata, error) {
	return within(ctx, s, "Metadata", s.adapter.Metadata)
}

func (s *subject) AuthorizationURL(ctx context.Context, r core.AuthorizationRequest) (string, error) {
	s.evidence.client(r.Client)
	return within(ctx, s, "AuthorizationURL", func(ctx context.Context) (string, error) { return s.adapter.AuthorizationURL(ctx, r) })
}

func (s *subject) Callback(ctx context.Context, r core.CallbackRequest) (core.CallbackResult, error) {
	s.evidence.secret("a code", core.NewSecret(r.Params.Get("code")))
	result, err := within(ctx, s, "Callback", func(ctx context.Context) (core.CallbackResult, error) { return s.adapter.Callback(ctx, r) })
	s.evidence.secret("a code", result.Code)
	return result, err
}

func (s *subject) Token(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
	s.evidence.client(r.Client)
	s.evidence.secret("a code", r.Code)
	s.evidence.secret("a code verifier", r.CodeVerifier)
	s.evidence.secret("a refresh token", r.RefreshToken)
	s.evidence.secret("an access token", r.AccessToken)
	set, err := within(ctx, s, "Token", func(ctx context.Context) (core.TokenResponse, error) { return s.adapter.Token(ctx, r) })
	if err == nil {
		s.evidence.tokens(set)
	}
	return set, err
}

func (s *subject) Revoke(ctx context.Context, r core.RevocationRequest) error {
	s.evidence.client(r.Client)
	s.evidence.secret("a token to be revoked", r.Token)
	_, err := within(ctx, s, "Revoke", func(ctx context.Context) (struct{}, error) { return struct{}{}, s.adapter.Revoke(ctx, r) })
	if errors.Is(err, errors.ErrUnsupported) {
		return errors.ErrUnsupported
	}
	return err
}

// pid is the process's number; 0 in process, or while there is none.
func (s *subject) pid() int {
	if s.plugin == nil {
		return 0
	}
	return s.plugin.Status().PID
}

// settle waits until the plugin answers again, where a call before has ended its process.
func (s *subject) settle(ctx context.Context) error {
	if s.plugin == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !s.ready() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the plugin to start again: %s: %w", s.plugin.Status().LastError, ctx.Err())
		case <-ticker.C:
		}
	}
	return nil
}

// ready reports whether the process runs. The host notes a moment later than a call that one has ended.
func (s *subject) ready() bool {
	status := s.plugin.Status()
	return status.State == host.Ready && alive(status.PID)
}

// close ends the process, and waits for calls that are still running.
func (s *subject) close(ctx context.Context) error {
	if s.plugin != nil {
		if err := s.plugin.Close(ctx); err != nil {
			return err
		}
	}
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		s.calls.Wait()
	}()
	patience := time.NewTimer(stopWithin)
	defer patience.Stop()
	select {
	case <-returned:
		return nil
	case <-patience.C:
		return errStuck
	}
}
