package main

import (
	"context"
	"errors"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/host"
)

// callCommand is `plugin-host call`.
type callCommand struct {
	pluginFlags
	Method string `arg:"" enum:"metadata,authorization-url,callback,token,revoke,check-api-base-url,verify-account,create-account,read-event" help:"One of metadata, authorization-url, callback, token, revoke, check-api-base-url, verify-account, create-account, read-event."`
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
	answer, err := request(ctx, p)
	if err != nil {
		if printErr := printJSON(s.stdout, map[string]any{"error": failure(err)}); printErr != nil {
			return printErr
		}
		return errReported
	}
	return printJSON(s.stdout, answer)
}

// request is a method with its request, ready to be sent.
type request func(context.Context, *host.Plugin) (any, error)

// method reads its request from standard input.
type method struct {
	read func(streams) (request, error)
}

// adapter is what a plugin looks like from here: its optional abilities are there, or say that they are not.
type adapter interface {
	core.Adapter
	core.HostChecker
	core.AccountVerifier
	core.AccountCreator
	core.EventReader
}

// methodOf makes a method of how it is called with its request.
func methodOf[T any](call func(context.Context, adapter, T) (any, error)) method {
	return method{read: func(s streams) (request, error) {
		var r T
		if err := readRequest(s.stdin, &r); err != nil {
			return nil, err
		}
		return func(ctx context.Context, p *host.Plugin) (any, error) { return call(ctx, p.Adapter().(adapter), r) }, nil
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
		"verify-account":     methodOf(verifyAccount),
		"create-account":     methodOf(c.createAccount),
		"read-event":         methodOf(readEvent),
	}
}

func metadata(ctx context.Context, p *host.Plugin) (any, error) { return describe(ctx, p) }

func authorizationURL(ctx context.Context, a adapter, r authorizationRequest) (any, error) {
	url, err := a.AuthorizationURL(ctx, core.AuthorizationRequest{
		Client: r.Client.credentials(), RedirectURI: r.RedirectURI, State: r.State, Scope: r.Scope, CodeChallenge: r.CodeChallenge,
	})
	return map[string]any{"url": url}, err
}

func (c callCommand) callback(ctx context.Context, a adapter, r callbackRequest) (any, error) {
	result, err := a.Callback(ctx, core.CallbackRequest{Client: r.Client.credentials(), Params: r.Params})
	return dropEmpty(map[string]any{
		"code": c.show(result.Code), "api_base_url": result.APIBaseURL, "denied": result.Denied,
	}), err
}

func (c callCommand) token(ctx context.Context, a adapter, r tokenRequest) (any, error) {
	t, err := a.Token(ctx, core.TokenRequest{
		Client: r.Client.credentials(), GrantType: core.GrantType(r.GrantType), Code: r.Code.Secret, RedirectURI: r.RedirectURI,
		State: r.State.Secret, CodeVerifier: r.CodeVerifier.Secret, RefreshToken: r.RefreshToken.Secret,
		Scope: r.Scope, APIBaseURL: r.APIBaseURL, AccessToken: r.AccessToken.Secret, Reported: r.Reported,
	})
	return c.tokenSet(t), err
}

// tokenSet is a token set as it is printed.
func (c callCommand) tokenSet(t core.TokenResponse) map[string]any {
	set := dropEmpty(map[string]any{
		"access_token": c.show(t.AccessToken), "token_type": t.TokenType, "refresh_token": c.show(t.RefreshToken),
		"expires_in": seconds(t.ExpiresIn), "api_base_url": t.APIBaseURL, "account_id": t.AccountID,
	})
	if t.Scope != nil {
		set["scope"] = t.Scope
	}
	return set
}

func revoke(ctx context.Context, a adapter, r revocationRequest) (any, error) {
	err := a.Revoke(ctx, core.RevocationRequest{
		Client: r.Client.credentials(), Token: r.Token.Secret, TokenTypeHint: r.TokenTypeHint, APIBaseURL: r.APIBaseURL,
	})
	return map[string]any{"revoked": err == nil}, err
}

func checkAPIBaseURL(ctx context.Context, a adapter, r hostCheckRequest) (any, error) {
	url, err := a.CheckAPIBaseURL(ctx, r.Client.credentials(), r.URL)
	return map[string]any{"url": url}, err
}

func verifyAccount(ctx context.Context, a adapter, r accountRequest) (any, error) {
	found, err := a.VerifyAccount(ctx, core.AccountRequest{Client: r.Client.credentials(), EmailAddress: r.EmailAddress})
	return dropEmpty(map[string]any{"exists": found.Exists, "account_id": found.AccountID}), err
}

func (c callCommand) createAccount(ctx context.Context, a adapter, r accountRequest) (any, error) {
	created, err := a.CreateAccount(ctx, core.AccountRequest{Client: r.Client.credentials(), EmailAddress: r.EmailAddress})
	return map[string]any{"account_id": created.AccountID, "tokens": c.tokenSet(created.Tokens)}, err
}

func readEvent(ctx context.Context, a adapter, r eventRequest) (any, error) {
	event, err := a.ReadEvent(ctx, core.EventRequest{
		Client: r.Client.credentials(), Header: r.header(), Body: []byte(r.Body), ReceivedAt: time.Now(),
	})
	return map[string]any{"type": string(event.Type), "account_id": event.AccountID, "reply": event.Reply}, err
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
