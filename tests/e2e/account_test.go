package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
	dropbox "github.com/esignd/esignd/plugins/dropboxsign/sandbox"
	"github.com/esignd/esignd/tests/system"
)

// TestCreatedAccountIsConfirmedByTheVendorsEvent makes an account at Dropbox Sign, whose owner confirms it there, and
// sends a signature request as that account.
func TestCreatedAccountIsConfirmedByTheVendorsEvent(t *testing.T) {
	t.Parallel()
	box := system.World{Lifetime: 4 * time.Second}.Open(t, "dropboxsign").(*dropbox.Server)
	d := startDaemon(t, system.Options{Clients: []system.Registration{{Name: "dropbox", Vendor: "dropboxsign", Box: box}}})
	box.SetEventURL("http://" + d.Public + "/events/dropbox")
	cl := d.Dial()
	events := record(t, cl)
	const email = "new@example.com"
	sel := client.Selector{Client: "dropbox", Account: email}

	if found := system.Must(cl.VerifyAccount(t.Context(), "dropbox", email))(t); found.Exists {
		t.Errorf("before: %+v", found)
	}
	g := system.Must(cl.CreateAccount(t.Context(), "dropbox", email))(t)
	if g.State != core.AwaitingConfirmation || g.AccountID == "" || g.Account != email {
		t.Errorf("created: %+v", g)
	}
	if found := system.Must(cl.VerifyAccount(t.Context(), "dropbox", email))(t); !found.Exists || found.AccountID != g.AccountID {
		t.Errorf("after: %+v", found)
	}
	wantError(t, cl, sel, core.TemporarilyUnavailable, "awaiting_confirmation")
	// Nobody but the vendor can say that it is confirmed.
	for path, body := range map[string]string{"/events/dropbox": "json=%7B%22event%22%3A%7B%7D%7D", "/events/nobody": "json=x"} {
		resp := system.Must(system.Plain.Post("http://"+d.Public+path, "application/x-www-form-urlencoded", strings.NewReader(body)))(t)
		_ = resp.Body.Close()
		if resp.StatusCode/100 != 4 {
			t.Errorf("%s answers %d to a forged event", path, resp.StatusCode)
		}
	}
	wantError(t, cl, sel, core.TemporarilyUnavailable, "awaiting_confirmation")

	if err := box.ConfirmAccount(t.Context(), email); err != nil {
		t.Fatal(err)
	}
	if e := events.await(t, g.Grant, client.TokenIssued, 1); e.Reason != core.IssuedConfirmed {
		t.Errorf("token.issued has the reason %q", e.Reason)
	}
	api := &http.Client{Transport: cl.Transport(sel, &http.Transport{DisableKeepAlives: true})}
	base := system.Must(cl.Token(t.Context(), sel))(t).APIBaseURL
	send := func() int {
		body := `{"title":"NDA","signers":[{"email_address":"jack@example.com","name":"Jack"}]}`
		resp := system.Must(api.Post(base+"/v3/signature_request/send", "application/json", strings.NewReader(body)))(t)
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if got := send(); got != http.StatusOK {
		t.Errorf("the vendor answers %d to a signature request", got)
	}
	// The vendor forgets the token; the transport reports it and sends the request again. A report in the first second of
	// a token set gets that one.
	if err := box.ExpireAccessTokens(); err != nil {
		t.Fatal(err)
	}
	system.Await(t, time.Minute, "a request is sent with a new token", func() bool { return send() == http.StatusOK })
	if refused := box.Stats().APIRefused; refused == 0 {
		t.Error("the vendor has refused no token")
	}
}
