package plugintest

import (
	"context"
	"errors"
	"strings"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/sdk/plugintest/faultproxy"
)

// What the sandbox never gave to anybody.
const (
	wrongSecret = "plugintest-not-the-client-secret"
	wrongCode   = "plugintest-not-a-code-of-the-vendor"
	wrongToken  = "plugintest-not-a-token-of-the-vendor"
)

func checkExchange(ctx context.Context, b *bench, r *recorder) {
	b.withCode(ctx, r, func(s *subject) {
		request, err := b.codeRequest(ctx, s)
		if err != nil {
			b.told[noGrant] = r.check
			r.errorf("there is no code: %s", b.evidence.clean(err.Error()))
			if len(b.cfg.Sandbox.Scopes) == 0 {
				r.notef("Sandbox.Scopes is empty: some vendors want a scope")
			}
			return
		}
		set, h, err := b.token(ctx, s, request)
		if h.request != "" && !strings.Contains(h.request, request.CodeVerifier.Reveal()) {
			r.errorf("PKCE is declared, and the code verifier is not sent: whoever has the code can exchange it")
		}
		if err != nil {
			b.told[noGrant] = r.check
			r.errorf("the exchange fails: %s", b.evidence.clean(err.Error()))
			return
		}
		b.tokenSet(r, "the exchange", set)
		if b.metadata.Supports(core.RefreshToken) && set.RefreshToken.IsZero() {
			r.errorf("there is no refresh token, and GrantTypes has refresh_token")
		}
		live, known, err := b.works(ctx, set)
		b.live(r, "after the exchange", true, live, known, err)
		if !known {
			r.notef("set Sandbox.Probe, so that access tokens are tried")
		}
		_, h, err = b.token(ctx, s, request)
		b.refused(r, "a code presented again", h, err)
		b.checkWrongRequests(ctx, s, r)
	})
}

// checkWrongRequests exchanges what the sandbox has to refuse.
func (b *bench) checkWrongRequests(ctx context.Context, s *subject, r *recorder) {
	request, err := b.codeRequest(ctx, s)
	if err != nil {
		r.errorf("there is no second code: %s", b.evidence.clean(err.Error()))
		return
	}
	unknown := request
	unknown.Code = core.NewSecret(wrongCode)
	_, h, err := b.token(ctx, s, unknown)
	b.refused(r, "a code that the vendor never gave", h, err)
	if request.Client.ClientSecret.IsZero() {
		return
	}
	stranger := request
	stranger.Client.ClientSecret = core.NewSecret(wrongSecret)
	_, h, err = b.token(ctx, s, stranger)
	b.refused(r, "a wrong client secret", h, err)
}

func checkClientCredentials(ctx context.Context, b *bench, r *recorder) {
	b.withSubject(ctx, r, func(s *subject) {
		if !b.metadata.Supports(core.ClientCredentials) {
			r.skipf("the adapter declares no client_credentials grant")
			return
		}
		set, _, err := b.token(ctx, s, b.clientRequest())
		if err != nil {
			r.errorf("it fails: %s", b.evidence.clean(err.Error()))
			return
		}
		b.tokenSet(r, "client credentials", set)
		live, known, err := b.works(ctx, set)
		b.live(r, "with client credentials", true, live, known, err)
	})
}

// withGrant runs a check that needs a grant with a refresh token.
func (b *bench) withGrant(ctx context.Context, r *recorder, f func(*subject, core.TokenResponse)) {
	b.withCode(ctx, r, func(s *subject) {
		if !b.metadata.Supports(core.RefreshToken) {
			r.skipf("the adapter declares no refresh_token grant")
			return
		}
		set, err := b.grant(ctx, s)
		if err != nil {
			b.without(r, err)
			return
		}
		f(s, set)
	})
}

// after is the token set once next has come in its place.
func after(set, next core.TokenResponse) core.TokenResponse {
	if next.RefreshToken.IsZero() {
		next.RefreshToken = set.RefreshToken
	}
	if next.APIBaseURL == "" {
		next.APIBaseURL = set.APIBaseURL
	}
	return next
}

func checkRefresh(ctx context.Context, b *bench, r *recorder) {
	b.withGrant(ctx, r, func(s *subject, set core.TokenResponse) {
		for _, what := range []string{"the first refresh", "the second refresh", "a refresh of a token that was reported"} {
			request := b.refreshRequest(set)
			request.Reported = what == "a refresh of a token that was reported"
			next, h, err := b.token(ctx, s, request)
			if err != nil {
				r.errorf("%s fails: %s", what, b.evidence.clean(err.Error()))
				return
			}
			b.tokenSet(r, what, next)
			if rotated(set, h) && next.RefreshToken.IsZero() {
				return // which is for the check of rotation to tell
			}
			if next.AccessToken.Equal(set.AccessToken) {
				r.notef("%s brought the same access token", what)
			}
			set = after(set, next)
			live, known, err := b.works(ctx, set)
			b.live(r, "after "+what, true, live, known, err)
		}
		request := b.refreshRequest(set)
		request.RefreshToken = core.NewSecret(wrongToken)
		_, h, err := b.token(ctx, s, request)
		b.refused(r, "a refresh token that the vendor never gave", h, err)
	})
}

// rotated reports whether the sandbox's answer has another refresh token than the one in set.
func rotated(set core.TokenResponse, h heard) bool {
	text := h.text("refresh_token")
	return text != "" && text != set.RefreshToken.Reveal()
}

func checkRotation(ctx context.Context, b *bench, r *recorder) {
	b.withGrant(ctx, r, func(s *subject, set core.TokenResponse) {
		next, h, err := b.token(ctx, s, b.refreshRequest(set))
		if err != nil {
			r.skipf("a refresh fails: see refresh")
			return
		}
		changed := rotated(set, h) || !next.RefreshToken.IsZero() && !next.RefreshToken.Equal(set.RefreshToken)
		switch {
		case changed && !b.metadata.RotatesRefreshTokens:
			r.errorf("the vendor answers with another refresh token, and RotatesRefreshTokens is false")
		case !changed && b.metadata.RotatesRefreshTokens:
			r.notef("RotatesRefreshTokens is declared, and this sandbox did not rotate")
		}
		if rotated(set, h) && next.RefreshToken.Reveal() != h.text("refresh_token") {
			r.errorf("the answer has another refresh token, and the adapter does not return it")
			return
		}
		b.presentAgain(ctx, s, r, set, changed)
		b.plantRotation(ctx, s, r)
	})
}

// presentAgain presents a refresh token that was used: one that was rotated is dead, another is not.
func (b *bench) presentAgain(ctx context.Context, s *subject, r *recorder, set core.TokenResponse, changed bool) {
	_, h, err := b.token(ctx, s, b.refreshRequest(set))
	switch {
	case changed && err == nil:
		r.notef("the vendor takes a refresh token once more that it has rotated")
	case changed:
		b.refused(r, "a refresh token that was rotated", h, err)
	case err != nil && !b.metadata.RotatesRefreshTokens:
		r.errorf("a refresh token does not work a second time, and RotatesRefreshTokens is false: %s", b.evidence.clean(err.Error()))
	}
}

// plantRotation puts another refresh token into the answer, as a vendor may do from one day to the next.
func (b *bench) plantRotation(ctx context.Context, s *subject, r *recorder) {
	request, err := b.codeRequest(ctx, s)
	if err != nil {
		return
	}
	set, h, err := b.token(ctx, s, request)
	if err != nil || h.text("refresh_token") == "" || b.front == nil {
		return // the vendor has another word for it
	}
	planted := core.NewSecret("plugintest-planted-" + random())
	b.evidence.secret("a refresh token", planted)
	b.front.proxy.Next(faultproxy.SetsMembers("planted", map[string]any{"refresh_token": planted.Reveal()}))
	next, err := s.Token(ctx, b.refreshRequest(set))
	if err := errors.Join(err, b.restore()); err != nil {
		r.errorf("a refresh whose answer has another refresh token fails: %s", b.evidence.clean(err.Error()))
		return
	}
	if !next.RefreshToken.Equal(planted) {
		r.errorf("the answer has another refresh token, and the adapter does not return it")
	}
}
