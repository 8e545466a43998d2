// Package hostile is plugins that mean harm, for tests. Each attack is a vendor's name: a process that runs [Serve] under it is
// that vendor's plugin, and attacks so.
//
// It guarantees that an attack stays bounded where its host does not bound it: a process ends with its parent, and what it
// starts ends by itself after [Outlives].
package hostile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/sdk"
)

// Outlives is how long what an attacker starts lives on by itself.
const Outlives = 30 * time.Second

// Any is the Code of an attack in which it is a matter of time how a refresh ends.
const Any = "any"

// Attack is one way to do harm, and what is to come of it.
type Attack struct {
	// Vendor is the name of the vendor whose plugin attacks so.
	Vendor string
	// Does says what the plugin does.
	Does string
	// Refused is in the error of its start. Empty: it starts.
	Refused string
	// Code is of the error that a refresh ends with; its outcome is unknown. Empty: it answers a token set, or [Any].
	Code string
	// Ends is in the reason for which the plugin's process ended, and was replaced. Empty: the attack does not cost the
	// plugin its process.
	Ends string

	before  func()               // before it serves, if at all
	after   func()               // when its server was told to end
	lie     func(*core.Metadata) // in what it says of itself
	token   func(context.Context, core.TokenRequest) (core.TokenResponse, error)
	others  func(context.Context) error // in every other call
	serving func(core.Adapter)          // nil: as plugins do
}

// Find returns the attack of a vendor.
func Find(vendor string) (Attack, bool) {
	for _, a := range Attacks() {
		if a.Vendor == vendor {
			return a, true
		}
	}
	return Attack{}, false
}

// Serve is the whole main function of the vendor's plugin. It reports whether the vendor is one of an attack.
func Serve(vendor string) bool {
	a, ok := Find(vendor)
	if !ok {
		return false
	}
	if a.before != nil {
		a.before()
	}
	serve := sdk.Serve
	if a.serving != nil {
		serve = a.serving
	}
	serve(adapter{a})
	if a.after != nil {
		a.after()
	}
	return true
}

// adapter does what the attack is, and otherwise answers as an adapter does.
type adapter struct{ attack Attack }

var (
	_ core.Adapter         = adapter{}
	_ core.HostChecker     = adapter{}
	_ core.AccountVerifier = adapter{}
	_ core.AccountCreator  = adapter{}
	_ core.EventReader     = adapter{}
)

func (a adapter) other(ctx context.Context) error {
	if a.attack.others == nil {
		return nil
	}
	return a.attack.others(ctx)
}

// Metadata implements core.Adapter.
func (a adapter) Metadata(context.Context) (core.Metadata, error) {
	m := core.Metadata{
		Vendor: a.attack.Vendor, Title: "Hostile Sign", Version: "6.6.6",
		GrantTypes:     []core.GrantType{core.AuthorizationCode, core.ClientCredentials, core.RefreshToken},
		AccessLifetime: time.Hour, RotatesRefreshTokens: true, RevokesTokens: true,
		SettingsSchema: json.RawMessage(`{"type":"object"}`),
	}
	if a.attack.lie != nil {
		a.attack.lie(&m)
	}
	return m, nil
}

// AuthorizationURL implements core.Adapter.
func (a adapter) AuthorizationURL(ctx context.Context, r core.AuthorizationRequest) (string, error) {
	return "https://hostile.example/authorize?state=" + r.State, a.other(ctx)
}

// Callback implements core.Adapter.
func (a adapter) Callback(ctx context.Context, r core.CallbackRequest) (core.CallbackResult, error) {
	return core.CallbackResult{Code: core.NewSecret(r.Params.Get("code"))}, a.other(ctx)
}

// Token implements core.Adapter.
func (a adapter) Token(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
	if a.attack.token != nil {
		return a.attack.token(ctx, r)
	}
	return answer(r), nil
}

// answer is a token set as vendors give it.
func answer(r core.TokenRequest) core.TokenResponse {
	now := time.Now().UnixNano()
	set := core.TokenResponse{
		AccessToken: core.NewSecret(fmt.Sprintf("hostile-access-%d", now)), TokenType: "Bearer", ExpiresIn: time.Hour,
	}
	if r.GrantType != core.ClientCredentials {
		set.RefreshToken = core.NewSecret(fmt.Sprintf("hostile-refresh-%d", now))
	}
	return set
}

// Revoke implements core.Adapter.
func (a adapter) Revoke(ctx context.Context, _ core.RevocationRequest) error { return a.other(ctx) }

// CheckAPIBaseURL implements core.HostChecker.
func (a adapter) CheckAPIBaseURL(ctx context.Context, _ core.Credentials, rawURL string) (string, error) {
	return rawURL, a.other(ctx)
}

// VerifyAccount implements core.AccountVerifier.
func (a adapter) VerifyAccount(ctx context.Context, _ core.AccountRequest) (core.AccountLookup, error) {
	return core.AccountLookup{}, a.other(ctx)
}

// CreateAccount implements core.AccountCreator.
func (a adapter) CreateAccount(ctx context.Context, _ core.AccountRequest) (core.CreatedAccount, error) {
	return core.CreatedAccount{}, errors.Join(a.other(ctx), errors.ErrUnsupported)
}

// ReadEvent implements core.EventReader.
func (a adapter) ReadEvent(ctx context.Context, _ core.EventRequest) (core.VendorEvent, error) {
	return core.VendorEvent{}, a.other(ctx)
}
