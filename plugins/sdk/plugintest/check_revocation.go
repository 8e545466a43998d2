package plugintest

import (
	"context"
	"errors"

	"github.com/esignd/esignd/core"
)

func checkRevocation(ctx context.Context, b *bench, r *recorder) {
	b.withSubject(ctx, r, func(s *subject) {
		if b.metadata.RevokesTokens {
			b.withTokens(ctx, s, r, func(set core.TokenResponse) { b.checkRevoke(ctx, s, r, set) })
			return
		}
		before := b.requests()
		err := s.Revoke(ctx, core.RevocationRequest{Client: b.credentials(), Token: core.NewSecret(wrongToken), TokenTypeHint: "refresh_token"})
		if !errors.Is(err, errors.ErrUnsupported) {
			r.errorf("RevokesTokens is false, and Revoke does not return errors.ErrUnsupported")
		}
		if b.requests() != before {
			r.errorf("RevokesTokens is false, and Revoke asks the vendor")
		}
	})
}

// withTokens runs a check that needs a token set, whichever way the vendor issues one.
func (b *bench) withTokens(ctx context.Context, s *subject, r *recorder, f func(core.TokenResponse)) {
	var set core.TokenResponse
	var err error
	switch {
	case b.metadata.Supports(core.AuthorizationCode):
		set, err = b.grant(ctx, s)
	case b.metadata.Supports(core.ClientCredentials):
		set, _, err = b.token(ctx, s, b.clientRequest())
		b.grantErr = err
	default:
		err = errNoCode
	}
	if err != nil {
		b.without(r, err)
		return
	}
	f(set)
}

// whole is the request to revoke what a token set comes down to: its refresh token, or its only token.
func (b *bench) whole(set core.TokenResponse) core.RevocationRequest {
	r := core.RevocationRequest{Client: b.credentials(), Token: set.RefreshToken, TokenTypeHint: "refresh_token", APIBaseURL: set.APIBaseURL}
	if r.Token.IsZero() {
		r.Token, r.TokenTypeHint = set.AccessToken, "access_token"
	}
	return r
}

func (b *bench) checkRevoke(ctx context.Context, s *subject, r *recorder, set core.TokenResponse) {
	request := b.whole(set)
	if err := s.Revoke(ctx, request); err != nil {
		r.errorf("it fails: %s", b.evidence.clean(err.Error()))
		return
	}
	if err := s.Revoke(ctx, request); err != nil {
		r.errorf("a second time, when the token is dead, it fails: %s", b.evidence.clean(err.Error()))
	}
	if !set.RefreshToken.IsZero() {
		_, h, err := b.token(ctx, s, b.refreshRequest(set))
		b.refused(r, "a refresh with a revoked refresh token", h, err)
		b.revokeAccess(ctx, s, r, set)
	}
	live, known, err := b.works(ctx, set)
	b.live(r, "after the revocation", false, live, known, err)
}

// revokeAccess ends an access token that outlived its refresh token, as RFC 7009 §2.1 lets it.
func (b *bench) revokeAccess(ctx context.Context, s *subject, r *recorder, set core.TokenResponse) {
	if live, _, _ := b.works(ctx, set); !live {
		return
	}
	set.RefreshToken = core.Secret{}
	if err := s.Revoke(ctx, b.whole(set)); err != nil {
		r.errorf("of the access token it fails: %s", b.evidence.clean(err.Error()))
	}
}
