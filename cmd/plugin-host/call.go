package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/esignd/esignd/core"
)

// callCommand is `plugin-host call`.
type callCommand struct {
	pluginFlags
	Method string `arg:"" enum:"metadata,authorization-url,callback,token,revoke,check-api-base-url" help:"One of metadata, authorization-url, callback, token, revoke, check-api-base-url."`
	Reveal bool   `help:"Print tokens and codes as they are, instead of [redacted]."`
}

// Help implements kong.HelpProvider.
func (callCommand) Help() string {
	return `The request on standard input has the fields of the vendor's request, for example:

    {"client": {"client_id": "…", "client_secret": "…", "settings": {}, "secret_settings": {}},
     "grant_type": "refresh_token", "refresh_token": "…"}

Secrets are given there and nowhere else: arguments can be seen by everybody on the machine. The exit status is 1 where
the plugin or the vendor refuses; the answer is {"error": {"outcome", "code", "status", "retry_after", "detail"}} then.`
}

// Run calls the method and prints its answer.
func (c callCommand) Run(ctx context.Context, s streams) error {
	method := c.methods()[c.Method]
	request, err := method.read(s)
	if err != nil {
		return err
	}
	p, err := c.start(ctx, s)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close(ctx) }()
	answer, err := request(ctx, p.Adapter())
	if err != nil {
		if printErr := printJSON(s.stdout, map[string]any{"error": failure(err)}); printErr != nil {
			return printErr
		}
		return errReported
	}
	return printJSON(s.stdout, answer)
}

// request is a method with its request, ready to be sent.
type request func(context.Context, core.Adapter) (any, error)

// method reads its request from standard input.
type method struct {
	read func(streams) (request, error)
}

// methodOf makes a method of how it is called with its request.
func methodOf[T any](call func(context.Context, core.Adapter, T) (any, error)) method {
	return method{read: func(s streams) (request, error) {
		var r T
		if err := readRequest(s.stdin, &r); err != nil {
			return nil, err
		}
		return func(ctx context.Context, a core.Adapter) (any, error) { return call(ctx, a, r) }, nil
	}}
}

func (c callCommand) methods() map[string]method {
	return map[string]method{
		"metadata":           {read: func(streams) (request, error) { return metadata, nil }},
		"authorization-url":  methodOf(authorizationURL),
		"callback":           methodOf(c.callback),
		"token":              methodOf(c.token),
		"revoke":             methodOf(revoke),
		"check-api-base-url": methodOf(checkAPIBaseURL),
	}
}

func metadata(ctx context.Context, a core.Adapter) (any, error) { return describe(ctx, a) }

func authorizationURL(ctx context.Context, a core.Adapter, r authorizationRequest) (any, error) {
	url, err := a.AuthorizationURL(ctx, core.AuthorizationRequest{
		Client: r.Client.credentials(), RedirectURI: r.RedirectURI, State: r.State, Scope: r.Scope, CodeChallenge: r.CodeChallenge,
	})
	return map[string]any{"url": url}, err
}

func (c callCommand) callback(ctx context.Context, a core.Adapter, r callbackRequest) (any, error) {
	result, err := a.Callback(ctx, core.CallbackRequest{Client: r.Client.credentials(), Params: r.Params})
	return dropEmpty(map[string]any{
		"code": c.show(result.Code), "api_base_url": result.APIBaseURL, "denied": result.Denied,
	}), err
}

func (c callCommand) token(ctx context.Context, a core.Adapter, r tokenRequest) (any, error) {
	t, err := a.Token(ctx, core.TokenRequest{
		Client: r.Client.credentials(), GrantType: core.GrantType(r.GrantType), Code: r.Code.Secret, RedirectURI: r.RedirectURI,
		State: r.State.Secret, CodeVerifier: r.CodeVerifier.Secret, RefreshToken: r.RefreshToken.Secret,
		Scope: r.Scope, APIBaseURL: r.APIBaseURL,
	})
	answer := dropEmpty(map[string]any{
		"access_token": c.show(t.AccessToken), "token_type": t.TokenType, "refresh_token": c.show(t.RefreshToken),
		"expires_in": seconds(t.ExpiresIn), "api_base_url": t.APIBaseURL, "account_id": t.AccountID,
	})
	if t.Scope != nil {
		answer["scope"] = t.Scope
	}
	return answer, err
}

func revoke(ctx context.Context, a core.Adapter, r revocationRequest) (any, error) {
	err := a.Revoke(ctx, core.RevocationRequest{
		Client: r.Client.credentials(), Token: r.Token.Secret, TokenTypeHint: r.TokenTypeHint, APIBaseURL: r.APIBaseURL,
	})
	return map[string]any{"revoked": err == nil}, err
}

func checkAPIBaseURL(ctx context.Context, a core.Adapter, r hostCheckRequest) (any, error) {
	checker, ok := a.(core.HostChecker)
	if !ok {
		return nil, fmt.Errorf("check a host: the plugin does not: %w", errors.ErrUnsupported)
	}
	url, err := checker.CheckAPIBaseURL(ctx, r.Client.credentials(), r.URL)
	return map[string]any{"url": url}, err
}

// show is the one place that decides whether a secret is printed.
func (c callCommand) show(s core.Secret) string {
	if c.Reveal {
		return s.Reveal()
	}
	return s.String()
}

func dropEmpty(fields map[string]any) map[string]any {
	for name, v := range fields {
		if v == "" || v == int64(0) {
			delete(fields, name)
		}
	}
	return fields
}

// failure is an error as it is printed.
func failure(err error) map[string]any {
	if errors.Is(err, errors.ErrUnsupported) {
		return map[string]any{"code": string(core.Unsupported)}
	}
	e := core.AsVendorError(err)
	fields := dropEmpty(map[string]any{
		"code": e.Code, "status": int64(e.Status), "retry_after": seconds(e.RetryAfter), "detail": e.Detail,
	})
	fields["outcome"] = e.Outcome.String()
	return fields
}
