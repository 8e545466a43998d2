package plugintest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/internal/wire"
	"github.com/esignd/esignd/plugins/oauth"
	"github.com/esignd/esignd/plugins/sdk"
)

// defect is a plugin that is bad in one way.
type defect struct {
	name  string
	check string   // which has to fail; empty: none
	also  []string // that fail as well, since the defect is theirs too
	with  []string // that do what the defect shows itself in
	says  string   // a part of a finding
	// adapter is what the plugin serves; nil: main is wrong, and not the adapter.
	adapter *bad
	main    func()
	process bool // it shows only in a process
	long    bool // it takes seconds, or all checks
}

// serve is the plugin's process.
func (d defect) serve() {
	if d.main != nil {
		d.main()
		return
	}
	sdk.Serve(*d.adapter)
}

// declares is an adapter with other metadata.
func declares(change func(*core.Metadata)) *bad { return &bad{metadata: change} }

// asks is an adapter with a token client of its own.
func asks(h handmade) *bad { return &bad{token: h.Token} }

func defects() []defect {
	all := append(append(mains(), declarations()...), append(methods(), clients()...)...)
	for _, d := range all {
		if d.adapter != nil {
			d.adapter.example = newExample()
		}
	}
	return all
}

// mains are defects outside of the adapter.
func mains() []defect {
	return []defect{
		{name: "prints first", check: "handshake", also: []string{"by-hand"}, says: "hello, I am a library", main: func() {
			fmt.Println("hello, I am a library that prints")
			sdk.Serve(newExample())
		}},
		{name: "exits", check: "handshake", says: "the config is missing", main: func() {
			fmt.Fprintln(os.Stderr, "the config is missing")
			os.Exit(3)
		}},
		{name: "serves by hand", check: "by-hand", says: "status 0", main: func() {
			if len(os.Environ()) < 4 {
				fmt.Fprintln(os.Stderr, "nothing to do")
				return
			}
			sdk.Serve(newExample())
		}},
		{name: "stays", check: "stop", says: "was killed", main: func() {
			sdk.Serve(newExample())
			select {}
		}},
		{name: "leaves a child", check: "stop", says: "processes behind", main: func() {
			child := exec.Command("/bin/sleep", "60")
			child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			if err := child.Start(); err != nil {
				panic(err)
			}
			sdk.Serve(newExample())
		}},
		{name: "another protocol", check: "handshake", says: "protocol", also: []string{"by-hand"}, main: func() {
			fmt.Println("1|99|unix|/nowhere|grpc|")
			<-time.After(2 * time.Second)
			os.Exit(1)
		}},
		{name: "says nothing by hand", check: "by-hand", says: "says nothing on standard error", main: func() {
			if os.Getenv(wire.CookieKey) == "" {
				os.Exit(1)
			}
			sdk.Serve(newExample())
		}},
		{name: "is another each time", process: true, check: "statelessness", says: "declares something else", adapter: declares(func(m *core.Metadata) {
			m.Version = fmt.Sprint(os.Getpid())
		})},
		{name: "floods", process: true, check: "secrets", with: []string{"revocation"}, says: "lines were dropped", adapter: &bad{revoke: func(ctx context.Context, r core.RevocationRequest) error {
			for range 20_000 {
				fmt.Fprintln(os.Stderr, "chatter")
			}
			return newExample().Revoke(ctx, r)
		}}},
	}
}

// declarations are metadata that are not true.
func declarations() []defect {
	schema := func(s string) *bad {
		return declares(func(m *core.Metadata) { m.SettingsSchema = json.RawMessage(s) })
	}
	return []defect{
		{name: "no title", check: "metadata", says: "Title is empty", adapter: declares(func(m *core.Metadata) { m.Title = "" })},
		{name: "consent ends first", check: "metadata", says: "ConsentLifetime", adapter: declares(func(m *core.Metadata) { m.ConsentLifetime = time.Minute })},
		{name: "no way in", check: "metadata", says: "no way to a first token", adapter: declares(func(m *core.Metadata) {
			m.GrantTypes, m.PKCE = []core.GrantType{core.RefreshToken}, false
		})},
		{name: "no schema", check: "settings", says: "cannot be read", adapter: schema(`{"type": 7}`)},
		{name: "secret in clear", check: "settings", says: "writeOnly", adapter: schema(strings.Replace(exampleSettings, `"writeOnly": true,`, "", 1))},
		{name: "bad default", check: "settings", says: "default of url", adapter: schema(strings.Replace(exampleSettings, `"https://sign.example.com"`, "7", 1))},
		{name: "unknown setting", check: "settings", says: "setting url is not in the schema", adapter: schema(`{"type": "object", "additionalProperties": false}`)},
		{name: "hides rotation", check: "rotation", says: "RotatesRefreshTokens is false", adapter: declares(func(m *core.Metadata) { m.RotatesRefreshTokens = false })},
		{name: "hides PKCE", check: "authorization-url", also: []string{"callback", "exchange"}, says: "PKCE is not declared", adapter: declares(func(m *core.Metadata) { m.PKCE = false })},
		{name: "hides revocation", check: "revocation", says: "ErrUnsupported", adapter: declares(func(m *core.Metadata) { m.RevokesTokens = false })},
	}
}

// methods are adapters with one method that is wrong.
func methods() []defect {
	good := newExample()
	var began sync.Map // refresh tokens that this process got
	var last struct {
		sync.Mutex
		client core.Credentials
	}
	var times int
	return []defect{
		{name: "drops the state", check: "authorization-url", says: "the state is not", adapter: &bad{authorize: func(ctx context.Context, r core.AuthorizationRequest) (string, error) {
			r.State = ""
			return good.AuthorizationURL(ctx, r)
		}}, also: []string{"exchange"}},
		{name: "does not encode", check: "authorization-url", says: "not encoded", adapter: &bad{authorize: func(ctx context.Context, r core.AuthorizationRequest) (string, error) {
			page, err := good.AuthorizationURL(ctx, core.AuthorizationRequest{Client: r.Client, RedirectURI: r.RedirectURI, Scope: r.Scope, CodeChallenge: r.CodeChallenge})
			return page + "&state=" + r.State, err
		}}},
		{name: "takes a code twice", check: "callback", says: "code twice", adapter: &bad{callback: func(ctx context.Context, r core.CallbackRequest) (core.CallbackResult, error) {
			for _, values := range r.Params {
				clear(values[1:])
			}
			for name, values := range r.Params {
				r.Params[name] = values[:1]
			}
			return good.Callback(ctx, r)
		}}},
		{name: "denial is an error", check: "denial", says: "it is an error", also: nil, adapter: &bad{callback: func(ctx context.Context, r core.CallbackRequest) (core.CallbackResult, error) {
			result, err := good.Callback(ctx, r)
			if result.Denied != "" {
				return core.CallbackResult{}, &core.VendorError{Outcome: core.Refused, Code: core.CodeAccessDenied}
			}
			return result, err
		}}},
		{name: "forgets the verifier", check: "exchange", says: "the code verifier is not sent", adapter: &bad{token: func(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
			r.CodeVerifier = core.Secret{}
			return good.Token(ctx, r)
		}}},
		{name: "foreign errors", check: "exchange", says: "no *core.VendorError", adapter: &bad{token: func(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
			set, err := good.Token(ctx, r)
			if err != nil && r.GrantType == core.AuthorizationCode {
				return core.TokenResponse{}, errForeign
			}
			return set, err
		}}},
		{name: "no client credentials", check: "client-credentials", says: "it fails", adapter: &bad{token: func(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
			if r.GrantType == core.ClientCredentials {
				r.GrantType = "client-credentials"
			}
			return good.Token(ctx, r)
		}}},
		{name: "refreshes once", check: "refresh", says: "the second refresh fails", adapter: &bad{token: func(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
			if r.GrantType == core.RefreshToken {
				if times++; times == 2 {
					return core.TokenResponse{}, &core.VendorError{Outcome: core.Unknown, Code: core.CodeNetwork}
				}
			}
			return good.Token(ctx, r)
		}}},
		{name: "loses a rotation", check: "rotation", says: "does not return it", adapter: &bad{token: func(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
			set, err := good.Token(ctx, r)
			if r.GrantType == core.RefreshToken {
				set.RefreshToken = core.Secret{}
			}
			return set, err
		}}},
		{name: "revokes nothing", check: "revocation", says: "no error", adapter: &bad{revoke: func(context.Context, core.RevocationRequest) error { return nil }}},
		{name: "revokes once", check: "revocation", says: "a second time", adapter: &bad{revoke: func(ctx context.Context, r core.RevocationRequest) error {
			if _, again := began.LoadOrStore(r.Token.Reveal(), true); again {
				return &core.VendorError{Outcome: core.Refused, Code: core.CodeInvalidRequest, Status: 400}
			}
			return good.Revoke(ctx, r)
		}}},
		{name: "shares credentials", check: "concurrency", says: "beside calls", adapter: &bad{token: func(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
			last.Lock()
			last.client = r.Client
			last.Unlock()
			time.Sleep(20 * time.Millisecond)
			last.Lock()
			r.Client = last.client
			last.Unlock()
			return good.Token(ctx, r)
		}}},
		{name: "remembers", process: true, check: "statelessness", says: "a second process cannot", adapter: &bad{token: func(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
			if _, known := began.Load(r.RefreshToken.Reveal()); r.GrantType == core.RefreshToken && !known && strings.HasPrefix(r.RefreshToken.Reveal(), "refresh-") {
				return core.TokenResponse{}, &core.VendorError{Outcome: core.NotSent, Code: core.CodeInvalidRequest}
			}
			set, err := good.Token(ctx, r)
			began.Store(set.RefreshToken.Reveal(), true)
			return set, err
		}}},
		{name: "takes any host", check: "api-host", says: "is taken for a host", adapter: &bad{checkHost: func(raw string) (string, error) {
			if raw == "" {
				return "", oauth.HostRefused("it is empty")
			}
			return strings.TrimSuffix(raw, "/"), nil
		}}},
		{name: "believes events", check: "events", says: "no error", adapter: &bad{readEvent: func() (core.VendorEvent, error) { return core.VendorEvent{}, nil }}},
		{name: "panics at events", check: "events", says: "panicked", adapter: &bad{readEvent: func() (core.VendorEvent, error) { panic("no") }}},
		{name: "prints the secret", process: true, check: "secrets", with: []string{"exchange"}, says: "the client secret", adapter: &bad{token: func(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
			fmt.Println("exchanging with", r.Client.ClientSecret.Reveal())
			return good.Token(ctx, r)
		}}},
		{name: "logs its requests", process: true, check: "secrets", with: []string{"exchange"}, says: "a code", adapter: &bad{token: func(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
			slog.New(slog.NewJSONHandler(os.Stderr, nil)).Info("token request", "code", r.Code.Reveal())
			return good.Token(ctx, r)
		}}},
		{name: "writes its header", process: true, check: "secrets", with: []string{"client-credentials"}, says: "in a Basic header", adapter: &bad{token: func(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
			req := http.Request{Header: http.Header{}}
			req.SetBasicAuth(r.Client.ClientID, r.Client.ClientSecret.Reveal())
			fmt.Fprintln(os.Stderr, req.Header)
			return good.Token(ctx, r)
		}}},
		{name: "dies of an odd answer", process: true, check: "odd-answers", says: "the plugin's process ended", adapter: &bad{token: func(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
			set, err := good.Token(ctx, r)
			if core.AsVendorError(err).Status == http.StatusNoContent {
				os.Exit(1)
			}
			return set, err
		}}},
		{name: "token in an error", check: "secrets", with: []string{"refresh"}, says: "a refresh token", adapter: &bad{token: func(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
			set, err := good.Token(ctx, r)
			var e *core.VendorError
			if errors.As(err, &e) && r.GrantType == core.RefreshToken {
				e.Detail = "refused: " + r.RefreshToken.Reveal()
			}
			return set, err
		}}},
	}
}

// clients are token clients with the mistakes that authors make.
func clients() []defect {
	return []defect{
		{name: "handmade", long: true, adapter: asks(handmade{})},
		{name: "sends again", check: "idempotence", says: "sent 2 times", adapter: asks(handmade{resends: true})},
		{name: "deaf", process: true, check: "deadlines", says: "the host killed the process", adapter: asks(handmade{deaf: true})},
		{name: "all is invalid_grant", check: "refusals", says: "which ends the grant", also: []string{"exchange"}, adapter: asks(handmade{fatal: true})},
		{name: "500 is a refusal", check: "outcomes", says: "refused instead of unknown", adapter: asks(handmade{forgiving: true})},
		{name: "lost is not sent", check: "outcomes", says: "not_sent instead of unknown", also: []string{"deadlines"}, adapter: asks(handmade{hasty: true})},
		{name: "follows", check: "redirects", says: "it is followed", adapter: asks(handmade{follows: true})},
		{name: "swallows", long: true, process: true, check: "big-answers", says: "64 MiB body", adapter: asks(handmade{swallows: true})},
		{name: "fussy", check: "odd-answers", says: "taken for a failure", adapter: asks(handmade{fussy: true})},
		{name: "gullible", check: "odd-answers", says: "taken for a token set", adapter: asks(handmade{gullible: true})},
		{name: "quotes", check: "vendor-text", with: []string{"refusals"}, says: "a text of the vendor", adapter: asks(handmade{quotes: true})},
	}
}
