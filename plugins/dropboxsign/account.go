package dropboxsign

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/oauth"
)

// account is the vendor's account object, as far as it matters here.
type account struct {
	Account struct {
		ID    string `json:"account_id"`
		Email string `json:"email_address"`
	} `json:"account"`
}

// VerifyAccount implements [core.AccountVerifier]: POST /v3/account/verify. The vendor says that there is no account by
// an empty object, or by the error not_found; of one that is there it may say the e-mail address alone.
func (a *Adapter) VerifyAccount(ctx context.Context, r core.AccountRequest) (core.AccountLookup, error) {
	answer, err := a.manage(ctx, r.Client, "v3/account/verify", map[string]core.Secret{"email_address": core.NewSecret(r.EmailAddress)})
	if err != nil {
		return core.AccountLookup{}, err
	}
	if notFound(answer) {
		return core.AccountLookup{}, nil
	}
	var found struct {
		account
		Error json.RawMessage `json:"error"`
	}
	if err := answer.Decode(&found); err != nil {
		return core.AccountLookup{}, refusedByAPI(err)
	}
	if said := string(found.Error); said != "" && said != "null" {
		return core.AccountLookup{}, answer.Err() // a 200 that reports a failure says nothing of the account
	}
	return core.AccountLookup{Exists: found.Account.ID != "" || found.Account.Email != "", AccountID: found.Account.ID}, nil
}

// notFound reports whether the vendor says that there is no such account.
func notFound(answer oauth.APIAnswer) bool {
	status := core.AsVendorError(answer.Err()).Status
	return answer.Is("not_found") && (answer.OK() || status == http.StatusBadRequest || status == http.StatusNotFound)
}

// CreateAccount implements [core.AccountCreator]: POST /v3/account/create. The token set in oauth_data works once the
// owner has confirmed the account and authorized the app, which the event account_confirmed tells. That there is an
// account already is a refusal with the code [core.CodeInvalidRequest].
func (a *Adapter) CreateAccount(ctx context.Context, r core.AccountRequest) (core.CreatedAccount, error) {
	s, err := parseSettings(r.Client)
	if err != nil {
		return core.CreatedAccount{}, err
	}
	answer, err := a.manage(ctx, r.Client, "v3/account/create", map[string]core.Secret{
		"email_address": core.NewSecret(r.EmailAddress),
		"client_id":     core.NewSecret(r.Client.ClientID),
		"client_secret": r.Client.ClientSecret,
	})
	if err != nil {
		return core.CreatedAccount{}, err
	}
	var created account
	if err := answer.Decode(&created); err != nil {
		return core.CreatedAccount{}, refusedByAPI(err)
	}
	tokens, err := answer.Token(s.endpoint(), "oauth_data")
	if err != nil {
		return core.CreatedAccount{}, err
	}
	if created.Account.ID == "" {
		return core.CreatedAccount{}, answer.Err()
	}
	tokens.APIBaseURL, tokens.AccountID = s.api.String(), created.Account.ID
	return core.CreatedAccount{AccountID: created.Account.ID, Tokens: tokens.TokenResponse}, nil
}

// manage calls the API as the account that owns the app: HTTP Basic with the API key as user name and no password.
func (a *Adapter) manage(ctx context.Context, c core.Credentials, path string, params map[string]core.Secret) (oauth.APIAnswer, error) {
	s, err := parseSettings(c)
	if err != nil {
		return oauth.APIAnswer{}, err
	}
	key, err := apiKey(c)
	if err != nil {
		return oauth.APIAnswer{}, err
	}
	return a.client.API(ctx, oauth.APIRequest{
		Method: http.MethodPost, URL: s.api.JoinPath(path).String(), Username: key, Body: oauth.JSONBody, Params: params,
	})
}

// refusedByAPI gives a refusal that has no OAuth code the one that fits it: the API has names of its own for what is
// wrong, such as bad_request and unauthorized. It is about the API key and not about the client, whose tokens come from
// elsewhere and with other credentials.
func refusedByAPI(err error) error {
	e := *core.AsVendorError(err)
	if e.Outcome != core.Refused || e.Code != core.CodeHTTPError {
		return err
	}
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		e.Code, e.Detail = core.CodeAccessDenied, "the vendor refuses the client's setting api_key, or its account may not do this"
	case http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity:
		e.Code, e.Detail = core.CodeInvalidRequest, "the vendor does not take this e-mail address, or has an account for it"
	}
	return &e
}

// apiKey returns the setting api_key, without which the vendor neither manages accounts nor signs events for us.
func apiKey(c core.Credentials) (core.Secret, error) {
	key := c.SecretSettings["api_key"]
	if key.IsZero() {
		return core.Secret{}, &core.VendorError{
			Outcome: core.NotSent, Code: core.CodeInvalidRequest,
			Detail: "this needs the client's setting api_key, which is not in the configuration",
		}
	}
	return key, nil
}
