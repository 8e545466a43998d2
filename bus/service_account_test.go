package bus

import (
	"errors"
	"testing"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
)

func TestAccountIsVerifiedCreatedAndConfirmedOverNATS(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, openBus(t, embeddedConfig(t.TempDir())), nil)
	c, _ := d.caller(t, "default")
	ctx := testContext(t)

	for email, want := range map[string]core.AccountLookup{"known@acme.example": {Exists: true, AccountID: "acme-1"}, "new@acme.example": {}} {
		if got, err := c.VerifyAccount(ctx, "main", email); err != nil || got != want {
			t.Errorf("verify %s: %+v, %v", email, got, err)
		}
	}
	for name, tt := range map[string]struct {
		client, email string
		want          core.Code
	}{
		"client of another tenant": {"theirs", "a@acme.example", core.NotFound},
		"client without accounts":  {"app", "a@acme.example", core.Unsupported},
		"no e-mail address":        {"main", "somebody", core.InvalidRequest},
	} {
		_, verify := c.VerifyAccount(ctx, tt.client, tt.email)
		_, create := c.CreateAccount(ctx, tt.client, tt.email)
		if !errors.Is(verify, tt.want) || !errors.Is(create, tt.want) {
			t.Errorf("%s: verify: %v, create: %v; want %s", name, verify, create, tt.want)
		}
	}

	g, err := c.CreateAccount(ctx, "main", "new@acme.example")
	if err != nil || g.State != core.AwaitingConfirmation || g.AccountID != "id-of-new@acme.example" || g.Account != "new@acme.example" {
		t.Fatalf("create: %+v, %v", g, err)
	}
	sel := client.Selector{Client: "main", Account: "new@acme.example"}
	_, err = c.Token(ctx, sel)
	if e := asError(t, err); e.Code != core.TemporarilyUnavailable || e.Reason != "awaiting_confirmation" || e.RetryAfter == 0 {
		t.Errorf("before the confirmation: %+v", e)
	}
	if _, err := d.manager.VendorEvent(ctx, "main", core.EventRequest{Body: []byte(g.AccountID)}); err != nil {
		t.Fatal(err)
	}
	if tok, err := c.Token(ctx, sel); err != nil || tok.AccessToken.Reveal() != "access-created" {
		t.Errorf("after the confirmation: %v, %v", tok.Generation, err)
	}
}
