package plugintest

import (
	"context"
	"errors"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/sdk/plugintest/faultproxy"
)

func checkDeadlines(ctx context.Context, b *bench, r *recorder) {
	late := func(what string, took time.Duration, died bool) {
		switch {
		case died:
			r.errorf("%s: no answer before the deadline; the host killed the process", what)
		case took > b.cfg.Deadline+lateness:
			r.errorf("%s: with %v to go, it took %v", what, b.cfg.Deadline, took.Round(time.Millisecond))
		}
	}
	b.each(ctx, r, []string{"hang", "slow headers", "hang in the body", "a byte a second"}, b.cfg.Deadline, func(name string, a attempt) bool {
		late(name, a.took, a.died)
		if !a.died {
			b.expect(r, name, a, core.Unknown)
		}
		return true
	})
	if r.reason != "" || !b.metadata.RevokesTokens || !b.metadata.Supports(core.RefreshToken) {
		return
	}
	b.withGrant(ctx, r, func(s *subject, set core.TokenResponse) {
		a, err := b.hangingRevoke(ctx, s, set)
		if err != nil {
			r.errorf("%s", b.evidence.clean(err.Error()))
		}
		if a.sent == 0 {
			return // which is for the check of revocation to tell
		}
		late("Revoke, which hangs", a.took, a.died)
		switch {
		case a.died:
		case a.err == nil:
			r.errorf("Revoke, which hangs: no error, and the vendor has not answered")
		default:
			b.expect(r, "Revoke, which hangs", a, core.Unknown)
		}
	})
}

// hangingRevoke revokes a refresh token at a vendor that does not answer.
func (b *bench) hangingRevoke(ctx context.Context, s *subject, set core.TokenResponse) (attempt, error) {
	hang, _ := faultproxy.ByName("hang")
	b.wide.Store(true)
	defer b.wide.Store(false)
	for _, l := range b.links {
		l.proxy.Next(hang)
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Deadline)
	defer cancel()
	begun, pid, before := time.Now(), s.pid(), b.requests()
	err := s.Revoke(ctx, core.RevocationRequest{
		Client: b.credentials(), Token: set.RefreshToken, TokenTypeHint: "refresh_token", APIBaseURL: set.APIBaseURL,
	})
	a := attempt{err: err, took: time.Since(begun), sent: b.requests() - before, died: pid != 0 && !alive(pid)}
	return a, errors.Join(b.restore(), s.settle(context.WithoutCancel(ctx)))
}
