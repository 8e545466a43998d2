package host_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/plugins/host"
)

func (c checking) VerifyAccount(ctx context.Context, r core.AccountRequest) (core.AccountLookup, error) {
	if r.EmailAddress == "unsupported" {
		return core.AccountLookup{}, errors.ErrUnsupported
	}
	return core.AccountLookup{Exists: true, AccountID: r.EmailAddress}, c.act(ctx, r.Client)
}

func (c checking) CreateAccount(ctx context.Context, r core.AccountRequest) (core.CreatedAccount, error) {
	if err := c.act(ctx, r.Client); err != nil {
		return core.CreatedAccount{}, err
	}
	created := core.CreatedAccount{AccountID: r.EmailAddress, Tokens: core.TokenResponse{AccessToken: core.NewSecret("a"), RefreshToken: core.NewSecret("r"), ExpiresIn: time.Hour}}
	if r.Client.ClientID == "empty" {
		created.Tokens.AccessToken = core.Secret{}
	}
	return created, nil
}

// ReadEvent answers "<type> <account> <reply>" where the body says so, and otherwise how long the body was.
func (c checking) ReadEvent(ctx context.Context, r core.EventRequest) (core.VendorEvent, error) {
	if r.Header.Get("X-Signature") != "right" {
		return core.VendorEvent{}, &core.VendorError{Outcome: core.NotSent, Code: core.CodeAccessDenied, Detail: "wrong signature"}
	}
	parts := bytes.SplitN(r.Body, []byte(" "), 3)
	if len(parts) != 3 {
		return core.VendorEvent{Reply: strings.Repeat("k", len(r.Body)>>10)}, c.act(ctx, r.Client)
	}
	return core.VendorEvent{Type: core.VendorEventType(parts[0]), AccountID: string(parts[1]), Reply: string(parts[2])}, nil
}

// able is what every adapter of a plugin is.
type able interface {
	core.Adapter
	core.HostChecker
	core.AccountVerifier
	core.AccountCreator
	core.EventReader
}

func accountOf(id, client string) core.AccountRequest {
	return core.AccountRequest{EmailAddress: id, Client: core.Credentials{ClientID: client, ClientSecret: core.NewSecret("s3cret")}}
}

func event(body string) core.EventRequest {
	return core.EventRequest{Header: http.Header{"X-Signature": {"right"}, "X-Odd": {"\xff"}}, Body: []byte(body), ReceivedAt: time.Now()}
}

func TestAbilitiesAreThereWhereDeclared(t *testing.T) {
	with, _ := start(t, "good", host.Limits{})
	a := with.Adapter().(able)
	if diff := cmp.Diff([]string{"check_api_base_url", "verify_account", "create_account", "read_event"}, with.Abilities()); diff != "" {
		t.Error(diff)
	}
	if got, err := a.VerifyAccount(t.Context(), accountOf("id-1", "")); err != nil || got != (core.AccountLookup{Exists: true, AccountID: "id-1"}) {
		t.Errorf("verify: %+v, %v", got, err)
	}
	if got, err := a.CreateAccount(t.Context(), accountOf("id-1", "")); err != nil || got.AccountID != "id-1" || got.Tokens.RefreshToken.Reveal() != "r" {
		t.Errorf("create: %q, %v", got.AccountID, err)
	}
	want := core.VendorEvent{Type: core.VendorEventAccountConfirmed, AccountID: "id-1", Reply: "Hello API Event Received"}
	if got, err := a.ReadEvent(t.Context(), event("account_confirmed id-1 Hello API Event Received")); err != nil || got != want {
		t.Errorf("event: %+v, %v", got, err)
	}
	if _, err := a.VerifyAccount(t.Context(), accountOf("unsupported", "")); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("an ability that the adapter takes back: %v", err)
	}

	without, _ := start(t, "plain", host.Limits{})
	b := without.Adapter().(able)
	_, check := b.CheckAPIBaseURL(t.Context(), core.Credentials{}, "https://vendor.example")
	_, verify := b.VerifyAccount(t.Context(), accountOf("id-1", ""))
	_, create := b.CreateAccount(t.Context(), accountOf("id-1", ""))
	_, read := b.ReadEvent(t.Context(), event("x"))
	for name, err := range map[string]error{"check": check, "verify": verify, "create": create, "event": read} {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s, which is not declared: %v", name, err)
		}
	}
	if names := without.Abilities(); len(names) != 0 {
		t.Errorf("abilities %v", names)
	}
}

func TestAbilitiesThatAnswerNonsenseAreRefused(t *testing.T) {
	p, _ := start(t, "good", host.Limits{})
	a := p.Adapter().(able)
	_, noToken := a.CreateAccount(t.Context(), accountOf("id", "empty"))
	_, noID := a.CreateAccount(t.Context(), accountOf("", ""))
	_, longID := a.VerifyAccount(t.Context(), accountOf(strings.Repeat("x", 300), ""))
	_, controlID := a.CreateAccount(t.Context(), accountOf("a\nb", ""))
	_, noAccount := a.ReadEvent(t.Context(), event("account_confirmed  reply"))
	_, longReply := a.ReadEvent(t.Context(), event("x y "+strings.Repeat("r", 5<<10)))
	for name, err := range map[string]error{
		"no token": noToken, "no id": noID, "endless id": longID, "id of two lines": controlID, "event without account": noAccount, "endless reply": longReply,
	} {
		var v *core.VendorError
		if !errors.As(err, &v) || v.Outcome != core.Unknown {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := a.ReadEvent(t.Context(), event("from_the_future id reply")); err != nil || got.Type != core.VendorEventIgnored || got.Reply != "reply" {
		t.Errorf("an event of a type that is not known: %+v, %v", got, err)
	}
}

func TestEventIsAsLargeAsAMessage(t *testing.T) {
	p, _ := start(t, "good", host.Limits{})
	a := p.Adapter().(able)
	if got, err := a.ReadEvent(t.Context(), event(strings.Repeat("x", 900<<10))); err != nil || len(got.Reply) != 900 {
		t.Errorf("900 KiB: a reply of %d, %v", len(got.Reply), err)
	}
	pid := p.Status().PID
	_, err := a.ReadEvent(t.Context(), event(strings.Repeat("x", 1<<20)))
	wantVendorError(t, err, core.NotSent, core.CodeInvalidRequest)
	if _, err := a.ReadEvent(t.Context(), core.EventRequest{Body: []byte("x")}); core.AsVendorError(err).Code != core.CodeAccessDenied {
		t.Errorf("a forged event: %v", err)
	}
	if p.Status().PID != pid {
		t.Error("the process was replaced")
	}
}

func TestCreationThatHangsEndsTheProcessAndOneThatPanicsDoesNot(t *testing.T) {
	p, logs := start(t, "good", quick)
	a := p.Adapter().(able)
	pid := p.Status().PID
	_, err := a.CreateAccount(t.Context(), accountOf("id", "panic"))
	wantVendorError(t, err, core.Unknown, core.CodeInternal)
	if strings.Contains(logs.String(), "CANARY-s3cret") || p.Status().PID != pid {
		t.Error("the panic's value is in the log, or the process is gone")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = a.CreateAccount(ctx, accountOf("id", "hang"))
	wantVendorError(t, err, core.Unknown, core.CodeTimeout)
	if alive(pid) {
		t.Error("the process lives although its call went unanswered")
	}
}
