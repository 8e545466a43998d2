package plugintest

import (
	"context"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/sdk/plugintest/faultproxy"
)

// each lets a token request meet each of the faults and hands on what came of it. It stops where judge says so.
func (b *bench) each(ctx context.Context, r *recorder, names []string, timeout time.Duration, judge func(name string, a attempt) (goOn bool)) {
	b.withSubject(ctx, r, func(s *subject) {
		for _, name := range names {
			f, ok := faultproxy.ByName(name)
			if !ok {
				r.errorf("the kit knows no fault %q", name)
				continue
			}
			a, err := b.fault(ctx, s, f, timeout)
			if err == nil && timeout == b.cfg.Deadline && b.tooLate(a) {
				a, err = b.fault(ctx, s, f, timeout)
			}
			if err != nil {
				if !r.failed() {
					b.without(r, err)
				}
				return
			}
			switch {
			case a.sent > 1: // which is for the check of idempotence to tell: the fault met the first request only
				r.notef("%s: the token request was sent %d times, so that nothing can be said of the answer", name, a.sent)
			case a.died && timeout == b.cfg.Timeout:
				r.errorf("%s: the plugin's process ended", name)
			case !judge(name, a):
				return
			}
		}
	})
}

// expect notes where a fault did not become an error of that outcome.
func (b *bench) expect(r *recorder, name string, a attempt, want core.Outcome) {
	e, ok := b.failure(r, name, a)
	if ok && e.Outcome != want {
		r.errorf("%s: the outcome is %s instead of %s", name, e.Outcome, want)
	}
}

// failure returns the error that a fault became, and notes where it became none.
func (b *bench) failure(r *recorder, name string, a attempt) (*core.VendorError, bool) {
	if a.err == nil {
		r.errorf("%s: it is taken for a token set", name)
		return nil, false
	}
	return b.vendorError(r, name, a.err)
}

func checkRefusals(ctx context.Context, b *bench, r *recorder) {
	b.each(ctx, r, []string{
		"400 invalid_grant", "400 invalid_request", "400 unknown code", "400 no code", "400 HTML", "400 invalid_client",
		"401 invalid_client", "401 no code", "403 unauthorized_client", "403 no code",
		"429 no wait", "429 Retry-After seconds", "429 Retry-After date", "429 Retry-After nonsense", "503", "503 Retry-After",
	}, b.cfg.Timeout, func(name string, a attempt) bool {
		b.expect(r, name, a, core.Refused)
		e := core.AsVendorError(a.err)
		if a.err == nil || e.Code == core.CodeInternal {
			return true
		}
		b.checkCode(r, name, e)
		if wait := e.RetryAfter; wantsPause(name) && (wait < 80*time.Second || wait > 90*time.Second) {
			r.errorf("%s: the vendor asks for a pause of 90 s, RetryAfter is %v", name, wait)
		}
		return true
	})
}

func wantsPause(name string) bool {
	return name == "429 Retry-After seconds" || name == "429 Retry-After date" || name == "503 Retry-After"
}

// checkCode notes a code that makes esignd do the wrong thing.
func (b *bench) checkCode(r *recorder, name string, e *core.VendorError) {
	want := ""
	switch _, said, _ := strings.Cut(name, " "); {
	case strings.HasPrefix(name, "429"):
		want = core.CodeRateLimited
	case strings.HasPrefix(name, "503"):
		want = core.CodeUnavailable
	case said == core.CodeInvalidGrant, said == core.CodeInvalidClient, said == core.CodeUnauthorizedClient:
		want = said
	}
	switch {
	case want != "" && e.Code != want:
		r.errorf("%s: VendorError.Code is %s instead of %s", name, e.Code, want)
	case want == "" && e.Code == core.CodeInvalidGrant:
		r.errorf("%s: VendorError.Code is invalid_grant, which ends the grant, and the vendor does not say so", name)
	case want == "" && (e.Code == core.CodeInvalidClient || e.Code == core.CodeUnauthorizedClient):
		r.errorf("%s: VendorError.Code is %s, which suspends the client, and the vendor does not say so", name, e.Code)
	}
}

func checkOutcomes(ctx context.Context, b *bench, r *recorder) {
	b.each(ctx, r, []string{
		"500", "500 invalid_grant", "502", "504", "reset", "reset in the body", "closed", "not HTTP", "headers without end",
	}, b.cfg.Timeout, func(name string, a attempt) bool {
		b.expect(r, name, a, core.Unknown)
		return true
	})
	if r.reason != "" {
		return
	}
	b.each(ctx, r, []string{"refused connection", "TLS untrusted", "TLS not spoken"}, b.cfg.Timeout, func(name string, a attempt) bool {
		b.expect(r, name, a, core.NotSent)
		return true
	})
}

func checkRedirects(ctx context.Context, b *bench, r *recorder) {
	b.each(ctx, r, []string{"302 elsewhere", "303 elsewhere", "307 elsewhere", "308 elsewhere"}, b.cfg.Timeout, func(name string, a attempt) bool {
		if a.elsewhere > 0 {
			r.errorf("%s: it is followed", name)
			return true
		}
		b.expect(r, name, a, core.Unknown)
		return true
	})
}

// maxGrowth is how much more memory a plugin may take for an answer that it should refuse.
const maxGrowth = 48 << 20

func checkBigAnswers(ctx context.Context, b *bench, r *recorder) {
	var before int64
	if s, err := b.start(ctx); err == nil && s.plugin != nil {
		before = peakMemory(s.pid())
	}
	// Who swallows the first one is spared the second, and so is the machine.
	b.each(ctx, r, []string{"64 MiB body", "compressed bomb"}, b.cfg.Timeout, func(name string, a attempt) bool {
		b.expect(r, name, a, core.Unknown)
		if now := peakMemory(b.subject.pid()); before > 0 && now-before > maxGrowth {
			r.errorf("%s: the process took %d MiB more for it", name, (now-before)>>20)
		}
		return !r.failed()
	})
}

func checkOddAnswers(ctx context.Context, b *bench, r *recorder) {
	b.each(ctx, r, []string{
		"truncated JSON", "truncated JSON, right length", "HTML in a 200", "empty 200", "empty object", "204",
		"error in a 200", "business error in a 200",
	}, b.cfg.Timeout, func(name string, a attempt) bool {
		b.expect(r, name, a, core.Unknown)
		return true
	})
	if r.reason != "" {
		return
	}
	b.each(ctx, r, []string{
		"expires_in missing", "expires_in zero", "expires_in negative", "expires_in string", "expires_in word", "expires_in huge",
		"no refresh_token", "scope a sentence", "duplicate keys", "no content type",
	}, b.cfg.Timeout, func(name string, a attempt) bool {
		if a.err != nil {
			r.errorf("%s: there is a token set, and it is taken for a failure: %s", name, b.evidence.clean(a.err.Error()))
			return true
		}
		b.tokenSet(r, name, a.set)
		if a.set.AccessToken.Reveal() == faultproxy.Canary {
			r.notef("%s: of two members of that name the first is taken", name)
		}
		return true
	})
	// Nothing is wrong with either answer to these.
	if !r.failed() {
		b.each(ctx, r, []string{"UTF-16", "Latin-1", "error beside a token"}, b.cfg.Timeout, func(name string, a attempt) bool {
			if a.err != nil {
				b.expect(r, name, a, core.Unknown)
			} else {
				b.tokenSet(r, name, a.set)
			}
			return true
		})
	}
}
