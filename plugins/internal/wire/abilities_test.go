package wire_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/internal/wire"
	"github.com/esignd/esignd/plugins/internal/wire/pluginv1"
)

func TestAbilitiesAreTheSameAfterTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) string { return rapid.String().Draw(t, name) }
		client := credentials().Draw(t, "client")

		account := core.AccountRequest{Client: client, EmailAddress: text("email")}
		same(t, wire.DecodeVerifyAccount(resend(t, wire.EncodeVerifyAccount(account))), account)
		same(t, wire.DecodeCreateAccount(resend(t, wire.EncodeCreateAccount(account))), account)

		header := rapid.MapOf(rapid.String(), rapid.SliceOfN(rapid.String(), 1, 3)).Draw(t, "header")
		event := core.EventRequest{
			Client: client, Header: http.Header(header), Body: rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "body"),
			ReceivedAt: time.Unix(rapid.Int64Range(0, 1<<40).Draw(t, "received"), 0).UTC(),
		}
		same(t, wire.DecodeEventRequest(resend(t, wire.EncodeEventRequest(event))), event)

		lookup := core.AccountLookup{Exists: rapid.Bool().Draw(t, "exists"), AccountID: text("account")}
		gotLookup, err := wire.DecodeAccountLookup(resend(t, wire.EncodeAccountLookup(lookup, nil)))
		same(t, err, nil)
		same(t, gotLookup, lookup)

		created := core.CreatedAccount{AccountID: text("account"), Tokens: core.TokenResponse{
			AccessToken: secrets().Draw(t, "access"), RefreshToken: secrets().Draw(t, "refresh"),
			ExpiresIn: durations().Draw(t, "expires_in"), Scope: scopes().Draw(t, "scope"),
		}}
		gotCreated, err := wire.DecodeCreatedAccount(resend(t, wire.EncodeCreatedAccount(created, nil)))
		same(t, err, nil)
		same(t, gotCreated, created)

		told := core.VendorEvent{Type: core.VendorEventType(text("type")), AccountID: text("account"), Reply: text("reply")}
		gotTold, err := wire.DecodeVendorEvent(resend(t, wire.EncodeVendorEvent(told, nil)))
		same(t, err, nil)
		same(t, gotTold, told)
	})
}

// abilityErrors sends err through the response of each optional call.
func abilityErrors(err error) map[string]error {
	got := map[string]error{}
	_, got["CheckAPIBaseURL"] = wire.DecodeHostCheckResult(wire.EncodeHostCheckResult("", err))
	_, got["VerifyAccount"] = wire.DecodeAccountLookup(wire.EncodeAccountLookup(core.AccountLookup{}, err))
	_, got["CreateAccount"] = wire.DecodeCreatedAccount(wire.EncodeCreatedAccount(core.CreatedAccount{}, err))
	_, got["ReadEvent"] = wire.DecodeVendorEvent(wire.EncodeVendorEvent(core.VendorEvent{}, err))
	return got
}

func TestUnsupportedAbilityIsErrUnsupported(t *testing.T) {
	for call, err := range abilityErrors(fmt.Errorf("this: %w", errors.ErrUnsupported)) {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: got %v", call, err)
		}
	}
}

func TestEmptyResponseOfAnAbilityIsAnError(t *testing.T) {
	_, verify := wire.DecodeAccountLookup(nil)
	_, create := wire.DecodeCreatedAccount(&pluginv1.CreateAccountResponse{})
	_, read := wire.DecodeVendorEvent(&pluginv1.ReadEventResponse{})
	for _, err := range []error{verify, create, read} {
		if e := core.AsVendorError(err); e.Outcome != core.Unknown || e.Code != core.CodeInternal {
			t.Errorf("got %v", err)
		}
	}
}

func TestHeaderThatIsNotUTF8DoesNotKeepAnEventFromCrossing(t *testing.T) {
	m := wire.EncodeEventRequest(core.EventRequest{Header: http.Header{"X-Odd": {"\xff"}, "X-Fine": {"a", "\xfe"}}})
	if err := wire.Check(m); err != nil {
		t.Fatal(err)
	}
	if got := wire.DecodeEventRequest(m).Header; len(got) != 1 || len(got["X-Fine"]) != 1 {
		t.Errorf("got %v", got)
	}
}
