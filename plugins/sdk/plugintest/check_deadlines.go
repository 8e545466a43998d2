package plugintest

import (
	"context"
	"errors"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/sdk/plugintest/faultproxy"
)

func checkDeadlines(ctx context.Context, b *bench, r *recorder) {
	b.each(ctx, r, []string{"hang", "slow headers", "hang in the body", "a byte a second"}, b.cfg.Deadline, func(name string, a attempt) bool {
		b.late(r, name, a)
		if !a.died {
			b.expect(r, name, a, core.Unknown)
		}
		return true
	})
	if r.reason != "" || !b.metadata.RevokesTokens {
		return
	}
	b.withSubject(ctx, r, func(s *subject) {
		b.withTokens(ctx, s, r, func(set core.TokenResponse) { b.checkHangingRevoke(ctx, s, r, set) })
	})
}

// tooLate reports whether a call is to be made again: a busy machine holds up a plugin that is as it should be, though
// hardly twice.
func (b *bench) tooLate(a attempt) bool { return a.died || a.took > b.cfg.Deadline+lateness }

// late notes a call that took longer than it had.
func (b *bench) late(r *recorder, what string, a attempt) {
	switch {
	case a.died:
		r.errorf("%s: no answer before the deadline; the host killed the process", what)
	case a.took > b.cfg.Deadline+lateness:
		r.errorf("%s: with %v to go, it took %v", what, b.cfg.Deadline, a.took.Round(time.Millisecond))
	}
}

func (b *bench) checkHangingRevoke(ctx context.Context, s *subject, r *recorder, set core.TokenResponse) {
	const what = "Revoke, which hangs"
	a, err := b.hangingRevoke(ctx, s, set)
	if err == nil && b.tooLate(a) {
		a, err = b.hangingRevoke(ctx, s, set)
	}
	if err != nil {
		r.errorf("%s: %s", what, b.evidence.clean(err.Error()))
	}
	if a.sent == 0 {
		return // which is for the check of revocation to tell
	}
	b.late(r, what, a)
	switch {
	case a.died:
	case a.err == nil:
		r.errorf("%s: no error, and the vendor has not answered", what)
	default:
		b.expect(r, what, a, core.Unknown)
	}
}

// hangingRevoke revokes a token set at a vendor that does not answer.
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
	err := s.Revoke(ctx, b.whole(set))
	a := attempt{err: err, took: time.Since(begun), sent: b.requests() - before, died: pid != 0 && !alive(pid)}
	return a, errors.Join(b.restore(), s.settle(context.WithoutCancel(ctx)))
}
