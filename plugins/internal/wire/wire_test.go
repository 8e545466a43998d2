package wire_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"pgregory.net/rapid"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/internal/wire"
	"github.com/esignd/esignd/plugins/internal/wire/pluginv1"
)

// resend puts m through its wire form, as the two processes do.
func resend[M proto.Message](t *rapid.T, m M) M {
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	out := m.ProtoReflect().New().Interface().(M)
	if err := proto.Unmarshal(b, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func same(t *rapid.T, got, want any) {
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("changed on the way (-sent +received):\n%s", diff)
	}
}

func secrets() *rapid.Generator[core.Secret] { return rapid.Map(rapid.String(), core.NewSecret) }

func scopes() *rapid.Generator[[]string] {
	return rapid.OneOf(rapid.Just([]string(nil)), rapid.SliceOfN(rapid.String(), 0, 4))
}

func durations() *rapid.Generator[time.Duration] {
	return rapid.Map(rapid.Int64Min(0), func(n int64) time.Duration { return time.Duration(n) })
}

func credentials() *rapid.Generator[core.Credentials] {
	return rapid.Custom(func(t *rapid.T) core.Credentials {
		c := core.Credentials{
			ClientID:     rapid.String().Draw(t, "client_id"),
			ClientSecret: secrets().Draw(t, "client_secret"),
		}
		if settings := rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "settings"); len(settings) > 0 {
			c.Settings = settings
		}
		if hidden := rapid.MapOf(rapid.String(), secrets()).Draw(t, "secret_settings"); len(hidden) > 0 {
			c.SecretSettings = hidden
		}
		return c
	})
}

func TestRequestsAreTheSameAfterTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		client := credentials().Draw(t, "client")
		text := func(name string) string { return rapid.String().Draw(t, name) }
		secret := func(name string) core.Secret { return secrets().Draw(t, name) }

		authorization := core.AuthorizationRequest{
			Client: client, RedirectURI: text("redirect"), State: text("state"),
			Scope: scopes().Draw(t, "scope"), CodeChallenge: text("challenge"),
		}
		same(t, wire.DecodeAuthorizationRequest(resend(t, wire.EncodeAuthorizationRequest(authorization))), authorization)

		params := rapid.MapOf(rapid.String(), rapid.SliceOfN(rapid.String(), 1, 3)).Draw(t, "params")
		callback := core.CallbackRequest{Client: client, Params: url.Values(params)}
		same(t, wire.DecodeCallbackRequest(resend(t, wire.EncodeCallbackRequest(callback))), callback)

		token := core.TokenRequest{
			Client: client, GrantType: core.GrantType(text("grant_type")), Code: secret("code"),
			RedirectURI: text("redirect"), State: secret("state"), CodeVerifier: secret("verifier"),
			RefreshToken: secret("refresh_token"), Scope: scopes().Draw(t, "scope"), APIBaseURL: text("api"),
			AccessToken: secret("access_token"), Reported: rapid.Bool().Draw(t, "reported"),
		}
		same(t, wire.DecodeTokenRequest(resend(t, wire.EncodeTokenRequest(token))), token)

		revocation := core.RevocationRequest{
			Client: client, Token: secret("token"), TokenTypeHint: text("hint"), APIBaseURL: text("api"),
		}
		same(t, wire.DecodeRevocationRequest(resend(t, wire.EncodeRevocationRequest(revocation))), revocation)

		raw := text("url")
		gotClient, gotURL := wire.DecodeHostCheck(resend(t, wire.EncodeHostCheck(client, raw)))
		same(t, gotClient, client)
		same(t, gotURL, raw)
	})
}

func TestResponsesAreTheSameAfterTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) string { return rapid.String().Draw(t, name) }

		set := core.TokenResponse{
			AccessToken: secrets().Draw(t, "access"), TokenType: text("type"), RefreshToken: secrets().Draw(t, "refresh"),
			ExpiresIn: durations().Draw(t, "expires_in"), Scope: scopes().Draw(t, "scope"),
			APIBaseURL: text("api"), AccountID: text("account"),
		}
		gotSet, err := wire.DecodeTokenResponse(resend(t, wire.EncodeTokenResponse(set, nil)))
		same(t, err, nil)
		same(t, gotSet, set)

		redirect := core.CallbackResult{Code: secrets().Draw(t, "code"), APIBaseURL: text("api"), Denied: text("denied")}
		gotRedirect, err := wire.DecodeCallback(resend(t, wire.EncodeCallback(redirect, nil)))
		same(t, err, nil)
		same(t, gotRedirect, redirect)

		raw := text("url")
		gotURL, err := wire.DecodeAuthorizationURL(resend(t, wire.EncodeAuthorizationURL(raw, nil)))
		same(t, err, nil)
		same(t, gotURL, raw)
		gotURL, err = wire.DecodeHostCheckResult(resend(t, wire.EncodeHostCheckResult(raw, nil)))
		same(t, err, nil)
		same(t, gotURL, raw)

		same(t, wire.DecodeRevocation(resend(t, wire.EncodeRevocation(nil))), nil)
	})
}

func TestMetadataIsTheSameAfterTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := core.Metadata{
			Vendor: rapid.String().Draw(t, "vendor"), Title: rapid.String().Draw(t, "title"),
			Version:              rapid.String().Draw(t, "version"),
			GrantTypes:           []core.GrantType{core.AuthorizationCode, core.RefreshToken},
			AccessLifetime:       durations().Draw(t, "access"),
			RefreshIdleLifetime:  durations().Draw(t, "idle"),
			ConsentLifetime:      durations().Draw(t, "consent"),
			RotatesRefreshTokens: rapid.Bool().Draw(t, "rotates"),
			RevokesTokens:        rapid.Bool().Draw(t, "revokes"),
			PKCE:                 rapid.Bool().Draw(t, "pkce"),
			SettingsSchema:       json.RawMessage(`{"type":"object"}`),
		}
		abilities := rapid.SliceOfN(rapid.SampledFrom([]wire.Ability{wire.CheckAPIBaseURL, wire.ReadEvent}), 1, 2).Draw(t, "abilities")
		got, gotAbilities := wire.DecodeMetadata(resend(t, wire.EncodeMetadata(want, abilities)))
		same(t, got, want)
		same(t, gotAbilities, abilities)
	})
}

// errorPaths sends err through each response and returns what comes out, by the name of the call.
func errorPaths(err error) map[string]error {
	got := map[string]error{}
	_, got["AuthorizationURL"] = wire.DecodeAuthorizationURL(wire.EncodeAuthorizationURL("", err))
	_, got["Callback"] = wire.DecodeCallback(wire.EncodeCallback(core.CallbackResult{}, err))
	_, got["Token"] = wire.DecodeTokenResponse(wire.EncodeTokenResponse(core.TokenResponse{}, err))
	got["Revoke"] = wire.DecodeRevocation(wire.EncodeRevocation(err))
	maps.Copy(got, abilityErrors(err))
	return got
}

func TestVendorErrorIsTheSameAfterTheWire(t *testing.T) {
	want := &core.VendorError{
		Outcome: core.Refused, Code: core.CodeRateLimited, Status: 429, RetryAfter: 90 * time.Second,
		Detail: "the vendor limits calls of this client",
	}
	for call, got := range errorPaths(fmt.Errorf("refresh: %w", want)) {
		if diff := cmp.Diff(error(want), got); diff != "" {
			t.Errorf("%s (-sent +received):\n%s", call, diff)
		}
	}
}

func TestForeignErrorTextDoesNotCross(t *testing.T) {
	for call, got := range errorPaths(errors.New("Post https://vendor/token?code=CANARY: refused")) {
		var e *core.VendorError
		if !errors.As(got, &e) || e.Outcome != core.Unknown || e.Code != core.CodeInternal {
			t.Errorf("%s: got %v, want an internal error of unknown outcome", call, got)
		}
		if strings.Contains(got.Error(), "CANARY") {
			t.Errorf("%s: the error's text crossed: %v", call, got)
		}
	}
}

func TestRevocationUnsupportedIsErrUnsupported(t *testing.T) {
	err := wire.DecodeRevocation(wire.EncodeRevocation(fmt.Errorf("revoke: %w", errors.ErrUnsupported)))
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, want errors.ErrUnsupported", err)
	}
}

func TestEmptyResponseIsAnError(t *testing.T) {
	_, token := wire.DecodeTokenResponse(&pluginv1.TokenResponse{})
	_, callback := wire.DecodeCallback(&pluginv1.CallbackResponse{})
	_, authorization := wire.DecodeAuthorizationURL(&pluginv1.AuthorizationURLResponse{})
	_, check := wire.DecodeHostCheckResult(nil)
	revocation := wire.DecodeRevocation(&pluginv1.RevokeResponse{})
	for _, err := range []error{token, callback, authorization, check, revocation} {
		var e *core.VendorError
		if !errors.As(err, &e) || e.Outcome != core.Unknown {
			t.Errorf("got %v, want an error of unknown outcome", err)
		}
	}
}

func TestForeignVendorErrorIsMadeHarmless(t *testing.T) {
	received := func(sent *pluginv1.VendorError) *core.VendorError {
		_, err := wire.DecodeTokenResponse(&pluginv1.TokenResponse{Result: &pluginv1.TokenResponse_Error{Error: sent}})
		return core.AsVendorError(err)
	}
	tests := map[string]struct {
		sent *pluginv1.VendorError
		want core.VendorError
	}{
		"code that is not ours": {
			&pluginv1.VendorError{Code: "tok_live_secret"},
			core.VendorError{Code: core.CodeInternal},
		},
		"outcome from the future": {
			&pluginv1.VendorError{Code: "network", Outcome: 99},
			core.VendorError{Code: core.CodeNetwork, Outcome: core.Unknown},
		},
		"not sent, yet answered": {
			&pluginv1.VendorError{Code: "http_error", Outcome: pluginv1.Outcome_OUTCOME_NOT_SENT, Status: 500},
			core.VendorError{Code: core.CodeHTTPError, Outcome: core.Unknown, Status: 500},
		},
		"no HTTP status": {
			&pluginv1.VendorError{Code: "http_error", Outcome: pluginv1.Outcome_OUTCOME_REFUSED, Status: -7},
			core.VendorError{Code: core.CodeHTTPError, Outcome: core.Refused},
		},
		"lines and escapes in the detail": {
			&pluginv1.VendorError{Code: "internal", Detail: "a\nlevel=ERROR\x1b[2J\x00b"},
			core.VendorError{Code: core.CodeInternal, Detail: "a level=ERROR [2J b"},
		},
		"endless detail": {
			&pluginv1.VendorError{Code: "internal", Detail: strings.Repeat("x", 1<<19)},
			core.VendorError{Code: core.CodeInternal, Detail: strings.Repeat("x", 299) + "…"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(&tt.want, received(tt.sent)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRetryAfterIsBounded(t *testing.T) {
	for sent, want := range map[time.Duration]time.Duration{
		-time.Hour: 0, time.Minute: time.Minute, 400 * 24 * time.Hour: 24 * time.Hour,
	} {
		err := wire.DecodeRevocation(wire.EncodeRevocation(&core.VendorError{Code: "rate_limited", RetryAfter: sent}))
		if got := core.AsVendorError(err).RetryAfter; got != want {
			t.Errorf("retry after %v: got %v, want %v", sent, got, want)
		}
	}
}

func TestCheckRefusesWhatCannotBeSent(t *testing.T) {
	request := func(code string) proto.Message {
		return wire.EncodeCallbackRequest(core.CallbackRequest{Params: url.Values{"code": {code}}})
	}
	if err := wire.Check(request("fine")); err != nil {
		t.Error(err)
	}
	for name, code := range map[string]string{
		"too large": strings.Repeat("s3cret", wire.MaxMessageSize/6+1),
		"not UTF-8": "s3cret\xff",
	} {
		if err := wire.Check(request(code)); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v, want an error without the value", name, err)
		}
	}
}

// TestSecretsAreMarked reads the contract itself: each field that holds a secret says so.
func TestSecretsAreMarked(t *testing.T) {
	secret := map[string]bool{
		"client_secret": true, "secret_settings": true, "code": true, "state": true, "code_verifier": true,
		"refresh_token": true, "access_token": true, "token": true,
		"body": true, "Param.values": true, "AuthorizationURLResponse.url": true, "VendorError.code": false,
	}
	found := 0
	messages := pluginv1.File_esignd_plugin_v1_adapter_proto.Messages()
	for i := range messages.Len() {
		fields := messages.Get(i).Fields()
		for j := range fields.Len() {
			f := fields.Get(j)
			want, ok := secret[string(messages.Get(i).Name())+"."+string(f.Name())]
			if !ok {
				want = secret[string(f.Name())]
			}
			if got := redacted(f); got != want {
				t.Errorf("%s: debug_redact is %v, want %v", f.FullName(), got, want)
			}
			if want {
				found++
			}
		}
	}
	if found < 12 {
		t.Errorf("found %d secrets in the contract: the test looks in the wrong place", found)
	}
}

func redacted(f protoreflect.FieldDescriptor) bool {
	options, ok := f.Options().(*descriptorpb.FieldOptions)
	return ok && options.GetDebugRedact()
}

func FuzzDecodeTokenResponse(f *testing.F) {
	seed, err := proto.Marshal(wire.EncodeTokenResponse(core.TokenResponse{AccessToken: core.NewSecret("a")}, nil))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &pluginv1.TokenResponse{}
		if proto.Unmarshal(b, m) != nil {
			return
		}
		set, err := wire.DecodeTokenResponse(m)
		if err != nil && core.AsVendorError(err) == nil {
			t.Fatalf("got %v, want a VendorError", err)
		}
		if _, err := proto.Marshal(wire.EncodeTokenResponse(set, err)); err != nil {
			t.Fatal(err)
		}
	})
}
