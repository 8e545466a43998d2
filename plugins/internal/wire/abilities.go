package wire

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/internal/wire/pluginv1"
)

// Ability is an optional call that a plugin answers.
type Ability = pluginv1.Ability

// The abilities.
const (
	CheckAPIBaseURL = pluginv1.Ability_ABILITY_CHECK_API_BASE_URL
	VerifyAccount   = pluginv1.Ability_ABILITY_VERIFY_ACCOUNT
	CreateAccount   = pluginv1.Ability_ABILITY_CREATE_ACCOUNT
	ReadEvent       = pluginv1.Ability_ABILITY_READ_EVENT
)

// AbilitiesOf returns the abilities whose interfaces an adapter implements.
func AbilitiesOf(a core.Adapter) []Ability {
	var abilities []Ability
	for _, one := range []struct {
		ability Ability
		has     bool
	}{
		{CheckAPIBaseURL, is[core.HostChecker](a)},
		{VerifyAccount, is[core.AccountVerifier](a)},
		{CreateAccount, is[core.AccountCreator](a)},
		{ReadEvent, is[core.EventReader](a)},
	} {
		if one.has {
			abilities = append(abilities, one.ability)
		}
	}
	return abilities
}

func is[Interface any](a core.Adapter) bool {
	_, ok := a.(Interface)
	return ok
}

// AbilityName returns an ability's name in lower case, such as "read_event".
func AbilityName(a Ability) string {
	return strings.ToLower(strings.TrimPrefix(a.String(), "ABILITY_"))
}

// EncodeHostCheck is the inverse of DecodeHostCheck.
func EncodeHostCheck(client core.Credentials, rawURL string) *pluginv1.CheckAPIBaseURLRequest {
	return &pluginv1.CheckAPIBaseURLRequest{Client: encodeCredentials(client), Url: rawURL}
}

// DecodeHostCheck is the inverse of EncodeHostCheck.
func DecodeHostCheck(m *pluginv1.CheckAPIBaseURLRequest) (client core.Credentials, rawURL string) {
	return decodeCredentials(m.GetClient()), m.GetUrl()
}

// EncodeHostCheckResult is the inverse of DecodeHostCheckResult.
func EncodeHostCheckResult(url string, err error) *pluginv1.CheckAPIBaseURLResponse {
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return &pluginv1.CheckAPIBaseURLResponse{Result: &pluginv1.CheckAPIBaseURLResponse_Unsupported{Unsupported: true}}
	case err != nil:
		return &pluginv1.CheckAPIBaseURLResponse{Result: &pluginv1.CheckAPIBaseURLResponse_Error{Error: encodeVendorError(err)}}
	}
	return &pluginv1.CheckAPIBaseURLResponse{Result: &pluginv1.CheckAPIBaseURLResponse_Url{Url: url}}
}

// DecodeHostCheckResult is the inverse of EncodeHostCheckResult.
func DecodeHostCheckResult(r *pluginv1.CheckAPIBaseURLResponse) (string, error) {
	switch result := r.GetResult().(type) {
	case *pluginv1.CheckAPIBaseURLResponse_Url:
		return result.Url, nil
	case *pluginv1.CheckAPIBaseURLResponse_Error:
		return "", decodeVendorError(result.Error)
	case *pluginv1.CheckAPIBaseURLResponse_Unsupported:
		return "", errors.ErrUnsupported
	default:
		return "", errEmptyResponse()
	}
}

// EncodeVerifyAccount is the inverse of DecodeVerifyAccount.
func EncodeVerifyAccount(r core.AccountRequest) *pluginv1.VerifyAccountRequest {
	return &pluginv1.VerifyAccountRequest{Client: encodeCredentials(r.Client), EmailAddress: r.EmailAddress}
}

// DecodeVerifyAccount is the inverse of EncodeVerifyAccount.
func DecodeVerifyAccount(m *pluginv1.VerifyAccountRequest) core.AccountRequest {
	return core.AccountRequest{Client: decodeCredentials(m.GetClient()), EmailAddress: m.GetEmailAddress()}
}

// EncodeAccountLookup is the inverse of DecodeAccountLookup.
func EncodeAccountLookup(l core.AccountLookup, err error) *pluginv1.VerifyAccountResponse {
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return &pluginv1.VerifyAccountResponse{Result: &pluginv1.VerifyAccountResponse_Unsupported{Unsupported: true}}
	case err != nil:
		return &pluginv1.VerifyAccountResponse{Result: &pluginv1.VerifyAccountResponse_Error{Error: encodeVendorError(err)}}
	}
	return &pluginv1.VerifyAccountResponse{Result: &pluginv1.VerifyAccountResponse_Account{
		Account: &pluginv1.AccountLookup{Exists: l.Exists, AccountId: l.AccountID},
	}}
}

// DecodeAccountLookup is the inverse of EncodeAccountLookup.
func DecodeAccountLookup(r *pluginv1.VerifyAccountResponse) (core.AccountLookup, error) {
	switch result := r.GetResult().(type) {
	case *pluginv1.VerifyAccountResponse_Account:
		return core.AccountLookup{Exists: result.Account.GetExists(), AccountID: result.Account.GetAccountId()}, nil
	case *pluginv1.VerifyAccountResponse_Error:
		return core.AccountLookup{}, decodeVendorError(result.Error)
	case *pluginv1.VerifyAccountResponse_Unsupported:
		return core.AccountLookup{}, errors.ErrUnsupported
	default:
		return core.AccountLookup{}, errEmptyResponse()
	}
}

// EncodeCreateAccount is the inverse of DecodeCreateAccount.
func EncodeCreateAccount(r core.AccountRequest) *pluginv1.CreateAccountRequest {
	return &pluginv1.CreateAccountRequest{Client: encodeCredentials(r.Client), EmailAddress: r.EmailAddress}
}

// DecodeCreateAccount is the inverse of EncodeCreateAccount.
func DecodeCreateAccount(m *pluginv1.CreateAccountRequest) core.AccountRequest {
	return core.AccountRequest{Client: decodeCredentials(m.GetClient()), EmailAddress: m.GetEmailAddress()}
}

// EncodeCreatedAccount is the inverse of DecodeCreatedAccount.
func EncodeCreatedAccount(c core.CreatedAccount, err error) *pluginv1.CreateAccountResponse {
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return &pluginv1.CreateAccountResponse{Result: &pluginv1.CreateAccountResponse_Unsupported{Unsupported: true}}
	case err != nil:
		return &pluginv1.CreateAccountResponse{Result: &pluginv1.CreateAccountResponse_Error{Error: encodeVendorError(err)}}
	}
	return &pluginv1.CreateAccountResponse{Result: &pluginv1.CreateAccountResponse_Account{
		Account: &pluginv1.CreatedAccount{AccountId: c.AccountID, TokenSet: encodeTokenSet(c.Tokens)},
	}}
}

// DecodeCreatedAccount is the inverse of EncodeCreatedAccount.
func DecodeCreatedAccount(r *pluginv1.CreateAccountResponse) (core.CreatedAccount, error) {
	switch result := r.GetResult().(type) {
	case *pluginv1.CreateAccountResponse_Account:
		return core.CreatedAccount{
			AccountID: result.Account.GetAccountId(), Tokens: decodeTokenSet(result.Account.GetTokenSet()),
		}, nil
	case *pluginv1.CreateAccountResponse_Error:
		return core.CreatedAccount{}, decodeVendorError(result.Error)
	case *pluginv1.CreateAccountResponse_Unsupported:
		return core.CreatedAccount{}, errors.ErrUnsupported
	default:
		return core.CreatedAccount{}, errEmptyResponse()
	}
}

// EncodeEventRequest is the inverse of DecodeEventRequest, to the second. A header field that is not UTF-8 is left out:
// it comes from outside, and is no reason to refuse the rest.
func EncodeEventRequest(r core.EventRequest) *pluginv1.ReadEventRequest {
	m := &pluginv1.ReadEventRequest{Client: encodeCredentials(r.Client), Body: r.Body, ReceivedAt: r.ReceivedAt.Unix()}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		values := slices.DeleteFunc(slices.Clone(r.Header[name]), func(v string) bool { return strings.ToValidUTF8(v, "") != v })
		if len(values) > 0 {
			m.Header = append(m.Header, &pluginv1.Param{Name: name, Values: values})
		}
	}
	return m
}

// DecodeEventRequest is the inverse of EncodeEventRequest.
func DecodeEventRequest(m *pluginv1.ReadEventRequest) core.EventRequest {
	r := core.EventRequest{
		Client: decodeCredentials(m.GetClient()), Header: http.Header{}, Body: m.GetBody(), ReceivedAt: time.Unix(m.GetReceivedAt(), 0).UTC(),
	}
	for _, field := range m.GetHeader() {
		r.Header[field.GetName()] = append(r.Header[field.GetName()], field.GetValues()...)
	}
	return r
}

// EncodeVendorEvent is the inverse of DecodeVendorEvent.
func EncodeVendorEvent(e core.VendorEvent, err error) *pluginv1.ReadEventResponse {
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return &pluginv1.ReadEventResponse{Result: &pluginv1.ReadEventResponse_Unsupported{Unsupported: true}}
	case err != nil:
		return &pluginv1.ReadEventResponse{Result: &pluginv1.ReadEventResponse_Error{Error: encodeVendorError(err)}}
	}
	return &pluginv1.ReadEventResponse{Result: &pluginv1.ReadEventResponse_Event{
		Event: &pluginv1.VendorEvent{Type: string(e.Type), AccountId: e.AccountID, Reply: e.Reply},
	}}
}

// DecodeVendorEvent is the inverse of EncodeVendorEvent.
func DecodeVendorEvent(r *pluginv1.ReadEventResponse) (core.VendorEvent, error) {
	switch result := r.GetResult().(type) {
	case *pluginv1.ReadEventResponse_Event:
		return core.VendorEvent{
			Type: core.VendorEventType(result.Event.GetType()), AccountID: result.Event.GetAccountId(), Reply: result.Event.GetReply(),
		}, nil
	case *pluginv1.ReadEventResponse_Error:
		return core.VendorEvent{}, decodeVendorError(result.Error)
	case *pluginv1.ReadEventResponse_Unsupported:
		return core.VendorEvent{}, errors.ErrUnsupported
	default:
		return core.VendorEvent{}, errEmptyResponse()
	}
}
