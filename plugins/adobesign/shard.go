package adobesign

import (
	"context"
	"net/http"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/oauth"
)

const (
	// shardWithin bounds the question where an account is, so that it leaves time for the refresh that waits for it.
	shardWithin = 3 * time.Second
	// deliverWithin is what that question leaves of a call which has a token set to bring home.
	deliverWithin = 2 * time.Second
)

// movedAway reports whether the token endpoint refused as one whose shard the account is not on: by the vendor's code
// for it, or with a 403 that gives no reason. A refusal that asks to be left alone, such as a 429, is none.
func movedAway(answer oauth.APIAnswer) bool {
	if answer.OK() {
		return false
	}
	refusal := core.AsVendorError(answer.Err())
	if refusal.Outcome != core.Refused || refusal.Code != core.CodeHTTPError {
		return false
	}
	return answer.Is("invalid_api_access_point") || refusal.Status == http.StatusForbidden && answer.Is("")
}

// follow sends the refresh that base refused once more, to where the account is now. It does so once: what the new
// shard answers is the answer.
func (a *Adapter) follow(ctx context.Context, s settings, base string, r core.TokenRequest, refused oauth.APIAnswer) (core.TokenResponse, error) {
	refusal := core.AsVendorError(refused.Err())
	if r.AccessToken.IsZero() {
		refusal.Detail = "refused as on the wrong shard, and there is no access token to ask Adobe for the right one"
		return core.TokenResponse{}, refusal
	}
	shard, err := a.shard(ctx, s, r.AccessToken)
	if err != nil {
		refusal.Detail = "refused as on the wrong shard, and Adobe does not say which is right: " + core.AsVendorError(err).Code
		refusal.RetryAfter = max(refusal.RetryAfter, core.AsVendorError(err).RetryAfter)
		return core.TokenResponse{}, refusal
	}
	if shard == base {
		refusal.Detail = "refused as on the wrong shard, which Adobe says is the right one"
		return core.TokenResponse{}, refusal
	}
	answer, err := a.client.TokenAnswer(ctx, s.endpoint(shard), r)
	if err != nil {
		return core.TokenResponse{}, err
	}
	return s.response(shard, answer)
}

// shardOr returns the account's shard as the vendor names it now, or the one that the response has. The token set is
// there already, so nothing that goes wrong here is an error, and the call does not end on it.
func (a *Adapter) shardOr(ctx context.Context, s settings, response core.TokenResponse) string {
	if deadline, ok := ctx.Deadline(); ok {
		early, cancel := context.WithDeadline(ctx, deadline.Add(-deliverWithin))
		defer cancel()
		ctx = early
	}
	if shard, err := a.shard(ctx, s, response.AccessToken); err == nil {
		return shard
	}
	return response.APIBaseURL
}

// shard asks the vendor which API host the account of the access token is on, and checks it.
func (a *Adapter) shard(ctx context.Context, s settings, accessToken core.Secret) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, shardWithin)
	defer cancel()
	answer, err := a.client.API(ctx, oauth.APIRequest{
		Method: http.MethodGet,
		URL:    s.api.JoinPath("api/rest/v6/baseUris").String(),
		Bearer: accessToken,
	})
	if err != nil {
		return "", err
	}
	var uris struct {
		APIAccessPoint string `json:"apiAccessPoint"`
	}
	if err := answer.Decode(&uris); err != nil {
		return "", err
	}
	return s.checkHost(uris.APIAccessPoint)
}

// response reads the answer of the token endpoint at base.
func (s settings) response(base string, answer oauth.APIAnswer) (core.TokenResponse, error) {
	response, err := answer.Token(s.endpoint(base), "")
	if err != nil {
		return core.TokenResponse{}, err
	}
	response.APIBaseURL = base
	// A host that is not the vendor's is left aside: the token set is good, and the host that issued it is known.
	if named, err := s.checkHost(response.Extra["api_access_point"]); err == nil {
		response.APIBaseURL = named
	}
	return response.TokenResponse, nil
}
