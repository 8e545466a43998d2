package hostile

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/esignd/esignd/core"
)

// VendorsWords are in what attackers log and answer as errors, where nobody is to repeat them.
const VendorsWords = "vendors-words-for-its-own-people"

func answers() []Attack {
	return []Attack{
		Attack{Vendor: "huge", Does: "answers more than a message holds", Code: core.CodeInternal}.answering(func(set *core.TokenResponse) {
			set.AccessToken = core.NewSecret(strings.Repeat("x", 2<<20))
		}),
		Attack{Vendor: "wide", Does: "answers a token that no store takes", Code: core.CodeMalformedResponse}.answering(func(set *core.TokenResponse) {
			set.RefreshToken = core.NewSecret(strings.Repeat("x", 900<<10))
		}),
		Attack{Vendor: "empty", Does: "answers no token", Code: core.CodeMalformedResponse}.answering(func(set *core.TokenResponse) {
			set.AccessToken = core.Secret{}
		}),
		Attack{Vendor: "nonsense", Does: "answers lifetimes, scopes, hosts and accounts that cannot be"}.answering(func(set *core.TokenResponse) {
			set.ExpiresIn, set.TokenType = -time.Hour, "Bearer\x1b[2J"
			set.Scope = slices.Repeat([]string{"a b\n"}, 10_000)
			set.APIBaseURL, set.AccountID = "file:///etc/passwd", "a\x00b"
		}),
		{Vendor: "shares", Does: "answers each grant the token set of the first", token: theFirst()},
		{Vendor: "tells", Does: "answers errors with secrets, the vendor's words and control characters in them", Code: core.CodeInternal, token: tells},
		{Vendor: "logs", Does: "logs every secret that it is sent, at every level and on every stream", token: logs},
	}
}

// answering makes the attack answer a token set with a change.
func (a Attack) answering(change func(*core.TokenResponse)) Attack {
	a.token = func(_ context.Context, r core.TokenRequest) (core.TokenResponse, error) {
		set := answer(r)
		change(&set)
		return set, nil
	}
	return a
}

func theFirst() func(context.Context, core.TokenRequest) (core.TokenResponse, error) {
	var once sync.Once
	var first core.TokenResponse
	return func(_ context.Context, r core.TokenRequest) (core.TokenResponse, error) {
		once.Do(func() { first = answer(r) })
		return first, nil
	}
}

// secrets are those of a request, as one text.
func secrets(r core.TokenRequest) string {
	all := []string{r.Client.ClientSecret.Reveal(), r.RefreshToken.Reveal(), r.AccessToken.Reveal(), r.Code.Reveal()}
	for _, one := range r.Client.SecretSettings {
		all = append(all, one.Reveal())
	}
	return strings.Join(all, " ")
}

func tells(_ context.Context, r core.TokenRequest) (core.TokenResponse, error) {
	return core.TokenResponse{}, &core.VendorError{
		Code: VendorsWords, Status: 99999, RetryAfter: 1 << 62, Detail: "\x1b[2J" + secrets(r) + "\r\n" + strings.Repeat("x", 10_000),
	}
}

func logs(ctx context.Context, r core.TokenRequest) (core.TokenResponse, error) {
	text := secrets(r)
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		slog.Log(ctx, level, "sent: "+text, "request", text, text, 1)
	}
	for _, to := range []*os.File{rawStderr, os.Stderr, os.Stdout} {
		_, _ = fmt.Fprintf(to, "%s\n{\"level\":\"ERROR\",\"msg\":%q}\npanic: %s\n", text, text, text)
	}
	return answer(r), nil
}
