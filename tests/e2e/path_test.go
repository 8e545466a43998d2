package e2e

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esignd/esignd/bus/client"
	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/tests/system"
)

// TestGrantLives takes an account of each vendor through its life: denied, connected, used, expired and refreshed,
// revoked, connected again.
func TestGrantLives(t *testing.T) {
	t.Parallel()
	clients := system.World{Lifetime: 6 * time.Second}.Mains(t, "")
	robot := clients[2]
	robot.Name, robot.GrantType = "global-app", "client_credentials"
	d := startDaemon(t, system.Options{Clients: append(clients, robot)})
	cl := d.Dial()
	events := record(t, cl)
	t.Run("vendors", func(t *testing.T) {
		for _, r := range clients {
			t.Run(r.Vendor, func(t *testing.T) {
				t.Parallel()
				liveGrant(t, cl, events, r)
			})
		}
		t.Run("client_credentials", func(t *testing.T) {
			t.Parallel()
			liveRobot(t, cl, events)
		})
	})
	if n := robot.Box.Stats().RefreshTokensReused; n != 0 {
		t.Errorf("a spent refresh token was presented %d times", n)
	}
}

func liveGrant(t *testing.T, cl *client.Client, events *recorder, r system.Registration) {
	account := r.Name + "@example.com"
	sel := client.Selector{Client: r.Name, Account: account}
	wantError(t, cl, sel, core.NotFound, "")
	grant := denied(t, cl, r, account)
	if e := events.await(t, grant, client.GrantAuthorizationFailed, 0); e.Reason != "denied" {
		t.Errorf("grant.authorization_failed has the reason %q", e.Reason)
	}
	wantError(t, cl, sel, core.ReauthorizationRequired, "pending")

	connect(t, cl, r.Name, account)
	first := use(t, cl, sel)
	awaitExpired(t, first)
	if second := use(t, cl, sel); second.Generation <= first.Generation {
		t.Errorf("after the expiry: generation %d after %d", second.Generation, first.Generation)
	}
	system.Await(t, time.Minute, "each refresh at the vendor is a generation", func() bool {
		return r.Box.Stats().TokenRequests["refresh_token"] == int(system.Must(cl.Token(t.Context(), sel))(t).Generation)-1
	})
	events.await(t, grant, client.TokenIssued, 2)

	last := revoke(t, cl, events, r, sel)
	connect(t, cl, r.Name, account)
	if again := use(t, cl, sel); again.Generation <= last {
		t.Errorf("connected again: generation %d after %d", again.Generation, last)
	}
	events.await(t, grant, client.TokenIssued, last+1)
	wantOrder(t, events.lines(grant),
		"grant.authorization_failed 0 denied", "token.issued 1 authorized", "token.expiring 1 ", "token.issued 2 refreshed", "token.revoked")
}

// denied goes through the connect flow as a person who does not want to, and returns the grant.
func denied(t *testing.T, cl *client.Client, r system.Registration, account string) string {
	t.Helper()
	a := system.Must(cl.Authorize(t.Context(), client.AuthorizeRequest{Client: r.Name, Account: account}))(t)
	b := newBrowser(t)
	back := b.consent(a.ConnectURL, account, false)
	// The same answer in another browser is not this person's.
	if p := newBrowser(t).open(back.String()); p.status != http.StatusForbidden {
		t.Errorf("the callback answers %d to a browser without the cookie", p.status)
	}
	status, last := b.finish(back)
	if status != "access_denied" || last.status != http.StatusOK || !strings.Contains(last.text, "Access was not granted") {
		t.Errorf("ended as %q with a page of status %d", status, last.status)
	}
	return a.Grant
}

// revoke revokes the grant, checks what became of its token, and returns its generation.
func revoke(t *testing.T, cl *client.Client, events *recorder, r system.Registration, sel client.Selector) uint64 {
	t.Helper()
	tok := refreshed(t, cl, sel)
	ends := time.Now().Add(tok.ExpiresIn)
	g := system.Must(cl.Revoke(t.Context(), sel, "tested"))(t)
	canRevoke := r.Vendor == "adobesign"
	if g.VendorRevoked == nil || *g.VendorRevoked != canRevoke {
		t.Errorf("vendor_revoked is %v, want %v", g.VendorRevoked, canRevoke)
	}
	if warned := slices.Contains(g.Warnings, core.WarnVendorCannotRevoke); warned == canRevoke {
		t.Errorf("warnings %v", g.Warnings)
	}
	want := http.StatusOK
	if canRevoke {
		want = http.StatusUnauthorized
	}
	if got := system.CallAPI(t, tok); got != want && time.Now().Before(ends) {
		t.Errorf("the vendor's API answers %d to a revoked token, want %d", got, want)
	}
	wantError(t, cl, sel, core.ReauthorizationRequired, "tested")
	e := events.await(t, g.Grant, client.TokenRevoked, g.Generation)
	if e.VendorRevoked == nil || *e.VendorRevoked != canRevoke || e.Reason != "tested" {
		t.Errorf("token.revoked tells vendor_revoked %v, reason %q", e.VendorRevoked, e.Reason)
	}
	return g.Generation
}

func liveRobot(t *testing.T, cl *client.Client, events *recorder) {
	sel := client.Selector{Client: "global-app"}
	first := use(t, cl, sel)
	// The vendor gives the same token with what is left of its life, so that in the last second of that there is none
	// to be had; at any other time whoever asks gets a live one.
	last := first
	var dry time.Time
	system.Await(t, time.Minute, "the client's own token is replaced", func() bool {
		asked := time.Now()
		tok, err := cl.Token(t.Context(), sel)
		if errors.Is(err, core.TemporarilyUnavailable) && (dry.IsZero() || time.Since(dry) < 10*time.Second) {
			if dry.IsZero() {
				dry = time.Now()
			}
			return false
		}
		last = system.Must(tok, err)(t)
		if status := system.CallAPI(t, last); status != http.StatusOK && time.Since(asked) < last.ExpiresIn {
			t.Fatalf("generation %d: the vendor's API answers %d", last.Generation, status)
		}
		return !last.AccessToken.Equal(first.AccessToken)
	})
	if e := events.await(t, last.Grant, client.TokenIssued, last.Generation); e.Reason != core.IssuedClientCredentials {
		t.Errorf("token.issued has the reason %q", e.Reason)
	}
	g := system.Must(cl.Revoke(t.Context(), sel, ""))(t)
	events.await(t, g.Grant, client.TokenRevoked, g.Generation)
	if next := system.Must(cl.Token(t.Context(), sel))(t); next.Generation <= g.Generation {
		t.Errorf("the ask after a revocation answers generation %d, after %d", next.Generation, g.Generation)
	}
}

// wantError asks for a token and checks which error comes.
func wantError(t *testing.T, cl *client.Client, sel client.Selector, code core.Code, reason string) {
	t.Helper()
	_, err := cl.Token(t.Context(), sel)
	var e *client.Error
	if !errors.As(err, &e) || e.Code != code || e.Reason != reason {
		t.Errorf("answered %+v, want %s with the reason %q", err, code, reason)
	}
}

// wantOrder checks that lines with these beginnings are there, in this order.
func wantOrder(t *testing.T, lines []string, beginnings ...string) {
	t.Helper()
	rest := lines
	for _, want := range beginnings {
		i := slices.IndexFunc(rest, func(line string) bool { return strings.HasPrefix(line, want) })
		if i < 0 {
			t.Errorf("no %q in its place among %q", want, lines)
			return
		}
		rest = rest[i+1:]
	}
}
