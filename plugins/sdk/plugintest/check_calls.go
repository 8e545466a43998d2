package plugintest

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/sdk/plugintest/faultproxy"
)

// sameTime is how many calls are made at the same time.
const sameTime = 8

func checkConcurrency(ctx context.Context, b *bench, r *recorder) {
	b.withSubject(ctx, r, func(s *subject) {
		requests := make([]core.TokenRequest, sameTime)
		for i := range requests {
			request, err := b.freshRequest(ctx, s)
			if err != nil {
				b.without(r, err)
				return
			}
			requests[i] = request
			if i%2 == 1 && b.cfg.Sandbox.ClientSecret != "" {
				requests[i].Client.ClientSecret = core.NewSecret(wrongSecret)
			}
		}
		sets, errs := b.atOnce(ctx, s, requests)
		if err := b.restore(); err != nil {
			r.errorf("%v", err)
		}
		seen := map[string]bool{}
		for i, request := range requests {
			stranger := request.Client.ClientSecret.Reveal() == wrongSecret
			access := sets[i].AccessToken.Reveal()
			switch {
			case !stranger && errs[i] != nil:
				r.errorf("beside calls of others, a call fails: %s", b.evidence.clean(errs[i].Error()))
			case stranger && errs[i] == nil:
				r.errorf("beside calls with the right client secret, a call with a wrong one succeeds")
			case stranger:
			case seen[access] && request.GrantType == core.RefreshToken:
				r.errorf("two grants got the same access token")
			}
			seen[access] = true
		}
	})
}

// atOnce makes all calls at the same time: the sandbox answers none of them before the last has come.
func (b *bench) atOnce(ctx context.Context, s *subject, requests []core.TokenRequest) ([]core.TokenResponse, []error) {
	sets, errs := make([]core.TokenResponse, len(requests)), make([]error, len(requests))
	var arrived atomic.Int32
	all := make(chan struct{})
	together := faultproxy.Fault{Name: "together", Respond: func(x *faultproxy.Exchange) {
		if arrived.Add(1) == int32(len(requests)) { //nolint:gosec // there are a few
			close(all)
		}
		select {
		case <-all:
		case <-time.After(time.Second): // one of them does not come
		}
		if a, err := x.Forward(); err == nil {
			_ = x.Send(a) // the caller may have gone
		}
	}}
	if b.front != nil {
		for range requests {
			b.front.proxy.Next(together)
		}
	}
	var calls sync.WaitGroup
	for i, request := range requests {
		calls.Go(func() { sets[i], errs[i] = s.Token(ctx, request) })
	}
	calls.Wait()
	return sets, errs
}

func checkIdempotence(ctx context.Context, b *bench, r *recorder) {
	b.withSubject(ctx, r, func(s *subject) {
		b.checkSamePage(ctx, s, r)
		for _, name := range []string{"500", "503", "429 no wait", "reset", "closed", "empty object"} {
			f, ok := faultproxy.ByName(name)
			if !ok {
				continue
			}
			a, err := b.fault(ctx, s, f, b.cfg.Timeout)
			if err != nil {
				if !r.failed() {
					b.without(r, err)
				}
				return
			}
			if a.sent > 1 {
				r.errorf("%s: the token request was sent %d times", name, a.sent)
			}
		}
	})
}

// checkSamePage asks for a page, and reads a redirect, twice.
func (b *bench) checkSamePage(ctx context.Context, s *subject, r *recorder) {
	if !b.metadata.Supports(core.AuthorizationCode) {
		return
	}
	request, _ := b.authorizationRequest()
	one, err1 := s.AuthorizationURL(ctx, request)
	two, err2 := s.AuthorizationURL(ctx, request)
	if err1 == nil && err2 == nil && one != two {
		r.errorf("AuthorizationURL, asked twice the same, gives two URLs")
	}
	back := map[string][]string{"code": {"plugintest-code-of-nobody"}, "state": {request.State}}
	first, err1 := s.Callback(ctx, core.CallbackRequest{Client: request.Client, Params: back})
	second, err2 := s.Callback(ctx, core.CallbackRequest{Client: request.Client, Params: back})
	if (err1 == nil) != (err2 == nil) || !first.Code.Equal(second.Code) || first.Denied != second.Denied || first.APIBaseURL != second.APIBaseURL {
		r.errorf("Callback, asked twice the same, gives two answers")
	}
}
