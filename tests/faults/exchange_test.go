package faults

import (
	"errors"
	"slices"
	"strings"

	"github.com/esignd/esignd/core"
)

// redirect is what a vendor's redirect brought for a grant.
type redirect struct {
	grant  grant
	params map[string][]string
}

// exchangeGoesWrong lets the trade of a code go wrong: for an account that is connected already, whose grant that must
// not touch, and for one that is not.
func exchangeGoesWrong(w *world) {
	connected := w.imported("live", "a@example.com", true)
	again, first := w.authorized(connected), w.authorized(grant{Selector: core.Selector{Tenant: tenant, Client: "spent", Account: "b@example.com"}})
	var ofAgain, ofFirst error
	w.goWrong(2, func() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, ofAgain = w.manager.Exchange(w.t.Context(), core.ExchangeRequest{Tenant: tenant, Params: again.params})
		}()
		_, ofFirst = w.manager.Exchange(w.t.Context(), core.ExchangeRequest{Tenant: tenant, Params: first.params})
		<-done
	})
	w.wantFate(2)
	for r, err := range map[*redirect]error{&again: ofAgain, &first: ofFirst} {
		w.wantExchange(*r, err)
	}
	if w.row.fate == issued {
		w.wantConnected(again, 2)
		w.wantConnected(first, 1)
		w.wantTold(again.grant.id, core.TokenIssued, core.IssuedAuthorized)
	} else {
		w.wantUntouched(connected)
		w.wantUnconnected(first.grant)
		w.wantTold(again.grant.id, core.GrantAuthorizationFailed, w.row.code)
	}
	if w.row.scope == ofClient {
		w.wantSuspended(2)
	}
	w.searchAll()
}

// authorized begins an authorization with a callback of the service's own, and has the person accept it.
func (w *world) authorized(g grant) redirect {
	w.t.Helper()
	a, err := w.manager.Authorize(w.t.Context(), core.AuthorizeRequest{
		Tenant: g.Tenant, Client: g.Client, Account: g.Account, RedirectURI: redirectURI,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.seen.Note("connect ticket", a.ConnectURL[strings.LastIndexByte(a.ConnectURL, '/')+1:])
	g.id = a.Grant
	return redirect{grant: g, params: w.consented(a.AuthorizationURL, g.Account)}
}

// wantExchange checks what the service gets that brought the code, and that the code is sent once, however often it is
// brought.
func (w *world) wantExchange(r redirect, err error) {
	w.t.Helper()
	code := consequences()[w.row.scope].exchange
	var e *core.Error
	switch {
	case w.row.fate == issued && err != nil:
		w.t.Errorf("the exchange fails: %v", err)
	case w.row.fate != issued && !errors.As(err, &e):
		w.t.Errorf("got %v, want %s", err, code)
	case w.row.fate != issued:
		if e.Code != code || e.Reason != w.row.code || !strings.Contains(e.Description, "start the authorization again") {
			w.t.Errorf("got %v with reason %q, want %s with %q", e, e.Reason, code, w.row.code)
		}
		w.seen.search(w.t, "the error", errorText(err))
	}
	if _, err := w.manager.Exchange(w.t.Context(), core.ExchangeRequest{Tenant: tenant, Params: r.params}); !errors.Is(err, core.InvalidRequest) {
		w.t.Errorf("brought again, the redirect is answered with %v", err)
	}
	if got, want := w.presentations(core.NewSecret(r.params["code"][0])), w.once(); got != want {
		w.t.Errorf("the code was presented %d times, want %d", got, want)
	}
}

// wantConnected checks that the grant has the new consent's token.
func (w *world) wantConnected(r redirect, generation uint64) {
	w.t.Helper()
	if info := w.info(r.grant); info.State != core.Active || info.Generation != generation || info.Attempts != 0 {
		w.t.Errorf("the grant is %+v", info)
	}
	if w.row.scope == ofTooShort {
		return
	}
	token, err := w.manager.Token(w.t.Context(), r.grant.Selector, core.DefaultMinTTL)
	if err != nil || token.AccessToken.Equal(r.grant.access) || !w.opens(token.AccessToken) {
		w.t.Errorf("no token of the new consent: %v", err)
	}
}

// wantUntouched checks that a connected grant is what it was.
func (w *world) wantUntouched(g grant) {
	w.t.Helper()
	token, err := w.manager.Token(w.t.Context(), g.Selector, core.DefaultMinTTL)
	var warned []core.Warning
	if w.row.scope == ofClient {
		warned = []core.Warning{core.WarnClientSuspended} // which is known of all its grants
	}
	if err != nil || !token.AccessToken.Equal(g.access) || token.Generation != 1 || !slices.Equal(token.Warnings, warned) {
		w.t.Errorf("the token of before is not served: %v, %+v", err, token)
	}
	info := w.info(g)
	if info.State != core.Active || info.Generation != 1 || info.Attempts != 0 || slices.Contains(info.Warnings, core.WarnOutcomeUnknown) {
		w.t.Errorf("the grant is %+v", info)
	}
}

// wantUnconnected checks that the person is asked to connect again.
func (w *world) wantUnconnected(g grant) {
	w.t.Helper()
	if info := w.info(g); info.State != core.Pending {
		w.t.Errorf("the grant is %s", info.State)
	}
	_, err := w.manager.Token(w.t.Context(), g.Selector, core.DefaultMinTTL)
	var e *core.Error
	if !errors.As(err, &e) || e.Code != core.ReauthorizationRequired || e.Reason != string(core.Pending) || e.ConnectURL == "" {
		w.t.Errorf("asked for a token: %+v", err)
	}
}
