package esignd

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/witness"
)

const token = "eyJhbGciOi.sandbox/access+\"<4711>\"=="

func TestGuardFindsATokenInEveryForm(t *testing.T) {
	g := newGuard()
	g.note(token)
	quoted, err := json.Marshal(token)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		token, "Bearer " + token + ".", string(quoted), url.QueryEscape(token), "/a/" + url.PathEscape(token), hex.EncodeToString([]byte(token)),
		base64.StdEncoding.EncodeToString([]byte(token)), base64.URLEncoding.EncodeToString([]byte("a" + token)),
		base64.StdEncoding.EncodeToString([]byte("ab" + token + "cd")),
	} {
		if !g.has([]byte(text)) {
			t.Errorf("not found in %q", text)
		}
		if clean := g.redact("<" + text + "," + text + ">"); g.has([]byte(clean)) || !strings.Contains(clean, redacted) {
			t.Errorf("redacted to %q", clean)
		}
	}
	for _, text := range []string{"", "short", token[1:], token[:len(token)-1], strings.ToUpper(token), "eyJhbGciOi.sandbox/access"} {
		if g.has([]byte(text)) || g.redact(text) != text {
			t.Errorf("found in %q", text)
		}
	}
}

func TestGuardForgetsTheOldestToken(t *testing.T) {
	g := newGuard()
	for i := range remembered + 1 {
		g.note(fmt.Sprintf("token-number-%08d", i))
		g.note(fmt.Sprintf("token-number-%08d", i)) // once more: it counts once
	}
	if g.has([]byte("token-number-00000000")) || !g.has([]byte("token-number-00000001")) || len(g.order) != remembered {
		t.Errorf("the guard knows %d tokens", len(g.order))
	}
	for i := range remembered {
		g.note(fmt.Sprintf("another-one-%08d", i))
	}
	if g.has([]byte("token-number-00004096")) {
		t.Error("a token that was forgotten is found")
	}
}

func TestFailuresAreRedacted(t *testing.T) {
	g := newGuard()
	g.note(token)
	w := witness.New()
	w.Note("token", token)
	coded := converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), converter.NewZlibCodec(converter.ZlibCodecOptions{AlwaysEncode: true}))
	for name, next := range map[string]converter.FailureConverter{
		"plain": temporal.GetDefaultFailureConverter(),
		"encoded": temporal.NewDefaultFailureConverter(temporal.DefaultFailureConverterOptions{
			DataConverter: coded, EncodeCommonAttributes: true,
		}),
	} {
		f := &guardedFailure{guard: g, next: next}
		for _, err := range []error{
			errors.New("refused: " + token),
			fmt.Errorf("call: %w", errors.New(token)),
			temporal.NewApplicationError("x", token, []string{token}),
			temporal.NewApplicationErrorWithCause("x", "y", errors.New(token), map[string][]byte{"a": []byte(token)}),
			temporal.NewCanceledError(token),
			temporal.NewHeartbeatTimeoutError(token),
		} {
			out := f.ErrorToFailure(err)
			if f.holds(out) || len(w.Search([]byte(out.String()))) > 0 {
				t.Errorf("%s: the failure of %T holds the token: %v", name, err, out)
			}
		}
		delayed := temporal.NewApplicationErrorWithOptions(token, "kind", temporal.ApplicationErrorOptions{NonRetryable: true})
		info := f.ErrorToFailure(delayed).GetApplicationFailureInfo()
		if info.GetType() != "kind" || !info.GetNonRetryable() {
			t.Errorf("%s: what was redacted lost its kind: %v", name, info)
		}
		if out := f.ErrorToFailure(errors.New("plain")); f.FailureToError(out).Error() != "plain" {
			t.Errorf("%s: a failure without a token became %v", name, out)
		}
	}
}

func TestPayloadsThatHoldATokenAreRefused(t *testing.T) {
	g := newGuard()
	g.note(token)
	zip := converter.NewZlibCodec(converter.ZlibCodecOptions{AlwaysEncode: true})
	for name, next := range map[string]converter.DataConverter{
		"plain": converter.GetDefaultDataConverter(), "encoded": converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), zip),
	} {
		d := &guardedData{guard: g, next: next}
		for _, value := range []any{token, []byte(token), map[string]any{"a": []string{"Bearer " + token}}, &failurepb.Failure{Message: token}} {
			var app *temporal.ApplicationError
			_, err := d.ToPayload(value)
			if !errors.As(err, &app) || app.Type() != TypeTokenInPayload || !app.NonRetryable() {
				t.Errorf("%s: %T: %v", name, value, err)
			}
			if _, err := d.ToPayloads("first", value); !errors.As(err, &app) {
				t.Errorf("%s: %T as the second: %v", name, value, err)
			}
		}
		p, err := d.ToPayloads("plain", 7)
		if err != nil {
			t.Fatal(err)
		}
		var text string
		var number int
		if err := d.FromPayloads(p, &text, &number); err != nil || text != "plain" || number != 7 {
			t.Errorf("%s: came back as %q %d %v", name, text, number, err)
		}
		if _, err := d.ToPayload(core.NewSecret(token)); err == nil {
			t.Errorf("%s: a Secret was written", name)
		}
	}
}
